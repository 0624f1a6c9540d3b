package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/weirstream/weir/sdk"
)

// leakName is the name of a program on the tests' PATH: somebody else's plugin, which
// repeats what it was told wherever it can.
const leakName = "leak"

type leakConfig struct {
	Word     string     `weir:"word" doc:"Any text."`
	Bearer   string     `weir:"bearer" doc:"Any text."`
	Token    string     `weir:"token" doc:"Any text."`
	Password sdk.Secret `weir:"password" doc:"A secret."`
	How      string     `weir:"how" default:"records" enum:"records,error,panic,open,exit,validate,probe" doc:"How it tells."`
}

func (c *leakConfig) told() string {
	return fmt.Sprintf("word %s and %q, bearer %s, token %s, password %s, environment %s",
		c.Word, c.Word, c.Bearer, c.Token, c.Password.Reveal(), os.Getenv("LEAK_ENVIRONMENT"))
}

// Validate implements [sdk.Validator].
func (c *leakConfig) Validate() []sdk.FieldError {
	if c.How == "validate" {
		return []sdk.FieldError{sdk.Faultf("word", "refused: %s", c.told())}
	}
	return nil
}

// Probe implements [sdk.Prober].
func (c *leakConfig) Probe(context.Context, sdk.Probe) []sdk.FieldError {
	if c.How == "probe" {
		return []sdk.FieldError{sdk.Faultf("word", "not reached: %s", c.told())}
	}
	return nil
}

type leak struct{ cfg *leakConfig }

func openLeak(_ context.Context, cfg *leakConfig, t *sdk.Task) (leak, error) {
	fmt.Fprintln(os.Stderr, "[WARN] to standard error:", cfg.told())
	fmt.Println("to standard output:", cfg.told())
	t.Log.Warn("in the log: "+cfg.told(), "attribute", cfg.told(), "config", cfg)
	t.Metrics.Gauge("leak_told", "Help that tells "+cfg.told(), "", "told", cfg.told()).Set(1)
	if cfg.How == "open" {
		return leak{}, errors.New(cfg.told())
	}
	return leak{cfg}, nil
}

func (l leak) Process(_ context.Context, in *sdk.Batch, out *sdk.Collector) error {
	switch l.cfg.How {
	case "error":
		return errors.New(l.cfg.told())
	case "panic":
		panic(l.cfg.told())
	case "exit":
		fmt.Fprintln(os.Stderr, "[ERROR] the last words:", l.cfg.told())
		os.Exit(3)
	}
	for r := range in.All() {
		if _, ordinal := r.Origin(); ordinal%2 == 0 {
			out.Fail(r, errors.New(l.cfg.told()))
			continue
		}
		out.Forward(r)
	}
	return nil
}

func (leak) Close() error { return nil }

func serveLeak() {
	sdk.Serve(sdk.Plugin{Name: "leak", Version: "1.0.0"},
		sdk.NewOperator("tell", "Tells what it was told.", openLeak, sdk.PreservesOrder(), sdk.PreservesKey()))
}
