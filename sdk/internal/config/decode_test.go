package config_test

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/sdk/internal/config"
)

type secret string

// testScalars stand for the SDK's own types.
func testScalars() config.Scalars {
	return config.Scalars{
		reflect.TypeFor[secret](): {
			Type:   pluginv1.Parameter_TYPE_STRING,
			Secret: true,
			Expect: "a string",
			Set: func(v reflect.Value, raw json.RawMessage, _ string) error {
				s, err := config.String(raw)
				v.SetString(s)
				return err
			},
		},
	}
}

type common struct {
	Retries int `weir:"retries" default:"3" min:"0" max:"10" doc:"Tries."`
}

type endpoint struct {
	Host string `weir:"host,required" pattern:"[a-z.]+"`
	Port uint16 `weir:"port" default:"80"`
}

type full struct {
	common
	Path    string              `weir:"path,required"`
	Format  string              `weir:"format" default:"lines" enum:"lines, json"`
	Ratio   float64             `weir:"ratio" max:"1"`
	Small   int8                `weir:"small"`
	Flag    bool                `weir:"flag"`
	Unset   *int                `weir:"unset" min:"5"`
	Main    endpoint            `weir:"main"`
	Other   *endpoint           `weir:"other"`
	List    []endpoint          `weir:"list"`
	Names   []string            `weir:"names" enum:"a,b"`
	Map     map[string]endpoint `weir:"map"`
	Labels  map[string]int      `weir:"labels"`
	Any     any                 `weir:"any"`
	Raw     json.RawMessage     `weir:"raw"`
	Addr    netip.Addr          `weir:"addr"`
	Token   secret              `weir:"token" pattern:"[0-9]+"`
	Tokens  []secret            `weir:"tokens"`
	Old     string              `weir:"old" deprecated:"use path"`
	Topic   string              `weir:"topic" xor:"what"`
	Topics  []string            `weir:"topics" xor:"what"`
	Dotted  int                 `weir:"group.id" default:"-7"`
	Skipped chan int            `weir:"-"`
}

// base makes a configuration valid apart from what a case adds.
const base = `"path": "p", "main": {"host": "h"}`

