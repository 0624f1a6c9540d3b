package expression

import (
	"strings"
	"testing"
)

func TestCaseFunctionsGiveWhatTheStandardLibraryGives(t *testing.T) {
	for _, s := range []string{
		"", "a", "Hello, World 123!", strings.Repeat("abc DEF ", 40), strings.Repeat("x", 127) + "é",
		strings.Repeat("x", 128) + "É", "straße", "İstanbul", "\xff\xfe", "ǆ",
	} {
		upper, lower := asciiTable('a', 'z', 'A'), asciiTable('A', 'Z', 'a')
		if got, want := mapASCII(s, &upper, strings.ToUpper), strings.ToUpper(s); got != want {
			t.Errorf("upper(%q) = %q, want %q", s, got, want)
		}
		if got, want := mapASCII(s, &lower, strings.ToLower), strings.ToLower(s); got != want {
			t.Errorf("lower(%q) = %q, want %q", s, got, want)
		}
	}
}
