package secret

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"testing"
)

func TestASecretIsHiddenWhereverItStands(t *testing.T) {
	var m Mask
	if got := m.Text("nothing is known yet"); got != "nothing is known yet" {
		t.Errorf("got %q", got)
	}
	m.Add("tok", "token-1", "token-12", "a\"b\\c", "", "-----BEGIN KEY-----\nMIIEvQIBADAN\nBgkq\n-----END KEY-----\n")
	for said, want := range map[string]string{
		"token-12 and token-1":        "[secret] and [secret]", // not "[secret]2"
		"a short tok is not hidden":   "a short tok is not hidden",
		`the value "a\"b\\c"`:         `the value "[secret]"`,
		"x MIIEvQIBADAN x":            "x [secret] x",
		"-----BEGIN KEY-----, no key": "-----BEGIN KEY-----, no key",
	} {
		if got := m.Text(said); got != want {
			t.Errorf("%q became %q, want %q", said, got, want)
		}
	}
}

func TestAnErrorStaysWhatItIs(t *testing.T) {
	var m Mask
	m.Add("hunter22")
	err := m.Error(fmt.Errorf("open hunter22: %w", fs.ErrNotExist))
	if err.Error() != "open [secret]: file does not exist" || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if plain := errors.New("no"); m.Error(plain) != plain || m.Error(nil) != nil {
		t.Error("an error without a secret is another")
	}
}

func TestALogTellsNoSecret(t *testing.T) {
	var m Mask
	var out bytes.Buffer
	log := slog.New(m.Handler(slog.NewJSONHandler(&out, nil)))
	m.Add("hunter22")
	log.With("who", "hunter22").WithGroup("g").Info("hunter22 logs in", "text", "is hunter22",
		"error", errors.New("hunter22"), slog.Group("inner", "x", "hunter22"), "list", []string{"hunter22"}, "n", 7)
	if said := out.String(); strings.Contains(said, "hunter22") || !strings.Contains(said, `"n":7`) {
		t.Errorf("the log holds %s", said)
	}
}
