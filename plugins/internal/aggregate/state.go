package aggregate

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/DataDog/sketches-go/ddsketch"
	"github.com/DataDog/sketches-go/ddsketch/mapping"
	"github.com/DataDog/sketches-go/ddsketch/store"
	"github.com/axiomhq/hyperloglog"
	"github.com/twmb/murmur3"
)

// Bag keeps the elements of distinct and collect of one group of records. Item is
// the number of the aggregate.
type Bag interface {
	// Add adds n of an element.
	Add(item int, element []byte, n uint64)
	// Each yields the elements of an aggregate with their numbers, in any order.
	Each(item int, yield func(element []byte, n uint64))
}

// State is what a [Set] remembers of a group of records. Its zero value is that of
// no records.
type State struct{ cells []cell }

// cell is the state of one aggregate. Which fields mean anything depends on the
// function.
type cell struct {
	n      uint64 // values
	total  total
	best   scalar // min, max
	at     int64  // first, last: the time of the value
	value  []byte // first, last: as JSON
	sketch *ddsketch.DDSketch
	approx approximate
}

// Reset makes the state that of no records; its memory serves again.
func (s *Set) Reset(st *State) {
	if len(st.cells) != len(s.items) {
		st.cells = make([]cell, len(s.items))
	}
	for i := range st.cells {
		c := &st.cells[i]
		*c = cell{total: total{parts: c.total.parts[:0]}, value: c.value[:0], approx: approximate{few: c.approx.few[:0]}}
	}
}

// Add adds a record.
func (s *Set) Add(st *State, in *Inputs, bag Bag) {
	for i := range s.items {
		it, c, v := &s.items[i], &st.cells[i], in.values[i]
		if it.arg == nil {
			c.n++
			continue
		}
		if v == nil {
			continue
		}
		c.n++
		switch it.does {
		case sum, avg:
			c.total.add(v.(scalar))
		case least:
			if x := v.(scalar); c.n == 1 || x.compare(c.best) < 0 {
				c.best = x
			}
		case most:
			if x := v.(scalar); c.n == 1 || x.compare(c.best) > 0 {
				c.best = x
			}
		case first, last:
			c.take(it.does, v.([]byte), in.order, c.n == 1)
		case approxDistinct:
			c.approx.add(murmur3.Sum64(v.([]byte)))
		case distinct:
			bag.Add(i, v.([]byte), 1)
		case collect:
			bag.Add(i, ordered(in.order, v.([]byte)), 1)
		case quantile:
			c.sketchOf().addOne(v.(scalar).float())
		}
	}
}

// take keeps the value with the smaller time, or the greater; of equal times the
// smaller value, or the greater, so that it does not matter which came first.
func (c *cell) take(f function, v []byte, at int64, none bool) {
	d := cmp.Or(cmp.Compare(at, c.at), slices.Compare(v, c.value))
	if none || f == first && d < 0 || f == last && d > 0 {
		c.at, c.value = at, append(c.value[:0], v...)
	}
}

// ordered is an element that sorts by time and then by value.
func ordered(at int64, v []byte) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(at)^1<<63), v...)
}

// Merge adds another group's state. Bags are the caller's to merge.
func (s *Set) Merge(st *State, other *State) {
	for i := range s.items {
		c, o := &st.cells[i], &other.cells[i]
		if o.n == 0 {
			continue
		}
		none := c.n == 0
		c.n += o.n
		switch s.items[i].does {
		case sum, avg:
			c.total.merge(&o.total)
		case least:
			if none || o.best.compare(c.best) < 0 {
				c.best = o.best
			}
		case most:
			if none || o.best.compare(c.best) > 0 {
				c.best = o.best
			}
		case first, last:
			c.take(s.items[i].does, o.value, o.at, none)
		case approxDistinct:
			c.approx.merge(&o.approx)
		case quantile:
			c.sketchOf().merge(o.sketch)
		}
	}
}

// Bags says whether any aggregate keeps elements in a bag.
func (s *Set) Bags() bool {
	return slices.ContainsFunc(s.items, func(it item) bool { return it.does == distinct || it.does == collect })
}

// Append encodes the state.
func (s *Set) Append(b []byte, st *State) []byte {
	for i := range s.items {
		c := &st.cells[i]
		b = binary.AppendUvarint(b, c.n)
		switch s.items[i].does {
		case sum, avg:
			b = c.total.append(b)
		case least, most:
			b = c.best.append(b)
		case first, last:
			b = binary.AppendVarint(b, c.at)
			b = binary.AppendUvarint(b, uint64(len(c.value)))
			b = append(b, c.value...)
		case approxDistinct:
			b = c.approx.append(b)
		case quantile:
			var sketch []byte
			if c.sketch != nil {
				c.sketch.Encode(&sketch, true)
			}
			b = binary.AppendUvarint(b, uint64(len(sketch)))
			b = append(b, sketch...)
		}
	}
	return b
}

