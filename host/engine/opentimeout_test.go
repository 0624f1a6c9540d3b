package engine

import (
	"testing"
	"time"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// A task that takes over gigabytes has more than a minute for it.
func TestTheTimeToOpenGrowsWithTheStateToTakeOver(t *testing.T) {
	payload := &pluginv1.Entry{Content: &pluginv1.Entry_Payload{Payload: make([]byte, 8<<20)}}
	file := &pluginv1.Entry{Content: &pluginv1.Entry_File{File: &pluginv1.LocalFile{Size: 2 << 30}}}
	for _, c := range []struct {
		what    string
		entries []*pluginv1.Entry
		want    time.Duration
	}{
		{"nothing", nil, time.Minute},
		{"8 MiB in memory", []*pluginv1.Entry{payload}, time.Minute + 2*time.Second},
		{"2 GiB in a file, and 8 MiB", []*pluginv1.Entry{file, payload}, time.Minute + 514*time.Second},
	} {
		if got := openTimeout(c.entries); got != c.want {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
}
