package diskstate

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weirstream/weir/proto/keygroup"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/sdk/internal/state"
	"github.com/weirstream/weir/sdk/internal/state/statetest"
)

// write writes states of all shapes, some of which is deleted again, over a few
// checkpoints, and returns the entries of the last.
func write(t *testing.T, open statetest.Open) []*pluginv1.Entry {
	t.Helper()
	k := statetest.Start(t, open, 1, 3, 0, nil)
	value := k.OpenState(state.Spec{Name: "value", TTL: true}, "bytes", state.Migration{})
	list := k.OpenState(state.Spec{Name: "list", Shape: state.List}, "bytes", state.Migration{})
	m := k.OpenState(state.Spec{Name: "map", Shape: state.Map}, "bytes", state.Migration{})
	if err := k.Opened(); err != nil {
		t.Fatal(err)
	}
	var entries []*pluginv1.Entry
	for n := range uint64(4) {
		for i := range 3000 {
			key := fmt.Appendf(nil, "key %d", i%1000)
			if !k.SetKey(key, keygroup.Hash(key)) {
				continue
			}
			text := fmt.Appendf(nil, "        %d of %d", i, n)
			value.Put(nil, text)
			list.Append(keygroup.AppendBytes(nil, text))
			m.Put(fmt.Appendf(nil, "%d", i%7), text)
			switch i % 5 {
			case 1:
				m.Delete(fmt.Appendf(nil, "%d", i%3))
			case 2:
				value.Delete(nil)
			}
		}
		k.Unset()
		entries = k.Checkpoint(n + 1)
	}
	return entries
}

// rowsOf lists what entries hold, by state, group and row, and checks their order.
func rowsOf(t *testing.T, entries []*pluginv1.Entry) (rows, order []string) {
	t.Helper()
	for _, e := range entries {
		if e.GetKind() != pluginv1.Entry_KIND_KEY_GROUP {
			t.Fatalf("an entry of kind %s", e.GetKind())
		}
		order = append(order, fmt.Sprintf("%s of group %d, %d bytes", e.GetId(), e.GetKeyGroup(), len(e.GetPayload())))
		h, rest, err := keygroup.CutHeader(e.GetPayload())
		if err != nil {
			t.Fatal(err)
		}
		for r, err := range keygroup.Rows(h, rest) {
			if err != nil {
				t.Fatal(err)
			}
			rows = append(rows, fmt.Sprintf("%d %s %+v %q %q %q", e.GetKeyGroup(), e.GetId(), h, r.Key, r.Sub, r.Value))
		}
	}
	slices.Sort(rows)
	return rows, order
}

// What files hold is what state in memory has in a snapshot, entry by entry.
func TestFilesAreReadAsAnotherBackEndWouldHaveWrittenThem(t *testing.T) {
	memory := write(t, func(c state.DiskConfig) (state.Backend, state.Stored, error) {
		return state.NewMemory(c.Groups), nil, nil
	})
	want, wantOrder := rowsOf(t, memory)
	if len(want) < 1000 {
		t.Fatalf("%d rows", len(want))
	}
	root := t.TempDir()
	var got []*pluginv1.Entry
	for e, err := range Entries(root, write(t, small.Open)) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e)
	}
	rows, order := rowsOf(t, got)
	if !slices.Equal(rows, want) {
		t.Errorf("%d rows are not the %d of memory", len(rows), len(want))
	}
	if !slices.Equal(order, wantOrder) {
		t.Errorf("entries %q\nof memory %q", order, wantOrder)
	}
	if left, err := filepath.Glob(filepath.Join(root, "read", "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestFilesThatAreNotWholeAreAnError(t *testing.T) {
	files := write(t, small.Open)
	for name, damage := range map[string]func(e *pluginv1.Entry) []*pluginv1.Entry{
		"missing": func(*pluginv1.Entry) []*pluginv1.Entry { return nil },
		"cut off": func(e *pluginv1.Entry) []*pluginv1.Entry {
			whole := e.GetPayload()
			return []*pluginv1.Entry{{Kind: e.Kind, Id: e.Id, Content: &pluginv1.Entry_Payload{Payload: whole[:len(whole)/2]}}}
		},
	} {
		for _, of := range []string{keysExt, valuesExt} {
			t.Run(name+of, func(t *testing.T) {
				// The newest: an older one may hold nothing but what was written over.
				var damaged int
				for i, e := range files {
					if strings.HasSuffix(e.GetId(), of) {
						damaged = i
					}
				}
				some := slices.Concat(files[:damaged], damage(files[damaged]), files[damaged+1:])
				var last error
				for _, err := range Entries(t.TempDir(), some) {
					last = err
				}
				if last == nil {
					t.Errorf("it was read without %s", files[damaged].GetId())
				}
			})
		}
	}
}

func TestFilesOfAnotherStoreAreLeftAlone(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "f"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"f", "rocks/000012.sst", "store-1-2/a"} {
		e := &pluginv1.Entry{Kind: pluginv1.Entry_KIND_FILE, Id: id, Content: &pluginv1.Entry_File{File: &pluginv1.LocalFile{Path: "f", Size: 1}}}
		if Entries(root, []*pluginv1.Entry{e}) != nil {
			t.Errorf("%s was taken for a file of this package", id)
		}
	}
	if Entries(root, nil) != nil {
		t.Error("no files were taken for a store")
	}
}
