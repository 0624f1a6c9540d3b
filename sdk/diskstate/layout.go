package diskstate

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/weirstream/weir/proto/keygroup"
	"github.com/weirstream/weir/sdk/internal/state"
)

// A row's name in the store: number of the state (1 byte), key group (2 bytes, big
// endian), length of the key (uvarint), key, key within a map. Under it lies the value
// as package state has it. So what a task takes over of a state is one range, and so is
// a map. Number 0 is for descriptions: behind it stands a state's number, or nothing
// for the format.
const (
	formatVersion = 1
	maxStates     = 254
)

// description is what the store says of a state.
type description struct {
	Name   string          `json:"name"`
	Header keygroup.Header `json:"header"`
	number byte
}

func (d *description) same(h keygroup.Header) bool {
	h.Version, h.Watermark = d.Header.Version, d.Header.Watermark
	return h == d.Header
}

// appendPrefix appends the part of a row's name that all of a key have in common.
func appendPrefix(b []byte, number byte, group int, key []byte) []byte {
	b = append(b, number)
	b = binary.BigEndian.AppendUint16(b, uint16(group))
	return keygroup.AppendBytes(b, key)
}

// cutName takes a row's name apart.
func cutName(name []byte) (key, sub []byte, err error) {
	if len(name) < 3 {
		return nil, nil, keygroup.ErrFormat
	}
	key, sub, err = keygroup.CutBytes(name[3:])
	return key, sub, err
}

// groupRange is where the rows of key groups of a state lie. There are at most 1<<15
// groups.
func groupRange(number byte, first, last int) (from, to []byte) {
	return binary.BigEndian.AppendUint16([]byte{number}, uint16(first)), binary.BigEndian.AppendUint16([]byte{number}, uint16(last+1))
}

// after is the first name that does not begin with prefix, appended to b; the prefix
// has a byte below 255.
func after(b, prefix []byte) []byte {
	b = append(b, prefix...)
	for i := len(b) - 1; ; i-- {
		if b[i]++; b[i] != 0 {
			return b[:i+1]
		}
	}
}

// describe notes a state in the store.
func describe(db *pebble.DB, d description) error {
	text, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return db.Set([]byte{0, d.number}, text, pebble.NoSync)
}

// descriptions reads which states a store holds, and checks its format.
func descriptions(db *pebble.DB) ([]description, error) {
	it, err := db.NewIter(&pebble.IterOptions{UpperBound: []byte{1}})
	if err != nil {
		return nil, err
	}
	var all []description
	format := 0
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		var text []byte
		if text, err = valueOf(it); err != nil {
			break
		}
		name := it.Key()
		if len(name) == 1 {
			err = json.Unmarshal(text, &format)
			continue
		}
		d := description{number: name[1]}
		err = json.Unmarshal(text, &d)
		all = append(all, d)
	}
	if err == nil {
		err = it.Error()
	}
	if err := pebbleErr(err, it.Close()); err != nil {
		return nil, err
	}
	if format < 1 || format > formatVersion {
		return nil, fmt.Errorf("state on disk of format %d, this version reads up to %d: use a plugin that is as new as the one that wrote it", format, formatVersion)
	}
	return all, nil
}

func pebbleErr(errs ...error) error {
	i := slices.IndexFunc(errs, func(err error) bool { return err != nil })
	if i < 0 {
		return nil
	}
	return errs[i]
}

// rows calls f for each row of a state in key groups.
func rows(db *pebble.DB, d description, g state.Groups, f func(keygroup.Header, keygroup.Row) error) error {
	from, to := groupRange(d.number, g.First, g.Last)
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return err
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		r := keygroup.Row{}
		if r.Key, r.Sub, err = cutName(it.Key()); err != nil {
			break
		}
		if d.Header.Shape != keygroup.ShapeMap {
			r.Sub = nil
		}
		if r.Value, err = valueOf(it); err == nil {
			err = f(d.Header, r)
		}
	}
	if err == nil {
		err = it.Error()
	}
	return pebbleErr(err, it.Close())
}
