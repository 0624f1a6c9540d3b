package wire

// AppendAll adds every record of src, unchanged.
func (w *Builder) AppendAll(src *Batch) { w.AppendRange(src, 0, src.n) }

// AppendRange adds the records from from up to, but not including, to.
func (w *Builder) AppendRange(src *Batch, from, to int) {}

// AppendSelected adds the records with these indices, in this order.
func (w *Builder) AppendSelected(src *Batch, indices []uint32) {}
