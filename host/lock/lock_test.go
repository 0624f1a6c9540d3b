package lock_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/weirstream/weir/host/lock"
)

func TestWhatIsWrittenIsRead(t *testing.T) {
	dir := t.TempDir()
	if f, err := lock.Read(dir); f != nil || err != nil {
		t.Fatalf("of no file: %v, %v", f, err)
	}
	// A sum or a version that looks like a number stays what it is.
	digits := strings.Repeat("12345678", 8)
	f := &lock.File{}
	f.Pin("acme", "1.10", "linux/amd64", digits)
	f.Pin("acme", "1.10", "darwin/arm64", strings.Repeat("a", 64))
	f.Pin("zeta", `odd "version": #1`, lock.Platform(), fmt.Sprintf("%064d", 0))
	if err := f.Write(dir); err != nil {
		t.Fatal(err)
	}
	back, err := lock.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back, f) {
		t.Errorf("read %+v, wrote %+v", back, f)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestANewVersionForgetsOtherPlatforms(t *testing.T) {
	f := &lock.File{}
	f.Pin("acme", "1", "linux/amd64", strings.Repeat("a", 64))
	f.Pin("acme", "1", "linux/arm64", strings.Repeat("b", 64))
	f.Pin("acme", "2", "linux/amd64", strings.Repeat("c", 64))
	want := lock.Plugin{Version: "2", SHA256: map[string]string{"linux/amd64": strings.Repeat("c", 64)}}
	if got := f.Plugins["acme"]; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestAFileThatCannotBeReadSaysWhy(t *testing.T) {
	for text, want := range map[string]string{
		"plugins: {}":            "is of version 0, this weir knows version 1",
		"version: 2":             "is of version 2, this weir knows version 1",
		"version: [":             "[1:10]",
		"version: 1\nplugin: {}": `unknown field "plugin"`,
		"version: 1\nplugins: {a: {sha256: {linux/amd64: 12}}}": "plugins.a.sha256.linux/amd64: must be 64 hexadecimal digits in lower case, in quotes",
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, lock.Name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := lock.Read(dir)
		var broken *lock.Error
		if !errors.As(err, &broken) || broken.Path != path || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
