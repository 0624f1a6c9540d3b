package statetest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/weirstream/weir/proto/keygroup"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/sdk/internal/state"
)

// step changes the task and the model alike.
func (m model) step(t testing.TB, r *rand.Rand, k *Task, key string, size int) {
	t.Helper()
	k.Use(key)
	name := []string{"value", "list", "map"}[r.IntN(3)]
	sub := []byte(nil)
	if name == "map" {
		sub = fmt.Append(nil, r.IntN(20))
	}
	value := bytes.Repeat([]byte{byte('a' + r.IntN(26))}, r.IntN(size))
	if r.IntN(300) == 0 {
		value = bytes.Repeat([]byte("x"), r.IntN(50000))
	}
	mine := m[name][key]
	if mine == nil {
		mine = map[string]string{}
		m[name][key] = mine
	}
	if r.IntN(2) == 0 {
		k.States[name].Get(sub) // what is read before may be remembered
	}
	old, had := mine[string(sub)]
	switch op := r.IntN(10); {
	case op < 5:
		k.States[name].Put(sub, value)
		mine[string(sub)] = string(value)
	case op < 7 && name == "list":
		value = append(value, 'z')
		k.States[name].Append(value)
		mine[""] += string(value)
	case op < 8:
		k.States[name].Delete(sub)
		delete(mine, string(sub))
	}
	if r.IntN(10) == 0 {
		k.Undo(0)
		if delete(mine, string(sub)); had {
			mine[string(sub)] = old
		}
	}
	got := k.States[name].Get(sub)
	if v, ok := mine[string(sub)]; ok != (got != nil) || v != string(got) {
		t.Fatalf("%s of %.20q, %q is %.40q, not %.40q", name, key, sub, got, v)
	}
	if len(mine) == 0 {
		delete(m[name], key)
	}
}

// Whatever is written, read and deleted while snapshots are made beside it, some of
// which fail, the tables hold what maps would, each snapshot is the state at its
// moment, and a restore of one is too.
func testModel(t *testing.T, open Open) {
	r := Seeded(t)
	for range 2 {
		keys, size := someKeys(r, 1+r.IntN(100)), 1+r.IntN(200)
		k, want := start(t, open, 0, 1, 0, nil), newModel()
		type made struct {
			n       uint64
			then    model
			entries chan []*pluginv1.Entry
		}
		var walking []made
		n := uint64(0)
		conclude := func() {
			w := walking[0]
			walking = walking[1:]
			entries := <-w.entries
			k.Store(entries)
			if r.IntN(4) == 0 {
				// Nothing of it may be taken as stored.
				k.Conclude(w.n, entries, false)
				return
			}
			k.Conclude(w.n, entries, true)
			if r.IntN(4) == 0 {
				again := start(t, open, 0, 1, w.n, entries)
				w.then.check(t, again, keys, fmt.Sprintf("snapshot %d", w.n))
				again.Stop()
			}
			if r.IntN(5) == 0 && len(walking) == 0 {
				// A crash: what came since is lost.
				k.Stop()
				k, want = start(t, open, 0, 1, w.n, entries), w.then
			}
		}
		for range 1500 {
			want.step(t, r, k, keys[r.IntN(len(keys))], size)
			switch r.IntN(200) {
			case 0, 1:
				n++
				l, err := k.Capture(n)
				if err != nil {
					t.Fatal(err)
				}
				w := made{n, want.clone(), make(chan []*pluginv1.Entry, 1)}
				go func() { w.entries <- Walk(t, l) }()
				walking = append(walking, w)
				if len(walking) > 2 {
					conclude()
				}
			case 2:
				if len(walking) > 0 {
					conclude()
				}
			case 3:
				if r.IntN(3) > 0 {
					continue
				}
				want.check(t, k, keys, "the state")
			}
		}
		for len(walking) > 0 {
			conclude()
		}
		want.check(t, k, keys, "at the end")
		k.Stop()
	}
}

// Rescale checks that state goes to the tasks that own its keys, whatever their number before and after.
func Rescale(t *testing.T, open Open) {
	r := Seeded(t)
	keys, want := someKeys(r, 100), newModel()
	tasks := []*Task{start(t, open, 0, 1, 0, nil)}
	for n := uint64(1); n <= 6; n++ {
		for range 400 {
			key := keys[r.IntN(len(keys))]
			owner := keygroup.Owner(keygroup.Of([]byte(key), groups), groups, len(tasks))
			want.step(t, r, tasks[owner], key, 50)
		}
		var entries [][]*pluginv1.Entry
		for _, k := range tasks {
			entries = append(entries, k.Checkpoint(n))
			k.Stop()
		}
		parts := Deal(entries, []int{4, 2, 7, 7, 1, 3}[n-1])
		tasks = nil
		for i, part := range parts {
			k := start(t, open, i, len(parts), n, part)
			want.check(t, k, keys, fmt.Sprintf("task %d of %d", i, len(parts)))
			tasks = append(tasks, k)
		}
	}
}

