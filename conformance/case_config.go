package conformance

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/conformance/rig"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

var configCases = []Case{
	{
		ID: "WC-CFG-001", Title: "every declared constraint is enforced", Unconfigured: true,
		Demands: "For every constraint in the manifest (required, type, allowed values, least and most, pattern, fields that exclude each other, unknown fields; also in objects, lists and maps) a configuration that breaks it gets a fault from Validate, at the field or below it, or above it with the field's name in the message.",
		Why:     "The manifest is a promise about what a component takes. Whoever asks the plugin alone, and not through a pipeline file, relies on it too.",
		Fix:     "Check the configuration against the parameters that Describe returns; both from one description. The Go SDK does it for struct tags.",
		run: func(t *T) {
			p := t.Start()
			for _, v := range violations(t.Component.GetParameters(), t.base()) {
				faults := t.validate(p, v.Config)
				if !v.told(faults) {
					t.Logf("configuration: %s", v.Config)
					t.Fatalf("%s is accepted: Validate gave no fault at %q, but %s", v.What, v.Path, faultList(faults))
				}
			}
		},
	},
	{
		ID: "WC-CFG-002", Title: "all faults are told at once", Unconfigured: true,
		Demands: "A configuration with a fault in each of several fields gets a fault for each of them from one Validate.",
		Why:     "A person mends the file once, and not as often as there are faults.",
		Fix:     "Gather faults instead of returning the first.",
		run: func(t *T) {
			// One violation for each parameter of the configuration, together.
			merged := make(map[string]any)
			if err := json.Unmarshal(t.base(), &merged); err != nil {
				t.Fatalf("%v", err)
			}
			broken := make(map[string]violation)
			for _, v := range violations(t.Component.GetParameters(), t.base()) {
				if _, ok := broken[v.Top]; ok || v.Top == "" || v.Several {
					continue
				}
				var one map[string]any
				if json.Unmarshal(v.Config, &one) != nil || one[v.Top] == nil {
					continue
				}
				merged[v.Top] = one[v.Top]
				broken[v.Top] = v
			}
			if len(broken) < 2 {
				merged[unknownField] = true
				broken[unknownField] = violation{What: "an unknown field", Path: unknownField}
			}
			config, err := json.Marshal(merged)
			if err != nil {
				t.Fatalf("%v", err)
			}
			faults := t.validate(t.Start(), config)
			for _, name := range slices.Sorted(maps.Keys(broken)) {
				v := broken[name]
				if !v.told(faults) {
					t.Logf("configuration: %s", config)
					t.Fatalf("of %d faulty fields %q (%s) is not among the faults: %s", len(broken), name, v.What, faultList(faults))
				}
			}
		},
	},
	{
		ID: "WC-CFG-003", Title: "a fault says what is wrong, in one line",
		Unconfigured: true,
		Demands:      "Each fault has a message of one line that is not empty.",
		Why:          "The host prints it behind file, line and column: the message is all that a person has.",
		Fix:          "Say what is wrong and what is allowed.",
		run: func(t *T) {
			p := t.Start()
			for _, v := range violations(t.Component.GetParameters(), t.base()) {
				for _, f := range t.validate(p, v.Config) {
					if strings.TrimSpace(f.GetMessage()) == "" || strings.Contains(f.GetMessage(), "\n") {
						t.Fatalf("%s: the fault at %q has the message %q", v.What, f.GetPath(), f.GetMessage())
					}
				}
			}
		},
	},
	{
		ID: "WC-CFG-004", Title: "what is no configuration is refused and does no harm", Unconfigured: true,
		Demands: "Validate of bytes that are no JSON, or JSON that is no object, of a component that is not there, and of one of another kind gives a fault or an error, and the process goes on.",
		Why:     "A plugin that ends takes all tasks of its process with it.",
		Fix:     "Treat what does not parse as a fault at the path \"\".",
		run: func(t *T) {
			p := t.Start()
			for _, config := range []string{"", "{", "[]", "null", "7", `"x"`, "\xff\xfe"} {
				r, err := p.Client().Validate(t.ctx, t.validateRequest([]byte(config), nil))
				if err == nil && len(r.GetFaults()) == 0 && config != "null" && config != "" {
					t.Fatalf("the configuration %q is accepted", config)
				}
				t.alive(p, fmt.Sprintf("Validate of %q", config), err)
			}
			unknown := t.validateRequest(t.base(), nil)
			unknown.Component = "no-such-component"
			r, err := p.Client().Validate(t.ctx, unknown)
			if err == nil && len(r.GetFaults()) == 0 {
				t.Fatalf("a component that does not exist is accepted")
			}
			t.alive(p, "Validate of an unknown component", err)
		},
	},
	{
		ID: "WC-CFG-005", Title: "a sound configuration is accepted, each time",
		Demands: "Validate of the configuration in conformance.yaml gives no fault and the same answer each time, and leaves no capability that the manifest does not claim.",
		Why:     "The host takes what the configuration leaves to decide which guarantee a pipeline has.",
		Fix:     "A configuration takes claims away or adds restrictions (single_task, local, discards, fewer concurrent splits), never the other way round.",
		run: func(t *T) {
			p := t.Start()
			m := t.Member()
			request := t.validateRequest(m.Config, m.SecretPaths)
			first, err := p.Client().Validate(t.ctx, request)
			if err != nil {
				t.Fatalf("Validate: %v", err)
			}
			again, err := p.Client().Validate(t.ctx, request)
			if err != nil || !proto.Equal(first, again) {
				t.Fatalf("Validate answered {%v}, and again {%v} (%v)", first, again, err)
			}
			have, left := t.Component.GetCapabilities(), first.GetCapabilities()
			for _, c := range []struct {
				name       string
				have, left bool
			}{
				{"bounded", have.GetBounded(), left.GetBounded()},
				{"replayable", have.GetReplayable(), left.GetReplayable()},
				{"exactly_once", have.GetExactlyOnce(), left.GetExactlyOnce()},
				{"retract", have.GetRetract(), left.GetRetract()},
				{"preserves_order", have.GetPreservesOrder(), left.GetPreservesOrder()},
				{"preserves_key", have.GetPreservesKey(), left.GetPreservesKey()},
			} {
				if c.left && !c.have {
					t.Fatalf("the configuration claims %s, which the manifest does not", c.name)
				}
			}
			if have.GetSingleTask() && left != nil && !left.GetSingleTask() {
				t.Fatalf("the configuration takes the restriction single_task away")
			}
		},
	},
	{
		ID: "WC-CFG-006", Title: "a secret is never told", Unconfigured: true,
		Demands: "Neither the faults of Validate, nor the error of a task that cannot open, nor any line of a log holds the value of a parameter that the manifest calls secret, or that the request lists as secret; at log level debug too.",
		Why:     "Faults are printed, logs are kept and shipped, statuses are shown to people who may not know the secret.",
		Fix:     "Leave the value out of messages: say what is wrong with it. Do not log whole configurations or requests.",
		Needs: func(t *Target) Missing {
			if len(secretPaths(t.Component.GetParameters(), "")) == 0 {
				return notClaimed("no parameter of the component is secret")
			}
			return ""
		},
		run: func(t *T) { t.secretsAreKept() },
	},
	{
		ID: "WC-CFG-007", Title: "a refused configuration opens no task",
		Demands: "A task whose configuration Validate refuses does not open: it fails with class FATAL, within the time that opening has.",
		Why:     "A component that runs on half a configuration does something that nobody asked for.",
		Fix:     "Check the configuration when a task opens as Validate does, and answer Failed with CLASS_FATAL and the fault.",
		run: func(t *T) {
			p := t.Start()
			all := violations(t.Component.GetParameters(), t.base())
			m := t.Member()
			m.Config = all[0].Config
			open := t.Open(1, 1, nil)
			open.Chain = []*pluginv1.Member{m}
			s := p.Prepare(open)
			err := s.Failure(20 * time.Second)
			if err == nil {
				t.Logf("configuration: %s", m.Config)
				t.Fatalf("%s: a task opened all the same, or did not answer", all[0].What)
			}
			if class, ok := rig.Class(err); !ok || class != pluginv1.Error_CLASS_FATAL {
				t.Fatalf("%s: the task failed as %v, not CLASS_FATAL: %v", all[0].What, class, err)
			}
			t.alive(p, "opening a task with a configuration that is refused", nil)
		},
	},
}

