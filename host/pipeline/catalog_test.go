package pipeline_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/weirstream/weir/host/pipeline"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// fakeCatalog stands for installed plugins: the first-party one, acme, and some
// that cannot be used.
type fakeCatalog struct {
	manifests map[string]*pluginv1.Manifest
	errs      map[string]error
	// validate, if set, answers instead of the fake's own checks.
	validate func(p pipeline.Plugin, req *pluginv1.ValidateRequest) (*pluginv1.ValidateResponse, error)
	requests []*pluginv1.ValidateRequest
}

func (c *fakeCatalog) Manifest(_ context.Context, p pipeline.Plugin) (*pluginv1.Manifest, error) {
	if err := c.errs[p.Name]; err != nil {
		return nil, err
	}
	if m := c.manifests[p.Name]; m != nil {
		return m, nil
	}
	return nil, fmt.Errorf("looking for weir-plugin-%s: %w", p.Name, pipeline.ErrUnknownPlugin)
}

func (c *fakeCatalog) Installed(context.Context) []string { return []string{"acme", "broken"} }

func (c *fakeCatalog) Validate(_ context.Context, p pipeline.Plugin, req *pluginv1.ValidateRequest) (*pluginv1.ValidateResponse, error) {
	c.requests = append(c.requests, req)
	if c.validate != nil {
		return c.validate(p, req)
	}
	var config map[string]any
	if err := json.Unmarshal(req.Config, &config); err != nil {
		return nil, err
	}
	resp := &pluginv1.ValidateResponse{}
	for _, m := range c.manifests[p.Name].Components {
		if m.Kind == req.Kind && m.Name == req.Component {
			resp.Capabilities = m.Capabilities
		}
	}
	switch req.Component {
	case "route":
		outputs, _ := config["outputs"].(map[string]any)
		for name := range outputs {
			resp.Outputs = append(resp.Outputs, &pluginv1.Output{Name: name})
		}
	case "expr":
		_, rekeys := config["key"]
		resp.Capabilities = &pluginv1.Capabilities{PreservesOrder: true, PreservesKey: !rekeys, EventTime: true}
	case "file":
		path, _ := config["path"].(string)
		if req.Kind == pluginv1.Kind_KIND_SINK && !strings.HasSuffix(path, "/") {
			resp.Capabilities = &pluginv1.Capabilities{ExactlyOnce: true, Local: true, SingleTask: true}
		}
	}
	expressions("", config, resp)
	return resp, nil
}

// expressions finds a fault at every "@@" in a string, as a compiler of
// expressions would, and warns of every "!!".
func expressions(path string, v any, resp *pluginv1.ValidateResponse) {
	switch v := v.(type) {
	case map[string]any:
		for k, below := range v {
			at := k
			if path != "" {
				at = path + "." + k
			}
			expressions(at, below, resp)
		}
	case []any:
		for i, below := range v {
			expressions(fmt.Sprintf("%s[%d]", path, i), below, resp)
		}
	case string:
		if i := strings.Index(v, "@@"); i >= 0 {
			resp.Faults = append(resp.Faults, &pluginv1.Fault{Path: path, Message: "unexpected @@", Offset: int32(i), Code: "expr.syntax"})
		}
		if i := strings.Index(v, "!!"); i >= 0 {
			resp.Faults = append(resp.Faults, &pluginv1.Fault{Path: path, Message: "!! does nothing", Offset: int32(i), Warning: true})
		}
	}
}

const (
	typString   = pluginv1.Parameter_TYPE_STRING
	typInt      = pluginv1.Parameter_TYPE_INT
	typFloat    = pluginv1.Parameter_TYPE_FLOAT
	typBool     = pluginv1.Parameter_TYPE_BOOL
	typDuration = pluginv1.Parameter_TYPE_DURATION
	typBytes    = pluginv1.Parameter_TYPE_BYTES
	typObject   = pluginv1.Parameter_TYPE_OBJECT
	typList     = pluginv1.Parameter_TYPE_LIST
	typMap      = pluginv1.Parameter_TYPE_MAP
	typExpr     = pluginv1.Parameter_TYPE_EXPRESSION
	typEither   = pluginv1.Parameter_TYPE_CONSTANT_OR_EXPRESSION
	typAny      = pluginv1.Parameter_TYPE_ANY
)

type params = []*pluginv1.Parameter

func param(name string, t pluginv1.Parameter_Type) *pluginv1.Parameter {
	return &pluginv1.Parameter{Name: name, Type: t}
}

func source(name string, caps *pluginv1.Capabilities, p ...*pluginv1.Parameter) *pluginv1.Component {
	return &pluginv1.Component{Kind: pluginv1.Kind_KIND_SOURCE, Name: name, Version: "1", Capabilities: caps, Parameters: p}
}

func operator(name string, caps *pluginv1.Capabilities, p ...*pluginv1.Parameter) *pluginv1.Component {
	return &pluginv1.Component{Kind: pluginv1.Kind_KIND_OPERATOR, Name: name, Version: "1", Capabilities: caps, Parameters: p}
}

func sink(name string, caps *pluginv1.Capabilities, p ...*pluginv1.Parameter) *pluginv1.Component {
	return &pluginv1.Component{Kind: pluginv1.Kind_KIND_SINK, Name: name, Version: "1", Capabilities: caps, Parameters: p}
}

