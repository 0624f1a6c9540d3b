package sdktest_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/diskstate"
	"github.com/weirstream/weir/sdk/sdktest"
)

func countingOn(options ...sdk.Option) sdk.Component {
	return sdk.NewKeyedOperator("count", "Counts.", func(_ context.Context, _ *struct{}, t *sdk.Task) (*counter, error) {
		return &counter{count: sdk.Value[int64](t, "count")}, nil
	}, options...)
}

// State on disk is that of the checkpoint, whatever came behind it, and moves with the
// key.
func TestStateOnDiskIsThatOfTheCheckpointForAnyNumberOfTasks(t *testing.T) {
	p := sdktest.NewParallel(t, countingOn(sdk.DiskState(diskstate.Pebble())), nil, 2, sdktest.OnDisk())
	var records []sdktest.Record
	for i := range 50 {
		records = append(records, sdktest.KV(fmt.Sprint("key ", i), ""))
	}
	for round, tasks := range []int{4, 4, 1, 3, 2} {
		p.Process(records...)
		p.Checkpoint()
		p.Process(records...) // lost
		p.Restart(tasks)
		for _, r := range p.Process(records[0]).Out {
			if want := fmt.Sprint(round + 2); string(r.Value) != want {
				t.Errorf("round %d: the next count of %s is %s, not %s", round, r.Key, r.Value, want)
			}
		}
		p.Restart(tasks)
	}
}

func TestAComponentWithoutABackEndOnDiskSaysSo(t *testing.T) {
	if err := sdktest.OpenError(t, countingOn(), nil, sdktest.OnDisk()); err == nil || !strings.Contains(err.Error(), "in memory alone") {
		t.Errorf("got %v", err)
	}
}
