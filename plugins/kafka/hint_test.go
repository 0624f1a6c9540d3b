package kafka

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/sdktest"
)

// TestWhatIsForTheOtherSideIsRefusedWithAHint: nothing that only writing or only
// reading knows is taken by the other and does nothing.
func TestWhatIsForTheOtherSideIsRefusedWithAHint(t *testing.T) {
	sources, sinks := propertiesOf[SourceConfig](), propertiesOf[SinkConfig]()
	for _, side := range []struct {
		component   sdk.Component
		own, others []string
		alien       []string // what other clients have
		want        string
	}{
		{Source(), sources, sinks, []string{"acks", "retries", "key.serializer", "transactional.id", "enable.idempotence", "max.request.size"}, "sink"},
		{Sink(), sinks, sources, []string{"enable.auto.commit", "max.poll.records", "value.deserializer", "client.rack", "allow.auto.create.topics"}, "source"},
	} {
		for _, name := range side.others {
			if slices.Contains(side.own, name) {
				continue
			}
			if hint := hintOf(t, side.component, name); !strings.HasPrefix(hint, "unknown field: the "+side.want+" has it") {
				t.Errorf("%s: %q", name, hint)
			}
		}
		for _, name := range side.alien {
			if hint := hintOf(t, side.component, name); !strings.HasPrefix(hint, "unknown field: ") {
				t.Errorf("%s: %q", name, hint)
			}
		}
	}
}

// hintOf is what is said of one more property.
func hintOf(t *testing.T, c sdk.Component, name string) string {
	t.Helper()
	faults := sdktest.Check(t, c, fmt.Sprintf(`{"bootstrap.servers": "a:1", "topic": "t", %q: "x"}`, name)).Faults
	if len(faults) != 1 || faults[0].Field != name {
		t.Fatalf("%s: %v", name, faults)
	}
	return faults[0].Message
}

// propertiesOf are the names of a configuration's own fields, those of what it
// embeds left out.
func propertiesOf[C any]() (names []string) {
	for f := range reflect.TypeFor[C]().Fields() {
		if name, _, _ := strings.Cut(f.Tag.Get("weir"), ","); name != "" {
			names = append(names, name)
		}
	}
	return names
}