// base is a sound configuration to break, or an empty one where there is none.
func (t *T) base() []byte {
	if t.entry == nil {
		return []byte("{}")
	}
	return t.Member().Config
}

func (t *T) validateRequest(config []byte, secrets []string) *pluginv1.ValidateRequest {
	return &pluginv1.ValidateRequest{Kind: t.Component.GetKind(), Component: t.Component.GetName(), Config: config, SecretPaths: secrets}
}

func (t *T) validate(p *rig.Plugin, config []byte) []*pluginv1.Fault {
	r, err := p.Client().Validate(t.ctx, t.validateRequest(config, nil))
	if err != nil {
		t.Logf("configuration: %s", config)
		t.Fatalf("Validate failed: %v", err)
	}
	return r.GetFaults()
}

// alive fails the case where a call has broken the process or was not served.
func (t *T) alive(p *rig.Plugin, after string, err error) {
	if c := status.Code(err); err != nil && (c == codes.Unavailable || c == codes.DeadlineExceeded || c == codes.Unimplemented) {
		p.Ended()
		t.Fatalf("%s: %v", after, err)
	}
	if _, err := p.Client().Describe(t.ctx, &pluginv1.DescribeRequest{}); err != nil {
		p.Ended()
		t.Fatalf("after %s the process does not answer any more: %v", after, err)
	}
}

