package expression

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/expr-lang/expr/builtin"
)

var (
	// token is how the compiler writes a token that it did not expect.
	token = regexp.MustCompile(`unexpected token \w+\("(.*)"\)`)
	// result is how it says that a condition is of another type.
	result = regexp.MustCompile(`^expected bool, but got (.*)$`)
)

// Plain puts what the compiler says into words for someone who has not read its
// source. variables are the names that the expression may use.
func Plain(message string, variables []string) string {
	if name, ok := strings.CutPrefix(message, "unknown name "); ok {
		return fmt.Sprintf("there is no variable or function %q%s", name, meant(name, variables))
	}
	if message == `unexpected token Operator("=")` {
		return `unexpected "=": two values are compared by ==`
	}
	message = result.ReplaceAllString(message, "a condition is true or false, this is of type $1")
	message = strings.Replace(message, "unexpected token EOF", "the expression ends too early", 1)
	return token.ReplaceAllString(message, `unexpected "$1"`)
}

// meant is a hint at the variable or function that a name was probably meant to
// be; where there is none near, it lists the variables.
func meant(name string, variables []string) string {
	if hint := Nearest(name, slices.Concat(variables, builtin.Names)); hint != "" {
		return hint
	}
	return "; the variables are " + strings.Join(variables, ", ")
}

// Nearest is a hint at the one of the known names that a name was probably meant to
// be, empty where none is near.
func Nearest(name string, known []string) string {
	best, least := "", 1+max(1, len(name)/3)
	for _, k := range known {
		if d := levenshtein.Distance(strings.ToLower(name), strings.ToLower(k), nil); d < least && d < len(k) {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}
