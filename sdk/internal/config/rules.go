package config

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// rules are what a scalar's value must keep beyond its type.
type rules struct {
	enum             []string
	min, max         reflect.Value // invalid: unbounded
	minText, maxText string
	pattern          *regexp.Regexp
	patternText      string
}

// setRules reads the tags enum, min, max and pattern. Those of a list or map hold
// for its elements.
func (v *value) setRules(tag reflect.StructTag) error {
	r := &v.rules
	var hasMin, hasMax bool
	if text, ok := tag.Lookup("enum"); ok {
		for e := range strings.SplitSeq(text, ",") {
			r.enum = append(r.enum, strings.TrimSpace(e))
		}
	}
	r.minText, hasMin = tag.Lookup("min")
	r.maxText, hasMax = tag.Lookup("max")
	r.patternText = tag.Get("pattern")

	if (len(r.enum) > 0 || r.patternText != "") && v.goType.Kind() != reflect.String {
		return errors.New("enum and pattern are for strings")
	}
	if (hasMin || hasMax) && !v.ordered() {
		return fmt.Errorf("min and max are for numbers, sizes and durations, not %s", v.goType)
	}
	var err error
	if hasMin {
		if r.min, err = v.bound("min", r.minText); err != nil {
			return err
		}
	}
	if hasMax {
		if r.max, err = v.bound("max", r.maxText); err != nil {
			return err
		}
	}
	if r.min.IsValid() && r.max.IsValid() && compare(r.min, r.max) > 0 {
		return fmt.Errorf("min %s is above max %s", r.minText, r.maxText)
	}
	if r.patternText != "" {
		if r.pattern, err = regexp.Compile(`^(?:` + r.patternText + `)$`); err != nil {
			return fmt.Errorf("pattern: %w", err)
		}
	}
	return nil
}

func (v *value) ordered() bool {
	switch v.typ {
	case pluginv1.Parameter_TYPE_INT, pluginv1.Parameter_TYPE_FLOAT,
		pluginv1.Parameter_TYPE_DURATION, pluginv1.Parameter_TYPE_BYTES:
		return true
	}
	return false
}

func (v *value) bound(name, text string) (reflect.Value, error) {
	b := reflect.New(v.goType).Elem()
	if err := v.scalar.Set(b, v.literal(text), ""); err != nil {
		return b, fmt.Errorf("%s: expected %s, got %q", name, v.scalar.Expect, text)
	}
	return b, nil
}

// compare compares two numbers of one type.
func compare(a, b reflect.Value) int {
	var less, more bool
	switch {
	case a.CanInt():
		less, more = a.Int() < b.Int(), a.Int() > b.Int()
	case a.CanUint():
		less, more = a.Uint() < b.Uint(), a.Uint() > b.Uint()
	default:
		less, more = a.Float() < b.Float(), a.Float() > b.Float() || math.IsNaN(a.Float())
	}
	switch {
	case less:
		return -1
	case more:
		return 1
	}
	return 0
}

// check returns what is wrong with a decoded value, and its code. got says the
// value, or nothing where it is secret.
func (r *rules) check(v reflect.Value, got string) (message, code string) {
	switch {
	case len(r.enum) > 0 && !slices.Contains(r.enum, v.String()):
		m := "must be one of " + quoteAll(r.enum)
		if got != "" {
			m += got + didYouMean(v.String(), r.enum)
		}
		return m, CodeEnum
	case r.pattern != nil && !r.pattern.MatchString(v.String()):
		return fmt.Sprintf("must match %s%s", r.patternText, got), CodePattern
	case r.min.IsValid() && compare(v, r.min) < 0:
		return r.span() + got, CodeRange
	case r.max.IsValid() && compare(v, r.max) > 0:
		return r.span() + got, CodeRange
	}
	return "", ""
}

func (r *rules) span() string {
	switch {
	case !r.max.IsValid():
		return "must be at least " + r.minText
	case !r.min.IsValid():
		return "must be at most " + r.maxText
	}
	return fmt.Sprintf("must be between %s and %s", r.minText, r.maxText)
}
