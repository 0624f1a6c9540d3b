package state

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"

	"github.com/weirstream/weir/proto/keygroup"
)

// seeded returns a generator whose seed is logged, and taken from WEIR_SEED.
func seeded(t *testing.T) *rand.Rand {
	seed := rand.Uint64()
	if s := os.Getenv("WEIR_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("WEIR_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

func setKey(k *Keyed, key []byte) { k.SetKey(key, keygroup.Hash(key)) }

var everything = Groups{First: 0, Last: 15, Of: 16}

func openAll(t *testing.T, entries []*pluginv1.Entry) (*Keyed, map[string]*State) {
	t.Helper()
	k, err := NewKeyed(NewMemory(everything), everything, func() int64 { return 0 }, entries, nil)
	if err != nil {
		t.Fatal(err)
	}
	states := map[string]*State{}
	for name, shape := range map[string]Shape{"value": Value, "list": List, "map": Map} {
		s, err := k.Open(Spec{Name: name, Shape: shape}, keygroup.Header{Shape: name, Codec: "bytes"}, Migration{})
		if err != nil {
			t.Fatal(err)
		}
		states[name] = s
	}
	return k, states
}

func walk(t *testing.T, l Later) []*pluginv1.Entry {
	defer l.Release()
	var entries []*pluginv1.Entry
	if err := l.Walk(func(e *pluginv1.Entry) bool { entries = append(entries, e); return true }); err != nil {
		t.Error(err)
	}
	return entries
}

// Timers fire once, in order, whatever was set and deleted.
func TestTimersHoldWhatAListWould(t *testing.T) {
	r := seeded(t)
	for range 20 {
		k, _ := openAll(t, nil)
		type named struct {
			key string
			Timer
		}
		want := map[named]bool{}
		now := int64(0)
		for range 2000 {
			tm := named{fmt.Sprint(r.IntN(30)), Timer{EventTime, now + 1 + r.Int64N(50), uint32(r.IntN(3))}}
			setKey(k, []byte(tm.key))
			switch r.IntN(8) {
			case 0, 1, 2, 3:
				k.SetTimer(tm.Timer)
				want[tm] = true
			case 4, 5, 6:
				k.DeleteTimer(tm.Timer)
				delete(want, tm)
			default:
				now += r.Int64N(20)
				k.Advance(now)
				last := Timer{}
				for {
					got, ok := k.Next(EventTime, now)
					if !ok {
						break
					}
					n := named{string(k.Key().Bytes), got}
					if !want[n] || got.At < last.At || got.At == last.At && got.Tag < last.Tag {
						t.Fatalf("%v fired after %v, wanted %v", n, last, want[n])
					}
					last = got
					delete(want, n)
				}
				for n := range want {
					if n.At <= now {
						t.Fatalf("%v did not fire at %d", n, now)
					}
				}
				if r.IntN(4) == 0 {
					l, err := k.Capture(1)
					if err != nil {
						t.Fatal(err)
					}
					k, _ = openAll(t, walk(t, l))
				}
			}
		}
	}
}

func TestTheTimerOfAnEmptyKeyHasAnEmptyKey(t *testing.T) {
	k, _ := openAll(t, nil)
	setKey(k, []byte{})
	k.SetTimer(Timer{EventTime, 5, 0})
	k.Unset()
	if _, ok := k.Next(EventTime, 5); !ok || k.Key().Bytes == nil {
		t.Errorf("its key is %#v, %v", k.Key().Bytes, ok)
	}
}

func TestMalformedStateIsRefused(t *testing.T) {
	k, states := openAll(t, nil)
	setKey(k, []byte("key"))
	states["value"].Put(nil, []byte("value"))
	k.SetTimer(Timer{EventTime, 5, 1})
	l, err := k.Capture(1)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range walk(t, l) {
		whole := e.GetPayload()
		for n := range len(whole) {
			h, rows, err := keygroup.CutHeader(whole[:n])
			for _, rowErr := range keygroup.Rows(h, rows) {
				if rowErr != nil {
					err = rowErr
				}
			}
			if err == nil && n != len(whole)-len(rows) && len(rows) > 0 {
				t.Errorf("%s cut to %d of %d bytes was taken", e.Id, n, len(whole))
			}
		}
	}
}

// What lies in the entry of another group may be another task's.
func TestAKeyInAnotherGroupsEntryIsRefused(t *testing.T) {
	k, states := openAll(t, nil)
	setKey(k, []byte("key"))
	states["value"].Put(nil, []byte("value"))
	k.SetTimer(Timer{EventTime, 5, 1})
	l, err := k.Capture(1)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range walk(t, l) {
		if e.KeyGroup != uint32(k.Group()) {
			continue
		}
		e.KeyGroup = uint32((k.Group() + 1) % k.groups.Of)
		again, err := NewKeyed(NewMemory(k.groups), k.groups, k.Now, []*pluginv1.Entry{e}, nil)
		if err == nil {
			_, err = again.Open(Spec{Name: e.Id, Shape: Value}, keygroup.Header{Shape: keygroup.ShapeValue}, Migration{
				Value: func(string) (Convert, error) { return nil, nil },
			})
		}
		if !errors.Is(err, keygroup.ErrFormat) || !strings.Contains(err.Error(), "a key of key group") {
			t.Errorf("%s: %v", e.Id, err)
		}
	}
}
