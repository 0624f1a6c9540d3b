package firstparty

import (
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/weirstream/weir/sdk/sdktest"
)

// Each component answers for its smallest configuration. Their kinds are under test
// where the whole binary is (cmd/weir).
func TestComponentsAreSound(t *testing.T) {
	small := []string{
		`{"path": "in"}`, `{}`, `{"bootstrap.servers": "a:1", "topic": "t"}`, `{}`, `{}`, `{"outputs": {"a": "true"}}`,
		`{"size": "1m", "aggregates": {"n": "count()"}}`, `{"aggregates": {"n": "count()"}}`, `{"within": "1m"}`, `{"within": "1m"}`,
		`{"path": "out/"}`,
		`{"bootstrap.servers": "a:1", "topic": "t"}`, `{}`, `{}`,
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

// What the documentation shows is a configuration that works.
func TestExamplesAreSound(t *testing.T) {
	for _, c := range Components() {
		d, err := c.Definition()
		if err != nil {
			t.Fatal(err)
		}
		if len(d.Spec.Examples) == 0 && len(d.Spec.Parameters) > 0 {
			t.Errorf("%s %s shows no example", d.Spec.Kind, d.Spec.Name)
		}
		for _, e := range d.Spec.Examples {
			config, err := yaml.YAMLToJSON([]byte(e.Config))
			if err != nil {
				t.Errorf("%s %s: %s: %v", d.Spec.Kind, d.Spec.Name, e.Title, err)
				continue
			}
			if faults := sdktest.Check(t, c, config).Faults; len(faults) > 0 {
				t.Errorf("%s %s: %s: %v", d.Spec.Kind, d.Spec.Name, e.Title, faults)
			}
		}
	}
}
