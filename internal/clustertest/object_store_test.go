//go:build linux

package clustertest

import (
	"net/http/httptest"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/weirstream/weir/checkpoint/storage"
	"github.com/weirstream/weir/checkpoint/storage/cloud"
	"github.com/weirstream/weir/host/engine"
)

// TestCheckpointsOnAnObjectStore: hosts share a bucket of an S3 endpoint instead of a
// folder. What a lost host had stored there is what others go on from, and with the
// pipeline its objects go.
func TestCheckpointsOnAnObjectStore(t *testing.T) {
	bucket := s3mem.New()
	server := httptest.NewServer(gofakes3.New(bucket).Server())
	defer server.Close()
	if err := bucket.CreateBucket("weir"); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "id")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	l := newLab(t)
	l.checkpoints = "s3://weir/cluster?region=eu&use_path_style=true&endpoint=" + server.URL
	for _, id := range []string{"a", "b", "c"} {
		l.start(id, 8)
	}
	const n = 60_000
	l.submit(l.generated("p", n, 10_000, 2))
	p := l.awaitCheckpoint("p", "", 2)
	l.crash(l.leader())
	if q := l.awaitState("p", engine.StateFinished); q.Assignment.Epoch <= p.Assignment.Epoch {
		t.Errorf("epoch %d", q.Assignment.Epoch)
	}
	l.expectGenerated("out-p", n)
	l.expectNothingHidden("out-p")
	objects := func() []string {
		t.Helper()
		list, err := bucket.ListBucket("weir", &gofakes3.Prefix{}, gofakes3.ListBucketPage{})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, o := range list.Contents {
			names = append(names, o.Key)
		}
		return names
	}
	if len(objects()) == 0 {
		t.Error("nothing is in the bucket")
	}
	st, err := storage.Open(t.Context(), l.checkpoints, storage.WithOpener(cloud.Open, cloud.Schemes...))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if err := l.client().Delete(t.Context(), "p", st); err != nil {
		t.Fatal(err)
	}
	if left := objects(); len(left) > 0 {
		t.Errorf("%v are left in the bucket", left)
	}
}
