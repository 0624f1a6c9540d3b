package state_test

import (
	"testing"

	"github.com/weirstream/weir/sdk/internal/state"
	"github.com/weirstream/weir/sdk/internal/state/statetest"
)

func TestMemoryIsWhatTheSuiteSays(t *testing.T) {
	statetest.Run(t, func(c state.DiskConfig) (state.Backend, state.Stored, error) {
		return state.NewMemory(c.Groups), nil, nil
	})
}
