package expr_test

import (
	"testing"

	"github.com/weirstream/weir/plugins/expr"
	"github.com/weirstream/weir/sdk"
)

func TestAFilterHoldsForRecordsOutsideOfAPipeline(t *testing.T) {
	r := sdk.Row{Key: []byte("k"), Value: []byte(`{"n":3}`), Time: sdk.UnixMilli(5), Headers: sdk.Headers{}.Add("a", []byte("b"))}
	for condition, want := range map[string]bool{
		"json.n == 3 && key == 'k'":        true,
		"headers.a == 'b' && timestamp==5": true,
		"json.n > 3":                       false,
		"json.absent":                      false,
	} {
		holds, err := expr.Filter(condition)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := holds(r); got != want || err != nil {
			t.Errorf("%s: %v, %v", condition, got, err)
		}
	}
	holds, err := expr.Filter("json.n == 3")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := holds(sdk.Row{Value: []byte("no JSON")}); got || err != nil {
		t.Errorf("of a value that is no JSON: %v, %v", got, err)
	}
	for _, wrong := range []string{"json.n ==", "nothing > 1", "item.x"} {
		if _, err := expr.Filter(wrong); err == nil {
			t.Errorf("%s is taken", wrong)
		}
	}
}