func testTTL(t *testing.T, open Open) {
	withTTL := func(deadline int64, v string) []byte {
		b := make([]byte, 8, 8+len(v))
		for i := range 8 {
			b[i] = byte(deadline >> (8 * i))
		}
		return append(b, v...)
	}
	k := Start(t, open, 0, 1, 0, nil)
	values := k.OpenState(state.Spec{Name: "value", TTL: true}, "bytes", state.Migration{})
	maps := k.OpenState(state.Spec{Name: "map", Shape: state.Map, TTL: true}, "bytes", state.Migration{})
	k.opened()
	for i := range int64(300) {
		k.Use(fmt.Sprint(i))
		values.Put(nil, withTTL(i, "v"))
		maps.Put([]byte("a"), withTTL(i, "a"))
		maps.Put([]byte("b"), withTTL(1000, "b"))
	}
	k.Unset()
	k.Checkpoint(1)
	k.Use("3")
	values.Put(nil, withTTL(900, "again"))
	k.Unset()
	k.Now = 250
	for range 20 {
		k.Expire()
	}
	for i := range int64(300) {
		k.Use(fmt.Sprint(i))
		gone := i < 250
		if v := values.Get(nil); (v == nil) != (gone && i != 3) {
			t.Fatalf("value %d at 250: %q", i, v)
		}
		if v := maps.Get([]byte("a")); (v == nil) != gone {
			t.Fatalf("a of map %d at 250: %q", i, v)
		}
		if v := maps.Get([]byte("b")); v == nil {
			t.Fatalf("b of map %d is gone", i)
		}
	}
}

// A state whose codec has changed is converted, and stays so.
func testMigration(t *testing.T, open Open) {
	k := Start(t, open, 0, 1, 0, nil)
	s := k.OpenState(state.Spec{Name: "value"}, "old", state.Migration{})
	k.opened()
	for i := range 300 {
		k.Use(fmt.Sprint(i))
		s.Put(nil, fmt.Append(nil, i))
	}
	entries := k.Checkpoint(1)
	k.Stop()
	for n := uint64(2); n < 5; n++ {
		k = Start(t, open, 0, 1, n-1, entries)
		s = k.OpenState(state.Spec{Name: "value"}, "new", state.Migration{Value: func(codec string) (state.Convert, error) {
			if codec != "old" {
				return nil, fmt.Errorf("codec %q", codec)
			}
			return func(stored []byte) ([]byte, error) { return append([]byte("new "), stored...), nil }, nil
		}})
		k.opened()
		for i := range 300 {
			k.Use(fmt.Sprint(i))
			if got := string(s.Get(nil)); got != fmt.Sprint("new ", i) {
				t.Fatalf("restart %d: %d is %q", n, i, got)
			}
		}
		entries = k.Checkpoint(n)
		k.Stop()
	}
}

// A state that nobody opens is named, and gone once it was dropped.
func testDrop(t *testing.T, open Open) {
	k := start(t, open, 0, 1, 0, nil)
	k.Use("key")
	k.States["value"].Put(nil, []byte("v"))
	k.States["map"].Put([]byte("sub"), []byte("m"))
	entries := k.Checkpoint(1)
	k.Stop()
	for n := uint64(2); n < 4; n++ {
		k = Start(t, open, 0, 1, n-1, entries)
		kept := k.OpenState(state.Spec{Name: "value"}, "bytes", state.Migration{})
		for _, name := range k.Unclaimed() {
			if name == "value" {
				t.Errorf("%s is opened and unclaimed", name)
			}
			if err := k.Drop(name); err != nil {
				t.Fatal(err)
			}
		}
		k.opened()
		k.Use("key")
		if string(kept.Get(nil)) != "v" {
			t.Errorf("the state that was opened holds %q", kept.Get(nil))
		}
		entries = k.Checkpoint(n)
		k.Stop()
	}
	k = start(t, open, 0, 1, 3, entries)
	k.Use("key")
	if v := k.States["map"].Get([]byte("sub")); v != nil {
		t.Errorf("what was dropped holds %q", v)
	}
}
