package task

import (
	"bytes"
	"strings"
	"testing"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

func frameOf(t *testing.T, b *pluginv1.Barrier) *wire.Frame {
	t.Helper()
	f, err := wire.FrameOf(&pluginv1.Frame{Kind: &pluginv1.Frame_Barrier{Barrier: b}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Free)
	return &f
}

// A task answers each barrier twice, in the order in which they came: it passes it
// on as it was, and it snapshots it. Between the two answers there is no order.
func TestATaskAnswersEachBarrierTwiceInOrder(t *testing.T) {
	send := func(n uint64) func(*barriers) error {
		return func(b *barriers) error { return b.send(frameOf(t, &pluginv1.Barrier{Checkpoint: n, Halt: n >= 8})) }
	}
	pass := func(n uint64) func(*barriers) error {
		return func(b *barriers) error { return b.pass(frameOf(t, &pluginv1.Barrier{Checkpoint: n, Halt: n >= 8})) }
	}
	snapshot := func(n uint64) func(*barriers) error {
		return func(b *barriers) error { return b.snapshot(&Snapshot{Checkpoint: n}) }
	}
	for name, tc := range map[string]struct {
		do   []func(*barriers) error
		says string // of the last one; empty: all is well
	}{
		"in order":                   {[]func(*barriers) error{send(1), send(2), pass(1), snapshot(1), snapshot(2), pass(2)}, ""},
		"a snapshot first":           {[]func(*barriers) error{send(1), snapshot(1), pass(1), (*barriers).flow}, ""},
		"data behind a barrier":      {[]func(*barriers) error{send(1), pass(1), (*barriers).flow}, ""},
		"passed without being sent":  {[]func(*barriers) error{pass(1)}, "barrier 1 passed on, but none is awaited"},
		"passed twice":               {[]func(*barriers) error{send(1), pass(1), pass(1)}, "none is awaited"},
		"passed out of order":        {[]func(*barriers) error{send(1), send(2), pass(2)}, "barrier 1 comes first"},
		"snapshot without a barrier": {[]func(*barriers) error{snapshot(1)}, "a snapshot of checkpoint 1, but none is awaited"},
		"snapshot twice":             {[]func(*barriers) error{send(1), snapshot(1), snapshot(1)}, "none is awaited"},
		"snapshot out of order":      {[]func(*barriers) error{send(1), send(2), snapshot(2)}, "that of 1 comes first"},
		"data behind a halt":         {[]func(*barriers) error{send(8), pass(8), (*barriers).flow}, "data behind barrier 8, which halts"},
		"a halt again":               {[]func(*barriers) error{send(8), pass(8), snapshot(8), send(9), pass(9), snapshot(9)}, ""},
		"another flag": {[]func(*barriers) error{send(1), func(b *barriers) error {
			return b.pass(frameOf(t, &pluginv1.Barrier{Checkpoint: 1, Roll: true}))
		}}, "was sent as"},
	} {
		t.Run(name, func(t *testing.T) {
			var b barriers
			for i, do := range tc.do {
				err := do(&b)
				if last := i == len(tc.do)-1; last && tc.says != "" {
					if err == nil || !strings.Contains(err.Error(), tc.says) {
						t.Errorf("%v, want it to say %q", err, tc.says)
					}
				} else if err != nil {
					t.Fatalf("step %d: %v", i, err)
				}
			}
		})
	}
}

// State travels in parts of bounded size, and comes back as it was, whichever side
// cut it.
func TestStateTravelsInPartsAndComesBackWhole(t *testing.T) {
	entries := []*pluginv1.Entry{
		{Kind: pluginv1.Entry_KIND_LIST, Id: "small", Content: &pluginv1.Entry_Payload{Payload: []byte("s")}},
		{Kind: pluginv1.Entry_KIND_KEY_GROUP, KeyGroup: 7, Component: 1, Content: &pluginv1.Entry_Payload{Payload: bytes.Repeat([]byte("0123456789"), partBytes/3)}},
		{Kind: pluginv1.Entry_KIND_LIST, Id: "empty", Content: &pluginv1.Entry_Payload{}},
	}
	s := snapshots{members: 2}
	for i, p := range parts(entries, 0) {
		size := 0
		for _, e := range p.Entries {
			size += len(e.GetPayload())
		}
		if size > partBytes {
			t.Errorf("part %d has %d bytes", i, size)
		}
		if err := s.add(&pluginv1.SnapshotPart{Checkpoint: 3, Entries: p.Entries}); err != nil {
			t.Fatal(err)
		}
	}
	whole, err := s.finish(&pluginv1.SnapshotDone{Checkpoint: 3})
	if err != nil || len(whole.Entries) != len(entries) {
		t.Fatalf("%d entries, %v", len(whole.Entries), err)
	}
	for i, e := range whole.Entries {
		if want := entries[i]; e.Kind != want.Kind || e.Id != want.Id || e.KeyGroup != want.KeyGroup || e.Component != want.Component || !bytes.Equal(e.GetPayload(), want.GetPayload()) {
			t.Errorf("entry %d is another: %v %s, %d bytes", i, e.Kind, e.Id, len(e.GetPayload()))
		}
	}
}

// A snapshot that is put together wrongly is a breach of the protocol and no state.
func TestASnapshotOutOfOrderIsRefused(t *testing.T) {
	entry := func(id string, more bool) *pluginv1.Entry {
		return &pluginv1.Entry{Kind: pluginv1.Entry_KIND_LIST, Id: id, More: more, Content: &pluginv1.Entry_Payload{Payload: []byte("x")}}
	}
	part := func(n uint64, es ...*pluginv1.Entry) *pluginv1.SnapshotPart {
		return &pluginv1.SnapshotPart{Checkpoint: n, Entries: es}
	}
	for name, tc := range map[string]struct {
		parts []*pluginv1.SnapshotPart
		done  uint64
		says  string
	}{
		"of two checkpoints":   {[]*pluginv1.SnapshotPart{part(1, entry("a", false)), part(2, entry("b", false))}, 0, "a snapshot part of checkpoint 2 among those of 1"},
		"ended as another":     {[]*pluginv1.SnapshotPart{part(1, entry("a", false))}, 2, "ended amid that of 1"},
		"ended amid an entry":  {[]*pluginv1.SnapshotPart{part(1, entry("a", true))}, 1, "ended amid"},
		"an entry within one":  {[]*pluginv1.SnapshotPart{part(1, entry("a", true), entry("b", false))}, 0, "is followed by another"},
		"of another component": {[]*pluginv1.SnapshotPart{part(1, &pluginv1.Entry{Kind: pluginv1.Entry_KIND_LIST, Component: 1})}, 0, "component 1 in a chain of 1"},
		"of no kind":           {[]*pluginv1.SnapshotPart{part(1, &pluginv1.Entry{})}, 0, "UNSPECIFIED"},
		"of no checkpoint":     {[]*pluginv1.SnapshotPart{part(0, entry("a", false))}, 0, "checkpoint 0"},
	} {
		t.Run(name, func(t *testing.T) {
			s := snapshots{members: 1}
			var err error
			for _, p := range tc.parts {
				if err = s.add(p); err != nil {
					break
				}
			}
			if err == nil {
				_, err = s.finish(&pluginv1.SnapshotDone{Checkpoint: tc.done})
			}
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%v, want it to say %q", err, tc.says)
			}
		})
	}
}
