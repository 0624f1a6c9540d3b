package wire

// Decode reads a batch. It takes the frame over: f is empty afterwards, also
// after an error. h is the frame's own header. Every offset, length, bitmap, run
// and header is checked once, here; errors wrap [ErrMalformed] and name the
// column.
func (p *Pool) Decode(f *Frame, h Header) (*Batch, error) { return nil, ErrMalformed }
