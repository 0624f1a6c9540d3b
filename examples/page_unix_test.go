//go:build unix

package examples_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// doPage does what a page says, in dir and in one shell: files are written, commands
// run, and what it shows has to be what they print. A fence names what a block is:
// "sh" is run; "text" is how the output of the block before ends, with times and rates
// masked; "text live" are lines of it, in which numbers are masked too, and a word that
// has one need not be there; a block with the name of a file is written to it. It
// returns how many blocks were run.
func doPage(t *testing.T, page, dir, deadLetters string, env ...string) int {
	t.Helper()
	type shown struct {
		block
		after int // the block that prints it
	}
	var expected []shown
	script, scripts := new(strings.Builder), 0
	for _, b := range blocksOf(t, page) {
		switch {
		case b.language == "sh":
			scripts++
			fmt.Fprintf(script, "%s\nprintf '\\001'\n", b.text)
		case b.language == "text":
			expected = append(expected, shown{b, scripts})
		case b.file != "":
			fmt.Fprintf(script, "cat > %s <<'END OF FILE'\n%sEND OF FILE\n", b.file, b.text)
		default:
			t.Errorf("a block of %s without a file", b.language)
		}
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", script.String())
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(weir)+string(os.PathListSeparator)+os.Getenv("PATH"),
		"XDG_STATE_HOME="+filepath.Join(dir, ".state"), "XDG_DATA_HOME="+filepath.Join(dir, ".data"))
	cmd.Env = append(cmd.Env, env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	// What a page leaves running ends with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err := cmd.Run()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	printed := strings.Split(stdout.String(), "\001")
	if err != nil {
		t.Fatalf("%v after %d blocks of %s, in the one that printed\n%s\n%s", err, len(printed)-1, page, printed[len(printed)-1], &stderr)
	}
	for _, s := range expected {
		got := printed[s.after-1]
		if s.file == "live" {
			has := lineSet(got)
			for line := range lineSet(s.text) {
				if !has[line] {
					t.Errorf("%s shows a line\n%s\nand there is none in\n%s", page, line, got)
				}
			}
		} else if got, want := masked(got, deadLetters), masked(s.text, deadLetters); !strings.HasSuffix(got, want) {
			t.Errorf("%s shows\n%s\nand it is\n%s", page, want, got)
		}
	}
	return scripts
}

var (
	numbers  = regexp.MustCompile(`[\d.,:]*\d[\d.,:]*`)
	withNone = regexp.MustCompile(`─+|\(?\S*#\S*| [KM]i?B\b`)
)

// lineSet are the lines of a text that is live, without words that have numbers; of
// those with braces or brackets, which are records and tasks, the numbers alone go.
func lineSet(s string) map[string]bool {
	all := map[string]bool{}
	for line := range strings.Lines(s) {
		line = numbers.ReplaceAllString(line, "#")
		if !strings.ContainsAny(line, "{[") {
			line = withNone.ReplaceAllString(line, "")
		}
		all[strings.Join(strings.Fields(line), " ")] = true
	}
	return all
}
