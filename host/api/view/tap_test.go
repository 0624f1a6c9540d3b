package view_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/host/api"
	"github.com/weirstream/weir/host/api/view"
	"github.com/weirstream/weir/host/engine"
	"github.com/weirstream/weir/proto/wire"
)

// passing is a tap that shows these records, and then ends.
type passing []engine.Passed

func (p *passing) Next(context.Context) ([]engine.Passed, uint64, error) {
	if len(*p) == 0 {
		return nil, 0, context.Canceled
	}
	one := (*p)[:1]
	*p = (*p)[1:]
	return one, 2, nil
}

func shown(t *testing.T, m *view.Mask, records ...engine.Passed) []api.TapRecord {
	t.Helper()
	var out []api.TapRecord
	p := passing(records)
	view.Tap(t.Context(), &p, m, func(r api.TapRecord, err error) bool {
		if err != nil {
			t.Error(err)
		}
		out = append(out, r)
		return true
	})
	return out
}

func hidden(text string) string { return strings.ReplaceAll(text, "hunter22", api.Masked) }

func TestARecordIsShownWhole(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	got := shown(t, view.NewMask(hidden, nil),
		engine.Passed{
			TapPoint: engine.TapPoint{Node: "in", Output: "out"}, Task: 1, Key: []byte("k"), Value: []byte(" {\"a\": 1 }\n"), Time: at.UnixNano(),
			Headers: []engine.PassedHeader{{Name: "trace", Value: []byte("t")}, {Name: "none"}}, Split: "logs/a", Ordinal: 7,
		},
		engine.Passed{Value: []byte{0xff, 0}, Time: wire.NoTime},
		engine.Passed{Key: []byte{}, Time: wire.NoTime},
	)
	var lines []string
	for _, r := range got {
		data, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(data))
	}
	want := `{"node":"in","output":"out","task":1,"key":{"text":"k"},"value":{"text":" {\"a\": 1 }\n"},"time":"2026-01-02T03:04:05.000006Z","headers":[{"name":"trace","value":{"text":"t"}},{"name":"none"}],"split":"logs/a","ordinal":7,"dropped":2}
{"node":"","output":"","task":0,"value":{"base64":"/wA="},"dropped":2}
{"node":"","output":"","task":0,"key":{},"dropped":2}`
	if strings.Join(lines, "\n") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), want)
	}
}

func TestWhatIsLongIsCutAndSaysSo(t *testing.T) {
	got := shown(t, view.NewMask(hidden, nil), engine.Passed{Value: []byte(strings.Repeat("€", 10_000))})[0].Value
	if got.Bytes != 30_000 || got.Text != strings.Repeat("€", (16<<10)/3) {
		t.Errorf("%d bytes, of %d", len(got.Text), got.Bytes)
	}
}

func TestSecretsAreMasked(t *testing.T) {
	for _, c := range []struct{ value, want string }{
		{`{"user":"ann","password":"x", "n": 1}`, `{"user":"ann","password":"[secret]", "n": 1}`},
		{`{"a":[{"Client-Secret":{"deep":1}},2], "b":{"access_token":null}}`, `{"a":[{"Client-Secret":"[secret]"},2], "b":{"access_token":"[secret]"}}`},
		{`{"iban":"DE1","nested":{"IBAN":2}}`, `{"iban":"[secret]","nested":{"IBAN":"[secret]"}}`},
		{`[1, "hunter22", {"x": "ahunter22b"}]`, `[1, "[secret]", {"x": "a[secret]b"}]`},
		{"a line with hunter22", "a line with [secret]"},
		{`{"password": broken`, `{"password": "[secret]"`}, // meant as JSON
		{strings.Repeat("[", 100) + "1" + strings.Repeat("]", 100), strings.Repeat("[", 65) + `"[secret]"` + strings.Repeat("]", 65)},
	} {
		got := shown(t, view.NewMask(hidden, []string{"iban"}), engine.Passed{
			Key: []byte("hunter22"), Value: []byte(c.value),
			Headers: []engine.PassedHeader{{Name: "Authorization", Value: []byte("Basic x")}, {Name: "iban", Value: []byte("DE1")}, {Name: "token"}},
		})[0]
		if got.Value.Text != c.want {
			t.Errorf("%s\nis shown as %s\nwant        %s", c.value, got.Value.Text, c.want)
		}
		if got.Key.Text != api.Masked || got.Headers[0].Value.Text != api.Masked || got.Headers[1].Value.Text != api.Masked || got.Headers[2].Value != nil {
			t.Errorf("key and headers are shown as %+v %+v", got.Key, got.Headers)
		}
	}
}
