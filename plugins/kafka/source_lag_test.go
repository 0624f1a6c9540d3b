package kafka

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/sdktest"
)

// lagging is a source of a topic; progress adds up what its instances say, and open
// opens a split without reading it.
type lagging struct {
	*sdktest.Source
	instances []*source
	splits    []sdktest.Split
}

func newLagging(t *testing.T, fields map[string]any) *lagging {
	t.Helper()
	l := &lagging{}
	component := sdk.NewSource("kafka", "Tests.", func(ctx context.Context, cfg *SourceConfig, task *sdk.Task) (*source, error) {
		s, err := newSource(ctx, cfg, task)
		l.instances = append(l.instances, s)
		return s, err
	}, sdk.Bounded())
	l.Source = sdktest.NewSource(t, component, fields)
	l.splits = l.Splits()
	return l
}

func (l *lagging) progress() (sum sdk.Progress) {
	for _, s := range l.instances {
		p := s.Progress()
		sum = sdk.Progress{Done: sum.Done + p.Done, Total: sum.Total + p.Total, Lag: sum.Lag + p.Lag, Unit: p.Unit}
	}
	return sum
}

func (l *lagging) open(t *testing.T, i int, from *position) {
	t.Helper()
	raw := l.splits[i]
	sp := sdk.Split[split]{ID: raw.ID}
	if err := json.Unmarshal(raw.Data, &sp.Data); err != nil {
		t.Fatal(err)
	}
	r, err := l.instances[0].Open(t.Context(), sp, from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
}

// TestProgressAndLagSayHowMuchIsLeft: bounded as a share of the whole, from which the
// time that is left can be told, also after a restart; without an end as what is
// behind.
func TestProgressAndLagSayHowMuchIsLeft(t *testing.T) {
	c := broker.Get(t)
	topic := c.Topic(t, 2, nil)
	write(t, c, topic, 0, numbers(0, 10)...)
	write(t, c, topic, 1, numbers(0, 20)...)
	is := func(what string, got, want sdk.Progress) {
		t.Helper()
		if want.Unit = "records"; got != want {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
	}

	l := newLagging(t, reading(c, map[string]any{"topic": topic, "end": "latest"}))
	l.open(t, 0, nil)
	l.open(t, 1, &position{Offset: 15, LeaderEpoch: -1})
	is("bounded, restored", l.progress(), sdk.Progress{Done: 15, Total: 30, Lag: 15})
	l = newLagging(t, reading(c, map[string]any{"topic": topic, "end": "latest"}))
	for _, split := range l.splits {
		l.Read(split)
	}
	is("bounded, at the end", l.progress(), sdk.Progress{Done: 30, Total: 30})

	l = newLagging(t, reading(c, map[string]any{"topic": topic}))
	r := l.Open(l.splits[1])
	defer r.Close()
	r.Next(20)
	is("without an end", l.progress(), sdk.Progress{Done: 20})
	write(t, c, topic, 1, "more")
	r.Next(1)
	is("and later", l.progress(), sdk.Progress{Done: 21})
}
