package diskstate

import (
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/weirstream/weir/sdk/internal/state"
	"github.com/weirstream/weir/sdk/internal/state/statetest"
)

// small makes overlays go to Pebble often, and values that lie apart be written anew often.
var small = disk{128 << 10, pebble.ValueSeparationPolicy{Enabled: true, MinimumSize: 16, MaxBlobReferenceDepth: 2, TargetGarbageRatio: 0.1}}

func TestDiskStateIsWhatTheSuiteSays(t *testing.T) { statetest.Run(t, small.Open) }

// What was kept in memory is taken over on disk, and the other way.
func TestTheBackEndMayChangeAtEveryRestart(t *testing.T) {
	r := statetest.Seeded(t)
	statetest.Rescale(t, func(c state.DiskConfig) (state.Backend, state.Stored, error) {
		if r.IntN(2) == 0 {
			return small.Open(c)
		}
		stored, err := small.Read(c)
		return state.NewMemory(c.Groups), stored, err
	})
}
