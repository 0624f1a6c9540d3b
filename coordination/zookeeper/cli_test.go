package zookeeper

import (
	"testing"

	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/internal/testserver/zookeepertest"
)

// What docs/zookeeper.md says a person can do.
func TestZkCliShowsRecordsAsTheyWereWritten(t *testing.T) {
	e := single.Get(t)
	c := testConfig(e)
	s := mustOpen(t, c)
	const record = `{"uid":"u","epoch":3}`
	if err := s.Commit(t.Context(), coordination.Create("pipelines/access-log/epoch", []byte(record))); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/weir/" + c.Cluster: `{"software":"weir","format":1}`,
		"/weir/" + c.Cluster + "/pipelines/access-log/epoch": record,
	} {
		got, err := zookeepertest.CLI(t.Context(), e.Servers(), "get", path)
		if err != nil || got != want+"\n" {
			t.Errorf("get %s printed %q, %v, want %q", path, got, err, want)
		}
	}
}
