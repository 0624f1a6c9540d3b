package wire

// manySplits is how many splits of a batch are searched one by one.
const manySplits = 16

// addOrigin says where the next record comes from.
func (w *Builder) addOrigin(split string, ordinal int64) {
	if n := len(w.cur.runs); n > 0 && split == w.lastSplit {
		// Nearly always the last run goes on.
		r := &w.cur.runs[n-1]
		if r.Split == w.lastIndex && r.Count > 1 && ordinal == r.First+r.Step*int64(r.Count) {
			r.Count++
			return
		}
	}
	w.backfillOrigin()
	w.cur.addRun(Run{Split: w.splitIndex(split), Start: uint32(w.cur.n), Count: 1, First: ordinal})
}

// addOriginOf says that the next record comes from where src's record i does.
func (w *Builder) addOriginOf(src *Batch, i int) {
	if len(src.runs) == 0 {
		w.addOrigin("", 0)
		return
	}
	w.cursor = src.runOf(i, w.cursor)
	r := &src.runs[w.cursor]
	w.addOrigin(src.splits[r.Split], r.First+r.Step*(int64(i)-int64(r.Start)))
}

// copyOrigins says where the next records come from: where src's records from
// from up to to do.
func (w *Builder) copyOrigins(src *Batch, from, to int) {
	w.backfillOrigin()
	b := w.cur
	if len(src.runs) == 0 {
		b.addRun(Run{Split: w.splitIndex(""), Start: uint32(b.n), Count: uint32(to - from)})
		return
	}
	for k, at := src.runOf(from, 0), from; at < to; k++ {
		r := src.runs[k]
		end := min(int(r.Start+r.Count), to)
		b.addRun(Run{
			Split: w.splitIndex(src.splits[r.Split]),
			Start: uint32(b.n + at - from), Count: uint32(end - at),
			First: r.First + r.Step*(int64(at)-int64(r.Start)), Step: r.Step,
		})
		at = end
	}
}

// backfillOrigin begins the column behind records that had no origin.
func (w *Builder) backfillOrigin() {
	if b := w.cur; len(b.runs) == 0 && b.n > 0 {
		b.runs = append(b.runs, Run{Split: w.splitIndex(""), Count: uint32(b.n)})
	}
}

// addRun appends r, or lets the last run go on with it.
func (b *Batch) addRun(r Run) {
	if len(b.runs) > 0 && b.runs[len(b.runs)-1].extend(r) {
		return
	}
	b.runs = append(b.runs, r)
}

// extend lets r go on with next, where the ordinals keep their step.
func (r *Run) extend(next Run) bool {
	if r.Split != next.Split {
		return false
	}
	step := r.Step
	if r.Count == 1 {
		step = next.First - r.First
	}
	if next.First != r.First+step*int64(r.Count) || next.Count > 1 && next.Step != step {
		return false
	}
	r.Step = step
	r.Count += next.Count
	return true
}

// splitIndex returns the index of a split in the current batch.
func (w *Builder) splitIndex(split string) uint32 {
	b := w.cur
	if split == w.lastSplit && len(b.splits) > 0 && b.splits[w.lastIndex] == split {
		return w.lastIndex
	}
	i, ok := w.findSplit(split)
	if !ok {
		i = uint32(len(b.splits))
		b.splits = append(b.splits, split)
		if i >= manySplits {
			w.index[split] = i
		}
	}
	w.lastSplit, w.lastIndex = split, i
	return i
}

func (w *Builder) findSplit(split string) (uint32, bool) {
	b := w.cur
	if len(b.splits) < manySplits {
		for i, s := range b.splits {
			if s == split {
				return uint32(i), true
			}
		}
		return 0, false
	}
	if len(w.index) == 0 {
		if w.index == nil {
			w.index = make(map[string]uint32, 4*manySplits)
		}
		for i, s := range b.splits {
			w.index[s] = uint32(i)
		}
	}
	i, ok := w.index[split]
	return i, ok
}
