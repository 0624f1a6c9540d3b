package wire

import "encoding/binary"

// AppendAll adds every record of src, unchanged.
func (w *Builder) AppendAll(src *Batch) { w.AppendRange(src, 0, src.n) }

// AppendRange adds the records from from up to, but not including, to. Columns
// are copied whole.
func (w *Builder) AppendRange(src *Batch, from, to int) {
	if from >= to {
		return
	}
	b := w.batch()
	for hint, c := range b.columns() {
		s := src.columns()[hint]
		if !w.open(c, s, hint) {
			continue
		}
		switch {
		case hint == timeColumn:
			w.copyTimes(src, from, to)
		case s.Encoding == PerRecord:
			w.copyRange(c, s, hint, from, to)
		default:
			w.repeat(c, s, hint, to-from)
		}
	}
	if w.keepOrigin && (len(src.runs) > 0 || len(b.runs) > 0) {
		w.copyOrigins(src, from, to)
	}
	b.n += to - from
}

// AppendSelected adds the records with these indices, in this order. It goes
// column by column, which is several times faster than record by record.
func (w *Builder) AppendSelected(src *Batch, indices []uint32) {
	if len(indices) == 0 {
		return
	}
	b := w.batch()
	for hint, c := range b.columns() {
		s := src.columns()[hint]
		if !w.open(c, s, hint) {
			continue
		}
		switch {
		case hint == timeColumn:
			w.selectTimes(src, indices)
		case s.Encoding == PerRecord:
			w.copySelected(c, s, hint, indices)
		default:
			w.repeat(c, s, hint, len(indices))
		}
	}
	if w.keepOrigin && (len(src.runs) > 0 || len(b.runs) > 0) {
		n := b.n
		for _, i := range indices {
			w.addOriginOf(src, int(i))
			b.n++
		}
		b.n = n
	}
	b.n += len(indices)
}

// open brings c into the encoding that it needs to take records of s behind its
// own. It returns false where there is nothing to store: both are absent, or
// constant and the same.
func (w *Builder) open(c, s *column, hint int) bool {
	n := w.cur.n
	switch {
	case s.Encoding == Absent && c.Encoding == Absent:
		return false
	case s.Encoding == Constant && c.Encoding == Absent && n == 0:
		c.Encoding = Constant
		w.addBytes(c, hint, s.Data)
		return false
	case s.Encoding == Constant && c.Encoding == Constant && string(s.Data) == string(c.Data):
		return false
	}
	switch {
	case c.Encoding == PerRecord:
	case hint == timeColumn:
		w.spreadTime(n)
	case c.Encoding == Constant:
		w.spread(c, hint, n)
	default:
		c.openPerRecord(n)
	}
	return true
}

func (w *Builder) copyRange(c, s *column, hint, from, to int) {
	start := uint32(0)
	if from > 0 {
		start = s.Ends[from-1]
	}
	data := s.Data[start:s.Ends[to-1]]
	shift := uint32(len(c.Data)) - start
	w.ensure(c, hint, len(data))
	c.Data = append(c.Data, data...)
	for _, end := range s.Ends[from:to] {
		c.Ends = append(c.Ends, end+shift)
	}
	if len(s.Nulls) > 0 {
		for i := from; i < to; i++ {
			if s.null(i) {
				c.setNull(w.cur.n + i - from)
			}
		}
	}
}

func (w *Builder) copySelected(c, s *column, hint int, indices []uint32) {
	ends, data := s.Ends, s.Data
	size := 0
	for _, i := range indices {
		size += int(ends[i])
		if i > 0 {
			size -= int(ends[i-1])
		}
	}
	w.ensure(c, hint, size)
	out, outEnds := c.Data, c.Ends
	for _, i := range indices {
		start := uint32(0)
		if i > 0 {
			start = ends[i-1]
		}
		out = append(out, data[start:ends[i]]...)
		outEnds = append(outEnds, uint32(len(out)))
	}
	c.Data, c.Ends = out, outEnds
	if len(s.Nulls) > 0 {
		for k, i := range indices {
			if s.null(int(i)) {
				c.setNull(w.cur.n + k)
			}
		}
	}
}

// repeat appends an absent or constant column's value count times.
func (w *Builder) repeat(c, s *column, hint, count int) {
	v := s.at(0)
	w.ensure(c, hint, len(v)*count)
	for i := range count {
		if v == nil {
			c.setNull(w.cur.n + i)
		}
		c.Data = append(c.Data, v...)
		c.Ends = append(c.Ends, uint32(len(c.Data)))
	}
}

func (w *Builder) copyTimes(src *Batch, from, to int) {
	c := &w.cur.time
	w.ensure(c, timeColumn, 8*(to-from))
	if src.time.Encoding == PerRecord {
		c.Data = append(c.Data, src.time.Data[8*from:8*to]...)
		return
	}
	for range to - from {
		c.Data = binary.LittleEndian.AppendUint64(c.Data, uint64(src.Time(0)))
	}
}

func (w *Builder) selectTimes(src *Batch, indices []uint32) {
	c := &w.cur.time
	w.ensure(c, timeColumn, 8*len(indices))
	for _, i := range indices {
		c.Data = binary.LittleEndian.AppendUint64(c.Data, uint64(src.Time(int(i))))
	}
}
