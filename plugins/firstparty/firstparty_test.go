package firstparty

import (
	"testing"

	"github.com/weirstream/weir/sdk/sdktest"
)

// Each component answers for its smallest configuration. Their kinds are under test
// where the whole binary is (cmd/weir).
func TestComponentsAreSound(t *testing.T) {
	small := []string{
		`{"path": "in"}`, `{}`, `{}`, `{"outputs": {"a": "true"}}`, `{"path": "out/"}`, `{}`, `{}`,
	}
	all := Components()
	if len(all) != len(small) {
		t.Fatalf("%d components, %d configurations: add one", len(all), len(small))
	}
	for i, c := range all {
		if faults := sdktest.Check(t, c, small[i]).Faults; len(faults) > 0 {
			t.Errorf("component %d: %v", i, faults)
		}
	}
}