func newSpec(t *testing.T, v any) *config.Spec {
	t.Helper()
	s, err := config.New(reflect.TypeOf(v), testScalars())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSoundConfigurationIsDecoded(t *testing.T) {
	var got full
	faults, _ := newSpec(t, full{}).Decode([]byte(`{
		"path": "p", "main": {"host": "h.x"}, "other": {"host": "o", "port": 8080},
		"ratio": 0.5, "small": -128, "flag": true, "unset": 5.0, "retries": 10,
		"list": [{"host": "a"}, {"host": "b", "port": 1}], "names": ["b", "a"],
		"map": {"x": {"host": "m"}}, "labels": {"k": 1}, "any": {"n": 9007199254740993, "l": [1.5, null]},
		"raw": [1, 2], "addr": "10.0.0.1", "token": "123", "topics": ["t"], "group.id": 1
	}`), nil, &got)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	five := 5
	want := full{
		common: common{Retries: 10},
		Path:   "p", Format: "lines", Ratio: 0.5, Small: -128, Flag: true, Unset: &five,
		Main: endpoint{"h.x", 80}, Other: &endpoint{"o", 8080},
		List: []endpoint{{"a", 80}, {"b", 1}}, Names: []string{"b", "a"},
		Map: map[string]endpoint{"x": {"m", 80}}, Labels: map[string]int{"k": 1},
		Any: map[string]any{"n": int64(9007199254740993), "l": []any{1.5, nil}},
		Raw: json.RawMessage(`[1, 2]`), Addr: netip.MustParseAddr("10.0.0.1"), Token: "123",
		Topics: []string{"t"}, Dotted: 1,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("\n got %+v\nwant %+v", got, want)
	}
}

func TestAbsentFieldsHaveTheirDefaults(t *testing.T) {
	for _, absent := range []string{`{` + base + `}`, `{` + base + `, "format": null, "unset": null, "other": null}`} {
		var got full
		if faults, _ := newSpec(t, full{}).Decode([]byte(absent), nil, &got); len(faults) > 0 {
			t.Fatal(faults)
		}
		want := full{
			common: common{Retries: 3}, Path: "p", Format: "lines", Main: endpoint{"h", 80}, Dotted: -7,
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s\n got %+v\nwant %+v", absent, got, want)
		}
	}
}

func TestEachFaultNamesPathAndReason(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"misspelt field", `"pathh": 1`, `pathh: unknown field; did you mean "path"?`},
		{"other spelling of a field", `"groupId": 1`, `groupId: unknown field; did you mean "group.id"?`},
		{"unknown nested field", `"other": {"host": "h", "prot": 1}`, `other.prot: unknown field; did you mean "port"?`},
		{"nothing near", `"other": {"host": "h", "zzzzzz": 1}`, `other.zzzzzz: unknown field; there are "host", "port"`},
		{"field twice", `"flag": true, "flag": false`, `flag: is there twice`},
		{"string for a number", `"retries": "4"`, `retries: expected an integer, got the string "4"`},
		{"number for a string", `"format": 12`, `format: expected a string, got the number 12; put it in quotes`},
		{"boolean for a string", `"format": true`, `format: expected a string, got true; put it in quotes`},
		{"number for a boolean", `"flag": 1`, `flag: expected true or false, got the number 1`},
		{"fraction for an integer", `"retries": 1.5`, `retries: expected an integer, got the number 1.5`},
		{"too large for its type", `"small": 128`, `small: must be between -128 and 127, got 128`},
		{"negative", `"other": {"host": "h", "port": -1}`, `other.port: must be between 0 and 65535, got -1`},
		{"object for a scalar", `"retries": {}`, `retries: expected an integer, got an object`},
		{"scalar for an object", `"other": "h"`, `other: expected an object, got the string "h"`},
		{"scalar for a list", `"names": "a"`, `names: expected a list, got the string "a"`},
		{"list for a map", `"labels": [1]`, `labels: expected a map, got a list`},
		{"element of a list", `"list": [{"host": "a"}, {"port": 1}]`, `list[1].host: is required`},
		{"element of a map", `"map": {"x.y": {"host": "A"}}`, `map.x.y.host: must match [a-z.]+, got "A"`},
		{"null element", `"names": ["a", null]`, `names[1]: is empty`},
		{"below min", `"retries": -1`, `retries: must be between 0 and 10, got -1`},
		{"min alone", `"unset": 4`, `unset: must be at least 5, got 4`},
		{"max alone", `"ratio": 1.01`, `ratio: must be at most 1, got 1.01`},
		{"enum", `"format": "jsn"`, `format: must be one of "lines", "json", got "jsn"; did you mean "json"?`},
		{"enum of elements", `"names": ["a", "c"]`, `names[1]: must be one of "a", "b", got "c"`},
		{"pattern is for the whole", `"other": {"host": "a b"}`, `other.host: must match [a-z.]+, got "a b"`},
		{"own text", `"addr": "x"`, `addr: ParseAddr("x"): unable to parse IP`},
		{"two of a group", `"topic": "a", "topics": ["b"]`, `topics: excludes "topic": only one of "topic", "topics" may be set`},
		{"deprecated", `"old": "x"`, `old: is deprecated: use path (warning)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			faults, _ := newSpec(t, full{}).Decode([]byte(`{`+base+`, `+c.in+`}`), nil, new(full))
			if got := text(faults); got != c.want {
				t.Errorf("\n got %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestAllFaultsAreToldAtOnce(t *testing.T) {
	faults, _ := newSpec(t, full{}).Decode([]byte(`{
		"formt": 1, "format": "x", "retries": 11, "main": {"port": "a"}, "list": [{}, 3]}`), nil, new(full))
	want := []string{
		`formt: unknown field; did you mean "format"?`,
		`retries: must be between 0 and 10, got 11`,
		`path: is required`,
		`format: must be one of "lines", "json", got "x"`,
		`main.host: is required`,
		`main.port: expected an integer, got the string "a"`,
		`list[0].host: is required`,
		`list[1]: expected an object, got the number 3`,
	}
	if got := text(faults); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

func TestRequiredOfAGroup(t *testing.T) {
	type either struct {
		A string `weir:"a,required" xor:"g"`
		B *int   `weir:"b" xor:"g"`
	}
	s := newSpec(t, either{})
	for in, want := range map[string]string{
		`{"b": 1}`:         "",
		`{"a": "x"}`:       "",
		`{}`:               `: one of "a", "b" is required`,
		`{"a": null}`:      `: one of "a", "b" is required`,
		`{"a": ""}`:        `a: is required and empty`,
		`{"a":"x","b": 1}`: `b: excludes "a": only one of "a", "b" may be set`,
	} {
		if faults, _ := s.Decode([]byte(in), nil, new(either)); text(faults) != want {
			t.Errorf("%s\n got %s\nwant %s", in, text(faults), want)
		}
	}
}

func TestWhatIsRequiredIsNotEmpty(t *testing.T) {
	type required struct {
		S string         `weir:"s,required"`
		L []string       `weir:"l,required"`
		M map[string]int `weir:"m,required"`
		O struct{}       `weir:"o,required"`
		N int            `weir:"n,required"`
	}
	faults, _ := newSpec(t, required{}).Decode([]byte(`{"s": "", "l": [], "m": {}, "o": {}, "n": 0}`), nil, new(required))
	want := "s: is required and empty\nl: is required and empty\nm: is required and empty"
	if got := text(faults); got != want {
		t.Errorf("got %s", got)
	}
}

func TestWhatIsNoObject(t *testing.T) {
	type optional struct {
		A int `weir:"a"`
	}
	s := newSpec(t, optional{})
	for in, want := range map[string]string{
		``:          "",
		`null`:      "",
		` {} `:      "",
		`[]`:        ": expected an object, got a list",
		`"a"`:       ": expected an object, got a string",
		`{"a": 1`:   ": the configuration is not valid JSON",
		`{"a": 1}}`: ": the configuration is not valid JSON",
	} {
		if faults, _ := s.Decode([]byte(in), nil, new(optional)); text(faults) != want {
			t.Errorf("%q\n got %s\nwant %s", in, text(faults), want)
		}
	}
}

func TestSecretsAreInNoMessage(t *testing.T) {
	const hidden = "hunter2"
	for _, c := range []struct {
		name, in string
		paths    []string
	}{
		{"pattern of a secret field", `{"path": "p", "main": {"host": "h"}, "token": "hunter2"}`, nil},
		{"element of a list of secrets", `{"path": "p", "main": {"host": "h"}, "tokens": ["hunter2", 7]}`, nil},
		{"enum by path", `{"path": "p", "main": {"host": "h"}, "format": "hunter2"}`, []string{"format"}},
		{"type by path", `{"path": "p", "main": {"host": "h"}, "retries": "hunter2"}`, []string{"retries"}},
		{"own text by path", `{"path": "p", "main": {"host": "h"}, "addr": "hunter2"}`, []string{"addr"}},
		{"below a path", `{"path": "p", "main": {"host": "h"}, "names": ["hunter2"]}`, []string{"names"}},
		{"element by path", `{"path": "p", "main": {"host": "h"}, "list": [{"host": "hunter2"}]}`, []string{"list[0].host"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			faults, secrets := newSpec(t, full{}).Decode([]byte(c.in), c.paths, new(full))
			if len(faults) == 0 || strings.Contains(text(faults), hidden) {
				t.Errorf("got %s", text(faults))
			}
			if len(secrets) == 0 || secrets[0] != hidden {
				t.Errorf("secrets met: %q", secrets)
			}
		})
	}
}

func TestParametersOfTheManifest(t *testing.T) {
	params := newSpec(t, full{}).Parameters()
	byName := map[string]*pluginv1.Parameter{}
	for _, p := range params {
		byName[p.Name] = p
	}
	for name, want := range map[string]string{
		"retries": `name:"retries" type:TYPE_INT default:"3" description:"Tries." min:"0" max:"10"`,
		"path":    `name:"path" type:TYPE_STRING required:true`,
		"format":  `name:"format" type:TYPE_STRING default:"\"lines\"" enum:"lines" enum:"json"`,
		"unset":   `name:"unset" type:TYPE_INT min:"5"`,
		"names":   `name:"names" type:TYPE_LIST enum:"a" enum:"b" element:TYPE_STRING`,
		"labels":  `name:"labels" type:TYPE_MAP element:TYPE_INT`,
		"any":     `name:"any" type:TYPE_ANY`,
		"addr":    `name:"addr" type:TYPE_STRING`,
		"token":   `name:"token" type:TYPE_STRING pattern:"[0-9]+" secret:true`,
		"old":     `name:"old" type:TYPE_STRING deprecated:"use path"`,
		"topic":   `name:"topic" type:TYPE_STRING xor:"what"`,
		"list": `name:"list" type:TYPE_LIST fields:{name:"host" type:TYPE_STRING required:true pattern:"[a-z.]+"} ` +
			`fields:{name:"port" type:TYPE_INT default:"80"} element:TYPE_OBJECT`,
	} {
		// protobuf's text has spaces at random.
		if got := strings.Join(strings.Fields(byName[name].String()), " "); got != want {
			t.Errorf("%s\n got %s\nwant %s", name, got, want)
		}
	}
	if params[0].Name != "retries" || len(params) != 22 {
		t.Errorf("%d parameters, the first %s", len(params), params[0].Name)
	}
}

func text(faults []*pluginv1.Fault) string {
	var lines []string
	for _, f := range faults {
		line := f.Path + ": " + f.Message
		if f.Warning {
			line += " (warning)"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// hinting knows a name that people bring from elsewhere.
type hinting struct {
	Servers string `weir:"servers" doc:"Where."`
}

func (*hinting) Hint(field string) string {
	if field == "brokers" {
		return "its name is servers"
	}
	return ""
}

func TestAHintIsGivenInPlaceOfAGuess(t *testing.T) {
	spec, err := config.New(reflect.TypeFor[hinting](), nil)
	if err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string]string{
		"brokers": "unknown field: its name is servers",
		"servres": `unknown field; did you mean "servers"?`,
	} {
		faults, _ := spec.Decode([]byte(`{"`+field+`": "x"}`), nil, new(hinting))
		if len(faults) != 1 || faults[0].Path != field || faults[0].Message != want {
			t.Errorf("%s: %v", field, faults)
		}
	}
}
