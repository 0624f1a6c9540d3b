package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"
)

// docs/cli.md is made from the commands: go test -update writes it anew.
func TestTheCommandsAreDocumented(t *testing.T) {
	var b bytes.Buffer
	b.WriteString("# Commands\n\nThis page is made from the commands: `go test ./cmd/weir -run Documented -update`.\n" +
		"`weir completion SHELL` prints what lets bash, zsh, fish or PowerShell complete them.\n")
	root := newRoot()
	for _, cmd := range below(root) {
		if err := document(&b, cmd); err != nil {
			t.Fatal(err)
		}
	}
	page := filepath.Join("..", "..", "docs", "cli.md")
	if *update {
		if err := os.WriteFile(page, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, b.Bytes()) {
		t.Error("docs/cli.md is not what the commands say: go test ./cmd/weir -run Documented -update")
	}
}

// below lists a command and all below it.
func below(cmd *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{cmd}
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() && c.Name() != "help" {
			all = append(all, below(c)...)
		}
	}
	return all
}

// document writes a command's section.
func document(b *bytes.Buffer, cmd *cobra.Command) error {
	cmd.DisableAutoGenTag = true
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Name == "state-dir" { // depends on the user
			f.DefValue = "~/.local/state/weir"
		}
	})
	var section bytes.Buffer
	if err := doc.GenMarkdownCustom(cmd, &section, func(file string) string { return file }); err != nil {
		return err
	}
	text, _, _ := strings.Cut(section.String(), "### SEE ALSO")
	text = strings.ReplaceAll(text, "### Synopsis\n\n", "")
	b.WriteString("\n" + strings.TrimSpace(text) + "\n")
	return nil
}

func TestNamesOfPipelinesAreCompleted(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"orders", "other", "clicks"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "weir.db"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"status", "--state-dir", dir, "o"}, "orders\nother\n:4\n"},
		{[]string{"checkpoint", "show", "--state-dir", dir, "c"}, "clicks\n:4\n"},
		{[]string{"stop", "--state-dir", dir, "orders", ""}, ":4\n"},
	} {
		var out, errOut bytes.Buffer
		if code := run(t.Context(), append([]string{cobra.ShellCompRequestCmd}, c.args...), nil, &out, &errOut); code != 0 || out.String() != c.want {
			t.Errorf("%q: %d %q %s", c.args, code, out.String(), errOut.String())
		}
	}
}