// about says whether a fault is about a field: at it, below it, or above it where
// its message names it.
func about(f *pluginv1.Fault, path string) bool {
	within := func(p, above string) bool {
		rest, ok := strings.CutPrefix(p, above)
		return ok && (rest == "" || above == "" || rest[0] == '.' || rest[0] == '[')
	}
	last := path[strings.LastIndexAny(path, ".]")+1:]
	return within(f.GetPath(), path) || within(path, f.GetPath()) && (last == "" || strings.Contains(f.GetMessage(), last))
}

func faultList(faults []*pluginv1.Fault) string {
	if len(faults) == 0 {
		return "none at all"
	}
	var out []string
	for _, f := range faults {
		out = append(out, fmt.Sprintf("%q: %s", f.GetPath(), f.GetMessage()))
	}
	return strings.Join(out, "; ")
}

// secretPaths are the paths of the secret parameters that are text.
func secretPaths(params []*pluginv1.Parameter, prefix string) (out []string) {
	for _, p := range params {
		path := join(prefix, p.GetName())
		if p.GetSecret() && p.GetType() == pluginv1.Parameter_TYPE_STRING {
			out = append(out, path)
		}
		if p.GetType() == pluginv1.Parameter_TYPE_OBJECT {
			out = append(out, secretPaths(p.GetFields(), path)...)
		}
	}
	return out
}

// secretsAreKept gives every secret parameter a value that is told apart from
// everything else, together with faults elsewhere, and looks for it.
func (t *T) secretsAreKept() {
	p := t.Start()
	paths := secretPaths(t.Component.GetParameters(), "")
	var config map[string]any
	if err := json.Unmarshal(t.base(), &config); err != nil {
		t.Fatalf("%v", err)
	}
	marks := make(map[string]string)
	for i, path := range paths {
		marks[path] = fmt.Sprintf("s3cr3t-%d-%x", i, t.Rand.Uint64())
		setPath(config, path, marks[path])
	}
	look := func(where, text string) {
		for path, mark := range marks {
			if strings.Contains(text, mark) {
				t.Fatalf("the secret %q is told in %s: %s", path, where, strings.ReplaceAll(text, mark, "<the secret>"))
			}
		}
	}
	sound, err := json.Marshal(config)
	if err != nil {
		t.Fatalf("%v", err)
	}
	tries := [][]byte{sound}
	for _, v := range violations(t.Component.GetParameters(), sound) {
		if !slices.Contains(paths, v.Path) {
			tries = append(tries, v.Config)
		}
	}
	for _, try := range tries {
		r, err := p.Client().Validate(t.ctx, t.validateRequest(try, paths))
		if err != nil {
			look("the error of Validate", err.Error())
		}
		for _, f := range r.GetFaults() {
			look("a fault", f.GetPath()+": "+f.GetMessage())
		}
	}
	if _, err := p.Client().Probe(t.ctx, &pluginv1.ProbeRequest{
		Kind: t.Component.GetKind(), Component: t.Component.GetName(), Config: sound, SecretPaths: paths, Owner: &pluginv1.Owner{Uid: t.uid, Node: Node},
	}); err != nil {
		look("the error of Probe", err.Error())
	}
	if t.entry != nil {
		// It may open or not; what counts is what is said meanwhile.
		m := t.Member()
		m.Config, m.SecretPaths = sound, paths
		open := t.Open(1, 1, nil)
		open.Chain = []*pluginv1.Member{m}
		if err := p.Prepare(open).Failure(2 * time.Second); err != nil {
			look("the error of a task", err.Error())
		}
	}
	p.StopWithin(stopTime)
	for _, l := range p.Logs.Lines() {
		look("the log", l.Text)
	}
}

// setPath sets a value in nested objects, which are made where they are missing.
func setPath(object map[string]any, path string, value any) {
	head, rest, nested := strings.Cut(path, ".")
	if !nested {
		object[head] = value
		return
	}
	inner, ok := object[head].(map[string]any)
	if !ok {
		inner = make(map[string]any)
		object[head] = inner
	}
	setPath(inner, rest, value)
}