func required(p *pluginv1.Parameter) *pluginv1.Parameter { p.Required = true; return p }

func newCatalog() *fakeCatalog {
	format := param("format", typString)
	format.Enum = []string{"lines", "json", "csv"}
	rate := param("rate", typInt)
	rate.Min, rate.Max = "0", "1000000"
	roll := param("roll", typObject)
	rollSize, rollInterval := param("size", typBytes), param("interval", typDuration)
	rollSize.Min, rollInterval.Min, rollInterval.Max = "1KiB", "1s", "24h"
	roll.Fields = params{rollSize, rollInterval}
	set, headers, outputs := param("set", typMap), param("headers", typMap), param("outputs", typMap)
	set.Element, headers.Element, outputs.Element = typExpr, typEither, typExpr
	unset := param("unset", typList)
	unset.Element = typString
	join := operator("join", &pluginv1.Capabilities{KeyedState: true})
	join.Inputs = []*pluginv1.Port{{Name: "left"}, {Name: "right"}, {Name: "rules", Optional: true, Partition: pluginv1.Partition_PARTITION_BROADCAST}}
	zip := operator("zip", &pluginv1.Capabilities{})
	zip.Inputs = []*pluginv1.Port{{Name: "a"}, {Name: "b"}}
	window := operator("window", &pluginv1.Capabilities{KeyedState: true, DiskState: true}, required(param("size", typDuration)))
	window.Outputs = []*pluginv1.Output{{Name: "late"}}
	route := operator("route", &pluginv1.Capabilities{PreservesOrder: true, PreservesKey: true}, required(outputs), param("default", typString))
	route.DynamicOutputs = true
	follow := param("follow", typBool)

	weir := &pluginv1.Manifest{Name: "weir", Version: "1.0.0", Components: []*pluginv1.Component{
		source("file", &pluginv1.Capabilities{Bounded: true, Replayable: true}, required(param("path", typString)), format, follow),
		source("generator", &pluginv1.Capabilities{Bounded: true, Replayable: true}, param("count", typInt), rate, param("size", typBytes)),
		operator("expr", &pluginv1.Capabilities{PreservesOrder: true, PreservesKey: true, EventTime: true},
			param("filter", typExpr), param("key", typExpr), param("value", typExpr), set, unset, headers),
		window, join, zip, route,
		operator("event-time", &pluginv1.Capabilities{PreservesOrder: true, PreservesKey: true, EventTime: true}),
		sink("file", &pluginv1.Capabilities{ExactlyOnce: true, Retract: true, Local: true}, required(param("path", typString)), roll),
		sink("stdout", &pluginv1.Capabilities{SingleTask: true, Local: true}),
		sink("discard", &pluginv1.Capabilities{Discards: true}),
	}}
	return &fakeCatalog{
		manifests: map[string]*pluginv1.Manifest{"weir": weir, "acme": acmeManifest(), "lone": {Name: "lone", Components: []*pluginv1.Component{
			source("lone-socket", &pluginv1.Capabilities{}, param("port", typInt)),
		}}},
		errs: map[string]error{
			"broken": errors.New("/opt/weir-plugin-broken is no Weir plugin: it wrote \"hello\" where the handshake belongs"),
			"newer":  errors.New("it speaks protocol version 7, this weir speaks 1: use a newer weir"),
		},
	}
}

// acmeManifest has a component with a parameter of every type.
func acmeManifest() *pluginv1.Manifest {
	token, password, file := param("token", typString), param("password", typString), param("password_file", typString)
	token.Secret = true
	password.Secret, password.Xor, file.Xor = true, "auth", "auth"
	mode := param("mode", typString)
	mode.Enum = []string{"hash", "drop", "blank"}
	table := param("table", typString)
	table.Pattern = "[a-z_]+"
	ratio := param("ratio", typFloat)
	ratio.Min, ratio.Max = "0", "1"
	servers, labels, limits := param("servers", typList), param("labels", typMap), param("limits", typMap)
	port := param("port", typInt)
	port.Min, port.Max = "1", "65535"
	servers.Element, servers.Fields = typObject, params{required(param("host", typString)), port}
	labels.Element = typString
	limits.Element, limits.Fields = typObject, params{param("size", typBytes), param("wait", typDuration)}
	old := param("columns", typList)
	old.Element, old.Deprecated = typString, "use fields"
	mask := operator("mask", &pluginv1.Capabilities{PreservesOrder: true, PreservesKey: true}, token, password, file, mode, table, ratio, servers,
		labels, limits, old, param("strict", typBool), param("extra", typAny), param("free", typObject), param("shift", typInt), param("with", typEither))
	store := sink("store", &pluginv1.Capabilities{}, param("url", typString))
	timed := source("feed", &pluginv1.Capabilities{EventTime: true})
	login := sink("login", &pluginv1.Capabilities{}, required(param("user", typString)))
	for _, p := range []string{"password", "password_file"} {
		x := required(param(p, typString))
		x.Xor, x.Secret = "auth", p == "password"
		login.Parameters = append(login.Parameters, x)
	}
	return &pluginv1.Manifest{Name: "acme", Version: "0.3.0", Components: []*pluginv1.Component{mask, store, login, timed}}
}
