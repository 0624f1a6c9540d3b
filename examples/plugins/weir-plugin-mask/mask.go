package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"unicode/utf8"

	"github.com/weirstream/weir/sdk"
)

// maskConfig is what a pipeline file may set.
type maskConfig struct {
	Patterns []string   `weir:"patterns,required" doc:"Regular expressions (RE2): what they match is hidden."`
	With     string     `weir:"with" default:"*" pattern:"." doc:"The character that stands for each hidden one."`
	Keep     int        `weir:"keep" min:"0" doc:"How many characters at the end of a match stay readable."`
	Key      sdk.Secret `weir:"key" doc:"Replaces each match by a pseudonym made with this key instead: equal matches stay equal."`
	Strict   bool       `weir:"strict" doc:"Fail a value that is not UTF-8, instead of passing it on."`
}

// Validate compiles the patterns, so that a pipeline file with a wrong one is
// refused before anything runs.
func (c *maskConfig) Validate() []sdk.FieldError {
	_, faults := c.compile()
	if c.Keep > 0 && !c.Key.IsZero() {
		faults = append(faults, sdk.Faultf("keep", "has no meaning beside key: a pseudonym keeps nothing"))
	}
	return faults
}

func (c *maskConfig) compile() ([]*regexp.Regexp, []sdk.FieldError) {
	var compiled []*regexp.Regexp
	var faults []sdk.FieldError
	for i, p := range c.Patterns {
		re, err := regexp.Compile(p)
		if err != nil {
			faults = append(faults, sdk.Faultf(fmt.Sprintf("patterns[%d]", i), "is no regular expression: %v", err))
			continue
		}
		compiled = append(compiled, re)
	}
	return compiled, faults
}

func maskComponent() sdk.Component {
	return sdk.NewOperator("mask", "Hides what regular expressions match in values.", openMask,
		sdk.PreservesOrder(), sdk.PreservesKey(),
		sdk.Description("Replaces each match by as many characters of `with`, or by a pseudonym."),
		sdk.Example("The last byte of IPv4 addresses stays readable",
			"patterns: ['\\b\\d{1,3}\\.\\d{1,3}\\.\\d{1,3}\\.']\nwith: x\n"),
		sdk.Example("Equal addresses keep equal pseudonyms",
			"patterns: ['[\\w.]+@[\\w.]+']\nkey: ${file:/run/secrets/mask}\n"))
}

// mask hides matches.
type mask struct {
	cfg      *maskConfig
	patterns []*regexp.Regexp
	masked   *sdk.Counter
}

func openMask(_ context.Context, cfg *maskConfig, t *sdk.Task) (*mask, error) {
	patterns, faults := cfg.compile()
	if len(faults) > 0 {
		return nil, sdk.Fatal(faults[0])
	}
	t.Log.Debug("masking", "patterns", len(patterns), "pseudonyms", !cfg.Key.IsZero())
	return &mask{
		cfg:      cfg,
		patterns: patterns,
		masked:   t.Metrics.Counter("masked", "Matches that were hidden.", ""),
	}, nil
}

var errNotUTF8 = errors.New("the value is not UTF-8")

func (m *mask) Process(_ context.Context, in *sdk.Batch, out *sdk.Collector) error {
	for r := range in.All() {
		value := r.Value()
		if m.cfg.Strict && !utf8.Valid(value) {
			out.Fail(r, errNotUTF8)
			continue
		}
		for _, p := range m.patterns {
			value = m.replace(p, value)
		}
		out.Emit(r, value)
	}
	return nil
}

func (m *mask) Close() error { return nil }

// replace returns value with every match of p hidden: value itself where there is
// none.
func (m *mask) replace(p *regexp.Regexp, value []byte) []byte {
	matches := p.FindAllIndex(value, -1)
	if matches == nil {
		return value
	}
	m.masked.Add(float64(len(matches)))
	var hidden []byte
	end := 0
	for _, match := range matches {
		hidden = append(hidden, value[end:match[0]]...)
		hidden = m.hide(hidden, value[match[0]:match[1]])
		end = match[1]
	}
	return append(hidden, value[end:]...)
}

// hide appends what stands for a match.
func (m *mask) hide(dst, match []byte) []byte {
	if !m.cfg.Key.IsZero() {
		mac := hmac.New(sha256.New, []byte(m.cfg.Key.Reveal()))
		mac.Write(match)
		return hex.AppendEncode(dst, mac.Sum(nil)[:8])
	}
	hidden := utf8.RuneCount(match) - m.cfg.Keep
	for len(match) > 0 && hidden > 0 {
		_, size := utf8.DecodeRune(match)
		match = match[size:]
		dst = append(dst, m.cfg.With...)
		hidden--
	}
	return append(dst, match...)
}
