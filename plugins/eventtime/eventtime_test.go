package eventtime_test

import (
	"slices"
	"testing"

	"github.com/weirstream/weir/plugins/eventtime"
	"github.com/weirstream/weir/sdk/sdktest"
)

func TestItPassesRecordsOn(t *testing.T) {
	o := sdktest.NewOperator(t, eventtime.Operator(), nil)
	r := o.Process(sdktest.KV("a", "1"), sdktest.KV("b", "2"))
	if !slices.Equal(sdktest.KeysOf(r.Out), []string{"a", "b"}) || !slices.Equal(sdktest.ValuesOf(r.Out), []string{"1", "2"}) {
		t.Errorf("%v", r.Out)
	}
}
