package sdk

import (
	"context"
	"fmt"
	"slices"
	"strings"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/sdk/internal/config"
)

// settings decodes and checks one component's configuration.
type settings[Cfg any] struct {
	spec    *config.Spec
	claims  Capabilities
	outputs []*pluginv1.Output // declared, beside those of the configuration
}

// decode decodes a configuration and asks its Validators.
func (s *settings[Cfg]) decode(raw []byte, secretPaths []string) (*Cfg, []*pluginv1.Fault, secrets) {
	cfg := new(Cfg)
	faults, found := s.spec.Decode(raw, secretPaths, cfg)
	hidden := secretsOf(found)
	s.spec.Visit(cfg, faults, func(path string, structure any) {
		if v, ok := structure.(Validator); ok {
			faults = append(faults, hidden.protos(path, v.Validate())...)
		}
	})
	return cfg, faults, hidden
}

// open decodes a configuration for an instance. claims are what it leaves.
func (s *settings[Cfg]) open(raw []byte, secretPaths []string) (*Cfg, Capabilities, secrets, error) {
	cfg, faults, hidden := s.decode(raw, secretPaths)
	if err := configError(faults); err != nil {
		return nil, Capabilities{}, nil, err
	}
	claims, err := s.claimed(cfg)
	return cfg, claims, hidden, err
}

func (s *settings[Cfg]) validate(raw []byte, secretPaths []string) *pluginv1.ValidateResponse {
	cfg, faults, _ := s.decode(raw, secretPaths)
	r := &pluginv1.ValidateResponse{Faults: faults}
	if !sound(faults) {
		return r
	}
	claims, err := s.claimed(cfg)
	if err != nil {
		r.Faults = append(r.Faults, Faultf("", "%v", err).proto(""))
		return r
	}
	r.Capabilities = claims.proto()
	outputs, faults := s.dynamicOutputs(cfg)
	r.Outputs, r.Faults = outputs, append(r.Faults, faults...)
	return r
}

func (s *settings[Cfg]) probe(ctx context.Context, raw []byte, secretPaths []string, probe Probe) []*pluginv1.Fault {
	cfg, faults, hidden := s.decode(raw, secretPaths)
	if p, ok := any(cfg).(Prober); ok && sound(faults) {
		faults = append(faults, hidden.protos("", p.Probe(ctx, probe))...)
	}
	return faults
}

// claimed returns what a configuration leaves of the component's claims.
func (s *settings[Cfg]) claimed(cfg *Cfg) (Capabilities, error) {
	left := s.claims
	if c, ok := any(cfg).(Claimer); ok {
		c.Capabilities(&left)
	}
	if beyond := left.claimedBeyond(s.claims); len(beyond) > 0 {
		return s.claims, Fatal(fmt.Errorf("the configuration claims what the component does not: %s",
			strings.Join(beyond, ", ")))
	}
	return left, nil
}

// dynamicOutputs returns the outputs that a configuration names.
func (s *settings[Cfg]) dynamicOutputs(cfg *Cfg) (outputs []*pluginv1.Output, faults []*pluginv1.Fault) {
	dynamic, ok := any(cfg).(DynamicOutputs)
	if !ok {
		return nil, nil
	}
	taken := map[string]bool{mainOutput: true, errorOutput: true}
	for _, o := range s.outputs {
		taken[o.Name] = true
	}
	for _, o := range dynamic.Outputs() {
		switch {
		case taken[o.Name]:
			faults = append(faults, Faultf("", "the output name %q is taken", o.Name).proto(""))
		case !portName.MatchString(o.Name):
			faults = append(faults, Faultf("",
				"the output name %q is not lower-case letters and digits joined by - or _", o.Name).proto(""))
		}
		taken[o.Name] = true
		outputs = append(outputs, &pluginv1.Output{Name: o.Name, Summary: o.Summary})
	}
	return outputs, faults
}

// protos returns an author's faults about the struct at path at.
func (s secrets) protos(at string, errs []FieldError) []*pluginv1.Fault {
	faults := make([]*pluginv1.Fault, len(errs))
	for i, e := range errs {
		e.Message = s.mask(e.Message)
		faults[i] = e.proto(at)
	}
	return faults
}

func sound(faults []*pluginv1.Fault) bool {
	return !slices.ContainsFunc(faults, func(f *pluginv1.Fault) bool { return !f.Warning })
}
