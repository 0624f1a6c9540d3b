package file

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirstream/weir/sdk"
)

// Progress goes on after a restart where it was, whichever task reads what.
func TestProgressGoesOnAfterARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "in.txt")
	write(t, path, strings.Repeat("0123456789abcde\n", 100)) // 10 splits of 10 lines
	cfg := &SourceConfig{Path: path, SplitSize: 160}
	enumerator, err := newSource(cfg, testTask(1000))
	if err != nil {
		t.Fatal(err)
	}
	splits, _, err := enumerator.Splits(t.Context())
	if err != nil || len(splits) != 10 {
		t.Fatalf("%d splits, %v", len(splits), err)
	}
	// Four splits are read, two tasks are amid the next two.
	var done, total float64
	for i, offset := range []int64{4*160 + 80, 5*160 + 80} {
		task := testTask(1000)
		task.Index, task.Parallelism, task.RestoredCheckpoint = i, 2, 7
		s, err := newSource(cfg, task)
		if err != nil {
			t.Fatal(err)
		}
		r, err := s.Open(t.Context(), splits[4+i], &position{Offset: offset, Line: 5})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		p := s.Progress()
		done, total = done+p.Done, total+p.Total
	}
	if want := (sdk.Progress{Done: 800, Total: 1600}); done != want.Done || total != want.Total {
		t.Errorf("%v of %v bytes, not %v of %v", done, total, want.Done, want.Total)
	}
}
