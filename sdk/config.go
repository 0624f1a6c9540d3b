package sdk

import (
	"cmp"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// FieldError is one thing wrong with a configuration.
type FieldError struct {
	// Field is a dotted path, list elements by index: "set.host",
	// "servers[2].port". Empty means the configuration as a whole.
	Field string
	// Message says what is wrong and what is allowed, in one sentence.
	Message string
	// Column is the place inside the field's string value (an expression), in
	// bytes from 1; 0 where it is not about a place.
	Column int
	// Warning: the pipeline may run all the same.
	Warning bool
	// Code is stable, for programs; it may be empty.
	Code string

	absolute bool // Field counts from the configuration's root
}

// Error returns field and message.
func (e FieldError) Error() string {
	if e.Field == "" {
		return e.Message
	}
	return e.Field + ": " + e.Message
}

// Faultf returns a FieldError.
func Faultf(field, format string, args ...any) FieldError {
	return FieldError{Field: field, Message: fmt.Sprintf(format, args...)}
}

// Warnf returns a FieldError that does not keep a pipeline from running.
func Warnf(field, format string, args ...any) FieldError {
	e := Faultf(field, format, args...)
	e.Warning = true
	return e
}

// proto returns e as a fault; at is the path of the struct that it is relative to.
func (e FieldError) proto(at string) *pluginv1.Fault {
	path := e.Field
	switch {
	case e.absolute || at == "":
	case path == "":
		path = at
	default:
		path = at + "." + path
	}
	return &pluginv1.Fault{
		Path: path, Message: e.Message, Offset: int32(e.Column) - 1, Warning: e.Warning, Code: e.Code,
	}
}

// configError is a configuration's faults as one error.
func configError(faults []*pluginv1.Fault) error {
	var lines []string
	for _, f := range faults {
		if !f.Warning {
			lines = append(lines, FieldError{Field: f.Path, Message: f.Message}.Error())
		}
	}
	if len(lines) == 0 {
		return nil
	}
	return Fatal(fmt.Errorf("configuration: %s", strings.Join(lines, "; ")))
}

// secrets are values that no message may repeat.
type secrets []string

// minMasked is the length from which a secret is looked for in messages: shorter
// ones would hide every other word.
const minMasked = 4

func (s secrets) mask(text string) string {
	for _, secret := range s {
		text = strings.ReplaceAll(text, secret, masked)
	}
	return text
}

// in masks an error's text and keeps its class.
func (s secrets) in(err error) error {
	if err == nil || len(s) == 0 {
		return err
	}
	text := err.Error()
	if clean := s.mask(text); clean != text {
		return &maskedError{clean, err}
	}
	return err
}

type maskedError struct {
	text string
	err  error
}

func (e *maskedError) Error() string { return e.text }
func (e *maskedError) Unwrap() error { return e.err }

// minPart is the length from which a word inside a secret text is hidden too. The
// secret itself may be a word of it: "Bearer ...", an expression with a constant.
const minPart = 8

var word = regexp.MustCompile(`[A-Za-z0-9_+/=.~-]+`)

// secretsOf returns those worth looking for, long ones first: a short one may be
// part of a longer.
func secretsOf(found []string) secrets {
	for name := range strings.SplitSeq(os.Getenv(wire.EnvSecrets), ",") {
		if value := os.Getenv(name); value != "" {
			found = append(found, value)
		}
	}
	for _, s := range found {
		quoted := strconv.Quote(s)
		found = append(found, quoted[1:len(quoted)-1])
		for _, part := range word.FindAllString(s, -1) {
			if len(part) >= minPart && len(part) < len(s) {
				found = append(found, part)
			}
		}
	}
	found = slices.DeleteFunc(found, func(s string) bool { return len(s) < minMasked })
	slices.SortFunc(found, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	return slices.Compact(found)
}
