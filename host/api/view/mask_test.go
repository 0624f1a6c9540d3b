package view

import (
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/host/engine"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// A record that failed was maybe meant as JSON and is none, or is cut off: what its
// names say is secret is masked all the same.
func TestWhatIsNoJSONIsMaskedByItsNames(t *testing.T) {
	m := NewMask(func(s string) string { return s }, nil)
	for in, want := range map[string]string{
		`{"user":"a","password":"p\"w","n":1`:         `{"user":"a","password":"[secret]","n":1`,
		`{"user":"a","password":"pw`:                  `{"user":"a","password":"[secret]"`,
		`{"user":"a","api_key" : 12345`:               `{"user":"a","api_key" : "[secret]"`,
		`{"token":{"a":1},"n":2,`:                     `{"token":"[secret]"`,
		`[{"client-secret":[1,2]},{"n":`:              `[{"client-secret":"[secret]"`,
		`{"password":`:                                `{"password":"[secret]"`,
		`{"a":"the password: x","b":`:                 `{"a":"the password: x","b":`,
		`{"a":{"password":"x","b":"y"},"token":"z",}`: `{"a":{"password":"[secret]","b":"y"},"token":"[secret]",}`,
		`no JSON "password":"x"`:                      `no JSON "password":"x"`,
	} {
		if got := m.text([]byte(in)); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

// A long one costs no more than a look at each of its bytes.
func TestMaskingIsLinear(t *testing.T) {
	m := NewMask(func(s string) string { return s }, nil)
	nested := strings.Repeat(`{"a":`, shownBytes/5)
	if got := m.text([]byte(nested)); got != nested {
		t.Error("something was masked")
	}
}

func TestSamplesOfFailedRecordsAreMasked(t *testing.T) {
	topology := engine.Topology{Nodes: []engine.TopologyNode{{Name: "in", ID: "in", Kind: "source", Component: "weir/file"}}}
	all := nodes(topology, []engine.NodeStatus{{Name: "in", Samples: []*pluginv1.FailureSample{
		{Error: "no number", Key: []byte(`{"token":1}`), Value: []byte(`{"password":"x","n":"y`)},
	}}}, time.Now())
	s := all[0].Failed.Samples[0]
	if s.Key != `{"token":"[secret]"}` || s.Value != `{"password":"[secret]","n":"y` || s.Error != "no number" {
		t.Errorf("%+v", s)
	}
	tasks := Tasks([]engine.TaskStatus{{Node: "in", Samples: []*pluginv1.FailureSample{{Value: []byte(`{"password":"x"}`)}}}}, "", time.Now())
	if s := tasks[0].Failed.Samples[0]; s.Value != `{"password":"[secret]"}` {
		t.Errorf("%+v", s)
	}
}