// Read decodes what Append has encoded. The state keeps nothing of b.
func (s *Set) Read(st *State, b []byte) error {
	s.Reset(st)
	for i := range s.items {
		c := &st.cells[i]
		n, k := binary.Uvarint(b)
		if k <= 0 {
			return errDamaged
		}
		c.n, b = n, b[k:]
		var err error
		switch s.items[i].does {
		case sum, avg:
			b, err = c.total.read(b)
		case least, most:
			c.best, b, err = readScalar(b)
		case first, last:
			var k int
			if c.at, k = binary.Varint(b); k <= 0 {
				return errDamaged
			}
			var v []byte
			v, b, err = readBytes(b[k:])
			c.value = append(c.value[:0], v...)
		case approxDistinct:
			b, err = c.approx.read(b)
		case quantile:
			var sketch []byte
			if sketch, b, err = readBytes(b); err == nil && len(sketch) > 0 {
				c.sketch, err = ddsketch.DecodeDDSketch(sketch, store.DenseStoreConstructor, buckets)
			}
		}
		if err != nil {
			return err
		}
	}
	if len(b) > 0 {
		return errDamaged
	}
	return nil
}

// Accuracy is the relative error of a quantile.
const Accuracy = 0.01

// buckets are the same for every sketch, so that all can be merged. A sketch holds
// as many as it needs: none collapse, which would depend on the order.
var buckets = func() mapping.IndexMapping {
	m, err := mapping.NewLogarithmicMapping(Accuracy)
	if err != nil {
		panic(err) // a constant
	}
	return m
}()

type sketch struct{ *ddsketch.DDSketch }

func (c *cell) sketchOf() sketch {
	if c.sketch == nil {
		c.sketch = ddsketch.NewDDSketch(buckets, store.NewDenseStore(), store.NewDenseStore())
	}
	return sketch{c.sketch}
}

// addOne adds a value; one beyond what the buckets reach counts as the last of them.
func (s sketch) addOne(v float64) {
	most := buckets.MaxIndexableValue()
	if err := s.Add(min(max(v, -most), most)); err != nil {
		panic(err) // the value is within bounds
	}
}

func (s sketch) merge(o *ddsketch.DDSketch) {
	if err := s.MergeWith(o); err != nil {
		panic(err) // the buckets are the same
	}
}

// fewest is up to how many different values approx_distinct is exact.
const fewest = 128

// precision of the sketch: 2^12 registers, a standard error of 1.6%.
const precision = 12

// approximate counts different hashes: exactly while they are few, then in a
// HyperLogLog of fixed size. When it changes from one to the other depends on the
// set alone.
type approximate struct {
	few []uint64 // sorted
	log *hyperloglog.Sketch
}

func (a *approximate) add(hash uint64) {
	if a.log != nil {
		a.log.InsertHash(hash)
		return
	}
	at, found := slices.BinarySearch(a.few, hash)
	if found {
		return
	}
	if a.few = slices.Insert(a.few, at, hash); len(a.few) <= fewest {
		return
	}
	a.log = newLog()
	for _, h := range a.few {
		a.log.InsertHash(h)
	}
	a.few = a.few[:0]
}

func newLog() *hyperloglog.Sketch {
	log, err := hyperloglog.NewSketch(precision, false)
	if err != nil {
		panic(err) // a constant
	}
	return log
}

func (a *approximate) merge(o *approximate) {
	if o.log == nil {
		for _, h := range o.few {
			a.add(h)
		}
		return
	}
	if a.log == nil {
		a.log = newLog()
		for _, h := range a.few {
			a.log.InsertHash(h)
		}
		a.few = a.few[:0]
	}
	if err := a.log.Merge(o.log); err != nil {
		panic(err) // the precision is the same
	}
}

func (a *approximate) result() int {
	if a.log == nil {
		return len(a.few)
	}
	return int(a.log.Estimate())
}

func (a *approximate) append(b []byte) []byte {
	if a.log == nil {
		b = binary.AppendUvarint(b, uint64(len(a.few))+1)
		for _, h := range a.few {
			b = binary.LittleEndian.AppendUint64(b, h)
		}
		return b
	}
	data, err := a.log.MarshalBinary()
	if err != nil {
		panic(err) // into memory
	}
	b = append(b, 0)
	b = binary.AppendUvarint(b, uint64(len(data)))
	return append(b, data...)
}

func (a *approximate) read(b []byte) ([]byte, error) {
	n, k := binary.Uvarint(b)
	if k <= 0 {
		return nil, errDamaged
	}
	b = b[k:]
	if n == 0 {
		data, rest, err := readBytes(b)
		if err != nil {
			return nil, err
		}
		a.log = newLog()
		if err := a.log.UnmarshalBinary(data); err != nil {
			return nil, errDamaged
		}
		return rest, nil
	}
	if n--; uint64(len(b)) < 8*n {
		return nil, errDamaged
	}
	for ; n > 0; n-- {
		a.few = append(a.few, binary.LittleEndian.Uint64(b))
		b = b[8:]
	}
	return b, nil
}
