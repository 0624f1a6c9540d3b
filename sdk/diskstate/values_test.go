package diskstate

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/weirstream/weir/proto/keygroup"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/sdk/internal/state"
)

// A task that goes on with a store of which a file of values is missing fails when it
// needs a value of it, whichever way it reads: no key is taken for one without state.
func TestAValueThatIsMissingFailsTheTask(t *testing.T) {
	// No merge reads a value.
	d := disk{overlayBytes, pebble.ValueSeparationPolicy{Enabled: true, MinimumSize: 16, MaxBlobReferenceDepth: 1000, TargetGarbageRatio: 1}}
	var files []*pluginv1.Entry
	values := 0
	for _, e := range write(t, d.Open) {
		if filepath.Ext(e.GetId()) == valuesExt {
			if values++; values > 1 {
				continue // the first has what describes the states
			}
		}
		files = append(files, e)
	}
	if values < 2 {
		t.Fatalf("%d files of values", values)
	}
	for name, read := range map[string]func(v, m state.Table, k state.Key){
		"Get":    func(v, _ state.Table, k state.Key) { v.Get(k, nil) },
		"Each":   func(_, m state.Table, k state.Key) { m.Each(k, func(_, _ []byte) bool { return true }) },
		"Expire": func(v, _ state.Table, _ state.Key) { v.Expire(0) },
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			first, last := keygroup.Range(1, 16, 3)
			b, _, err := d.Open(state.DiskConfig{
				Root: root, Dir: filepath.Join(root, "0"), Groups: state.Groups{First: first, Last: last, Of: 16}, Checkpoint: 4, Restored: files,
			})
			if err != nil {
				t.Fatal(err)
			}
			table := func(spec state.Spec, shape string) state.Table {
				table, held, err := b.Table(spec, keygroup.Header{Shape: shape, Codec: "bytes", TTL: spec.TTL})
				if err != nil || !held {
					t.Fatalf("state %s: held %v, %v", spec.Name, held, err)
				}
				return table
			}
			v := table(state.Spec{Name: "value", TTL: true}, keygroup.ShapeValue)
			m := table(state.Spec{Name: "map", Shape: state.Map}, keygroup.ShapeMap)
			for i := range 1000 {
				key := fmt.Appendf(nil, "key %d", i)
				read(v, m, state.Key{Bytes: key, Hash: keygroup.Hash(key)})
			}
			if b.Err() == nil || !strings.Contains(b.Err().Error(), "a file of values is missing or damaged") {
				t.Errorf("what is missing was read: %v", b.Err())
			}
			if err := b.Close(); err != nil {
				t.Log(err) // what was in use at the panic
			}
		})
	}
}
