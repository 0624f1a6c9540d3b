package diskstate

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"github.com/weirstream/weir/proto/keygroup"
	"github.com/weirstream/weir/sdk/internal/state"
)

// table is one state: the overlays, the newest first, and Pebble below them.
type table struct {
	store  *store
	index  int // in store.tables and overlays
	number byte
	spec   state.Spec

	name, upper, value []byte // reused
	read               lookup
	cursor             []byte // of Expire
}

// lookup is what Pebble was asked for last: a write nearly always follows a read of
// the same.
type lookup struct {
	turn, reaped uint64
	sub, value   []byte
	found        bool
}

// overlaid returns what the overlays say of a value; known is false where they say
// nothing.
func (t *table) overlaid(k state.Key, sub []byte) (value []byte, known bool) {
	if v := t.store.atHand.tables[t.index].Get(k, sub); v != nil {
		return said(v)
	}
	return t.saidBefore(len(t.store.aside), k, sub)
}

// saidBefore asks the oldest n overlays that were laid aside.
func (t *table) saidBefore(n int, k state.Key, sub []byte) (value []byte, known bool) {
	for i := n - 1; i >= 0; i-- {
		if o := t.store.aside[i].overlay.table(t.index); o != nil {
			if v := o.Get(k, sub); v != nil {
				return said(v)
			}
		}
	}
	return nil, false
}

func said(v []byte) ([]byte, bool) {
	if v[0] == deleted {
		return nil, true
	}
	return v[1:], true
}

// Get implements [state.Table].
func (t *table) Get(k state.Key, sub []byte) []byte {
	if v, known := t.overlaid(k, sub); known {
		return v
	}
	l := &t.read
	if k.Turn == 0 || l.turn != k.Turn || l.reaped != t.store.reaped || !bytes.Equal(l.sub, sub) {
		t.lookUp(k, sub)
	}
	if !l.found {
		return nil
	}
	return l.value
}

func (t *table) prefix(k state.Key) []byte {
	t.name = appendPrefix(t.name[:0], t.number, keygroup.OfHash(k.Hash, t.store.groups.Of), k.Bytes)
	return t.name
}

// lookUp reads from Pebble.
func (t *table) lookUp(k state.Key, sub []byte) {
	l := &t.read
	*l = lookup{turn: k.Turn, reaped: t.store.reaped, sub: append(l.sub[:0], sub...), value: l.value[:0]}
	if l.value == nil {
		l.value = []byte{}
	}
	name := append(t.prefix(k), sub...)
	t.name = name
	v, closer, err := get(t.store.db, name)
	if err != nil {
		if !errors.Is(err, pebble.ErrNotFound) {
			t.store.fail(err)
		}
		return
	}
	l.value, l.found = append(l.value, v...), true
	if err := closer.Close(); err != nil {
		t.store.fail(err)
	}
}

// Put implements [state.Table].
func (t *table) Put(k state.Key, sub, value []byte) {
	t.value = append(append(t.value[:0], put), value...)
	t.write(k, sub, t.value)
}

func (t *table) write(k state.Key, sub, value []byte) {
	t.store.atHand.tables[t.index].Put(k, sub, value)
	t.store.wrote(len(k.Bytes) + len(sub) + len(value))
}

// Append implements [state.Table].
func (t *table) Append(k state.Key, tail []byte) {
	if o := t.store.atHand.tables[t.index]; len(o.Get(k, nil)) > 0 && o.Get(k, nil)[0] == put {
		o.Append(k, tail)
		t.store.wrote(len(tail))
		return
	}
	t.value = append(append(append(t.value[:0], put), t.Get(k, nil)...), tail...)
	t.write(k, nil, t.value)
}

// Delete implements [state.Table].
func (t *table) Delete(k state.Key, sub []byte) { t.write(k, sub, []byte{deleted}) }

// Each implements [state.Table].
func (t *table) Each(k state.Key, f func(sub, value []byte) bool) {
	if t.spec.Shape != state.Map {
		if v := t.Get(k, nil); v != nil {
			f(nil, v)
		}
		return
	}
	if !t.eachStored(k, f) {
		return
	}
	// Of each overlay what no newer one says something about.
	more := true
	for i := 0; i <= len(t.store.aside) && more; i++ {
		var o state.Walker
		if i < len(t.store.aside) {
			o = t.store.aside[i].overlay.table(t.index)
		} else {
			o = t.store.atHand.tables[t.index]
		}
		if o == nil {
			continue
		}
		o.Each(k, func(sub, v []byte) bool {
			if value, there := said(v); there && value != nil && !t.newer(i, k, sub) {
				more = f(sub, value)
			}
			return more
		})
	}
}

// newer says whether an overlay behind the i-th says something about a value.
func (t *table) newer(i int, k state.Key, sub []byte) bool {
	for j := i + 1; j < len(t.store.aside); j++ {
		if o := t.store.aside[j].overlay.table(t.index); o != nil && o.Get(k, sub) != nil {
			return true
		}
	}
	return i < len(t.store.aside) && t.store.atHand.tables[t.index].Get(k, sub) != nil
}

// eachStored comes by what Pebble has of a map and no overlay speaks of.
func (t *table) eachStored(k state.Key, f func(sub, value []byte) bool) (more bool) {
	prefix := t.prefix(k)
	t.upper = after(t.upper[:0], prefix)
	it, err := t.store.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: t.upper})
	if err != nil {
		t.store.fail(err)
		return false
	}
	n := len(prefix)
	more = true
	for ok := it.First(); ok && more; ok = it.Next() {
		sub := it.Key()[n:]
		if _, known := t.overlaid(k, sub); known {
			continue
		}
		v, err := valueOf(it)
		if err != nil {
			t.store.fail(err)
			break
		}
		more = f(sub, v)
	}
	if err := pebbleErr(it.Error(), it.Close()); err != nil {
		t.store.fail(err)
	}
	return more && t.store.Err() == nil
}

// expireRows is how many rows Expire looks at in one call.
const expireRows = 2000

// Expire implements [state.Table].
func (t *table) Expire(now int64) {
	t.store.reap()
	from, to := groupRange(t.number, t.store.groups.First, t.store.groups.Last)
	it, err := t.store.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		t.store.fail(err)
		return
	}
	ok := it.SeekGE(t.cursor)
	for n := 0; ok && n < expireRows; n, ok = n+1, it.Next() {
		key, sub, err := cutName(it.Key())
		var v []byte
		if err == nil {
			v, err = valueOf(it)
		}
		if err == nil && len(v) < 8 {
			err = keygroup.ErrFormat
		}
		if err != nil {
			t.store.fail(err)
			break
		}
		if int64(binary.LittleEndian.Uint64(v)) >= now {
			continue
		}
		if t.spec.Shape != state.Map {
			sub = nil
		}
		k := state.Key{Bytes: key, Hash: keygroup.Hash(key)}
		if _, known := t.overlaid(k, sub); !known {
			t.Delete(k, sub)
		}
	}
	t.cursor = t.cursor[:0]
	if ok {
		t.cursor = append(t.cursor, it.Key()...)
	}
	if err := pebbleErr(it.Error(), it.Close()); err != nil {
		t.store.fail(err)
	}
}
