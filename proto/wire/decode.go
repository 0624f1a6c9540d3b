package wire

import (
	"encoding/binary"
	"fmt"
	"math"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// Decode reads a batch. It takes the frame over: f is empty afterwards, also
// after an error. h is the frame's own header. Every offset, length, bitmap, run
// and header is checked once, here; errors wrap [ErrMalformed] and name the
// column.
//
// The columns' data is a view of the frame's bytes where they are in one piece,
// of a pooled copy otherwise. What the checks rely on is copied.
func (p *Pool) Decode(f *Frame, h Header) (*Batch, error) {
	defer f.Free()
	if h.Kind != KindBatch {
		return nil, fmt.Errorf("%w: a frame of kind %d is not a batch", ErrMalformed, h.Kind)
	}
	b := p.batch()
	b.body = p.body(f, h)
	if err := b.parse(b.body.ReadOnlyData()); err != nil {
		b.Release()
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return b, nil
}

func (p *Pool) body(f *Frame, h Header) mem.Buffer {
	if !p.poison {
		return f.Body(h, p)
	}
	own := p.Get(max(f.Len(), inPlace)) // counted by gRPC, even if small
	f.Data.CopyTo(*own)
	*own = (*own)[h.bodyAt : h.bodyAt+h.bodyLen]
	return mem.NewBuffer(own, p)
}

// layout is what a batch's metadata says about its payload.
type layout struct {
	columns [4]struct {
		encoding uint64
		length   uint64
		nulls    bool
	}
	runs    uint64
	payload []byte
}

func (b *Batch) parse(message []byte) error {
	var l layout
	if err := b.parseMeta(message, &l); err != nil {
		return err
	}
	if b.n == 0 {
		return fmt.Errorf("a batch without records")
	}
	rest := l.payload
	for i, c := range b.columns() {
		m := &l.columns[i]
		var err error
		if i == timeColumn {
			rest, err = c.readTimes(rest, b.n, m.encoding, m.length, m.nulls)
		} else {
			rest, err = c.read(rest, b.n, m.encoding, m.length, m.nulls)
		}
		if err == nil && i == headersColumn {
			err = c.checkHeaders(b.n)
		}
		if err != nil {
			return fmt.Errorf("%s column: %w", columnNames[i], err)
		}
	}
	rest, err := b.readRuns(rest, l.runs)
	if err != nil {
		return fmt.Errorf("origin column: %w", err)
	}
	if len(rest) > 0 {
		return fmt.Errorf("%d bytes of payload belong to no column", len(rest))
	}
	return nil
}

// parseMeta reads the fields of pluginv1.Batch. Unknown ones are passed over.
func (b *Batch) parseMeta(message []byte, l *layout) error {
	return eachField(message, func(num protowire.Number, v uint64, data []byte) error {
		switch {
		case num == batchRecords && data == nil:
			if v > MaxRecords {
				return fmt.Errorf("a batch of %d records", v)
			}
			b.n = int(v)
		case num >= batchKey && num <= batchHeaders && data != nil:
			m := &l.columns[num-batchKey]
			err := eachField(data, func(num protowire.Number, v uint64, data []byte) error {
				switch {
				case num == columnEncoding && data == nil:
					m.encoding = v
				case num == columnLength && data == nil:
					m.length = v
				case num == columnNulls && data == nil:
					m.nulls = v != 0
				}
				return nil
			})
			if err != nil {
				return fmt.Errorf("%s column: %w", columnNames[num-batchKey], err)
			}
		case num == batchOrigin && data != nil:
			return eachField(data, func(num protowire.Number, v uint64, data []byte) error {
				switch {
				case num == originSplits && data != nil:
					b.splits = append(b.splits, b.pool.name(data))
				case num == originRuns && data == nil:
					l.runs = v
				}
				return nil
			})
		case num == batchSegment:
			return fmt.Errorf("the payload is in a shared segment, which was not agreed on")
		case num == batchInline && data != nil:
			l.payload = data
		}
		return nil
	})
}

// eachField calls visit for each field of a message: data is nil for all but
// length-delimited ones, v is set for varints.
func eachField(message []byte, visit func(num protowire.Number, v uint64, data []byte) error) error {
	for len(message) > 0 {
		num, typ, n := protowire.ConsumeTag(message)
		if n < 0 {
			return fmt.Errorf("metadata: %w", protowire.ParseError(n))
		}
		message = message[n:]
		var v uint64
		var data []byte
		switch typ {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(message)
		case protowire.BytesType:
			data, n = protowire.ConsumeBytes(message)
		default:
			if n = protowire.ConsumeFieldValue(num, typ, message); n >= 0 {
				message = message[n:]
				continue
			}
		}
		if n < 0 {
			return fmt.Errorf("metadata: field %d: %w", num, protowire.ParseError(n))
		}
		message = message[n:]
		if err := visit(num, v, data); err != nil {
			return err
		}
	}
	return nil
}

func (c *column) read(payload []byte, n int, encoding, length uint64, nulls bool) (rest []byte, err error) {
	if err := c.readData(&payload, n, encoding, length, nulls); err != nil || encoding != uint64(PerRecord) {
		return payload, err
	}
	ends, payload, err := cut(payload, 4*uint64(n), "ends")
	if err != nil {
		return nil, err
	}
	if cap(c.Ends) < n {
		c.Ends = make([]uint32, n)
	}
	c.Ends = c.Ends[:n]
	prev := uint32(0)
	for i := range c.Ends {
		end := binary.LittleEndian.Uint32(ends[4*i:])
		if end < prev {
			return nil, fmt.Errorf("record %d ends at byte %d, before it begins at %d", i, end, prev)
		}
		c.Ends[i], prev = end, end
	}
	if int(prev) != len(c.Data) {
		return nil, fmt.Errorf("the last record ends at byte %d of %d", prev, len(c.Data))
	}
	if !nulls {
		return payload, nil
	}
	bitmap, payload, err := cut(payload, uint64(n+7)/8, "nulls")
	if err != nil {
		return nil, err
	}
	c.Nulls = append(c.Nulls[:0], bitmap...)
	if n%8 != 0 {
		c.Nulls[len(c.Nulls)-1] &= 1<<(n%8) - 1
	}
	for at, bits := range c.Nulls {
		for i := 8 * at; bits != 0; i, bits = i+1, bits>>1 {
			if bits&1 == 0 {
				continue
			}
			if i > 0 && c.Ends[i] != c.Ends[i-1] || i == 0 && c.Ends[0] != 0 {
				return nil, fmt.Errorf("record %d is null and has bytes", i)
			}
		}
	}
	return payload, nil
}

func (c *column) readTimes(payload []byte, n int, encoding, length uint64, nulls bool) (rest []byte, err error) {
	if nulls {
		return nil, fmt.Errorf("a time cannot be null")
	}
	if err := c.readData(&payload, n, encoding, length, nulls); err != nil {
		return nil, err
	}
	want := [...]int{Absent: 0, Constant: 8, PerRecord: 8 * n}[c.Encoding]
	if len(c.Data) != want {
		return nil, fmt.Errorf("%d bytes for %d records", len(c.Data), n)
	}
	return payload, nil
}

// readData checks what the metadata says and takes the data off the payload.
func (c *column) readData(payload *[]byte, n int, encoding, length uint64, nulls bool) (err error) {
	if encoding > uint64(PerRecord) {
		return fmt.Errorf("encoding %d is not known", encoding)
	}
	c.Encoding = Encoding(encoding)
	switch {
	case nulls && c.Encoding != PerRecord:
		return fmt.Errorf("nulls in a column that is not per record")
	case c.Encoding == Absent:
		if length > 0 {
			return fmt.Errorf("%d bytes in an absent column", length)
		}
		return nil
	case c.Encoding == Constant && length > MaxMessageBytes/uint64(n):
		// Else few bytes could stand for a batch that no memory holds.
		return fmt.Errorf("a constant of %d bytes for %d records", length, n)
	}
	c.Data, *payload, err = cut(*payload, length, "data")
	return err
}

// cut takes length bytes off the payload. What it returns is never nil.
func cut(payload []byte, length uint64, what string) (data, rest []byte, err error) {
	if length > uint64(len(payload)) || length > math.MaxInt32 {
		return nil, nil, fmt.Errorf("%d bytes of %s where %d are left", length, what, len(payload))
	}
	if payload == nil {
		return noBytes[:0:0], nil, nil
	}
	return payload[:length:length], payload[length:], nil
}

func (c *column) checkHeaders(n int) error {
	switch c.Encoding {
	case Constant:
		return Headers(c.Data).check()
	case PerRecord:
		for i := range n {
			if err := Headers(c.at(i)).check(); err != nil {
				return fmt.Errorf("record %d: %w", i, err)
			}
		}
	}
	return nil
}

func (b *Batch) readRuns(payload []byte, count uint64) (rest []byte, err error) {
	if count == 0 {
		b.splits = b.splits[:0]
		return payload, nil
	}
	if count > uint64(b.n) {
		return nil, fmt.Errorf("%d runs for %d records", count, b.n)
	}
	data, rest, err := cut(payload, count*runBytes, "runs")
	if err != nil {
		return nil, err
	}
	at := uint64(0)
	for ; len(data) > 0; data = data[runBytes:] {
		r := Run{
			Split: binary.LittleEndian.Uint32(data),
			Start: uint32(at),
			Count: binary.LittleEndian.Uint32(data[4:]),
			First: int64(binary.LittleEndian.Uint64(data[8:])),
			Step:  int64(binary.LittleEndian.Uint64(data[16:])),
		}
		if uint64(r.Split) >= uint64(len(b.splits)) {
			return nil, fmt.Errorf("run %d is of split %d of %d", len(b.runs), r.Split, len(b.splits))
		}
		at += uint64(r.Count)
		if r.Count == 0 || at > uint64(b.n) {
			return nil, fmt.Errorf("run %d has %d records", len(b.runs), r.Count)
		}
		b.runs = append(b.runs, r)
	}
	if at != uint64(b.n) {
		return nil, fmt.Errorf("runs of %d records for %d", at, b.n)
	}
	return rest, nil
}
