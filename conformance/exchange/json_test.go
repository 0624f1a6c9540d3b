package exchange

import (
	"bytes"
	"strings"
	"testing"

	"github.com/weirstream/weir/proto/wire"
)

func TestRecordsComeBackAsTheyWere(t *testing.T) {
	all := []Record{
		{Value: []byte("text"), Time: wire.NoTime},
		{Key: []byte{}, Value: []byte{}, Time: 0},
		{Key: []byte("k"), Value: nil, Time: 1790000000000000001},
		{Key: []byte{0xff, 0}, Value: []byte("a\nb\"<>&\u2028"), Time: -1},
		{Value: []byte("h"), Time: wire.NoTime, Headers: []Header{{"a", []byte("1")}, {"a", nil}, {"", []byte{}}, {"b", []byte{0x80}}}},
	}
	var b bytes.Buffer
	if err := Write(&b, JSONLines, all); err != nil {
		t.Fatal(err)
	}
	back, err := Read(&b, JSONLines)
	if err != nil {
		t.Fatal(err)
	}
	if len(back) != len(all) {
		t.Fatalf("%d records came back of %d", len(back), len(all))
	}
	for i := range all {
		if d := Differ(all[i], back[i], AllFields); d != "" {
			t.Errorf("record %d differs in its %s: %v, %v", i, d, all[i], back[i])
		}
	}
}

func TestLinesAreValues(t *testing.T) {
	back, err := Read(strings.NewReader("a\n\nb"), Lines)
	if err != nil || len(back) != 3 || string(back[0].Value) != "a" || back[1].Value == nil || string(back[2].Value) != "b" {
		t.Fatalf("%v, %v", back, err)
	}
}

func TestWhatIsNoRecordIsRefused(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"x", "a record is a JSON object"},
		{`{"value": 7}`, `"value" is a string, null or {"base64": "..."}`},
		{`{"value": {"base64": "?"}}`, "is no base64"},
		{`{"vlaue": "x"}`, "is none of key, value, time, headers"},
		{`{"time": "today"}`, `"time" is an integer`},
		{`{"headers": [["a"]]}`, "is a list of pairs"},
		{`{"headers": [[null, "a"]]}`, "whose name is no string"},
	} {
		if _, err := Read(strings.NewReader(c.text+"\n"), JSONLines); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.text, err, c.want)
		}
	}
}
