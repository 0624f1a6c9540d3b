//go:build linux

package process

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// file writes a file that a command can name.
func file(t *testing.T, name, content string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// foreign is this test binary with another processor in its ELF header.
func foreign(t *testing.T) string {
	t.Helper()
	self, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	const machineAt, s390x = 18, 22
	self[machineAt], self[machineAt+1] = s390x, 0
	return file(t, "foreign", string(self), 0o755)
}

func TestEachWayNotToStartHasItsOwnError(t *testing.T) {
	command := func(args ...string) Command { return Command{Name: "test", Args: args} }
	for _, c := range []struct {
		name   string
		cmd    Command
		reason error
		says   []string
	}{
		{"empty command", command(), ErrNotFound, []string{"command is empty"}},
		{"missing file", command("/no/such/plugin"), ErrNotFound, []string{"/no/such/plugin does not exist"}},
		{"missing program", command("no-such-program"), ErrNotFound, []string{"no-such-program is not on the PATH"}},
		{"folder", command(t.TempDir()), ErrNotExecutable, []string{"is a folder"}},
		{"mode", command(file(t, "p", "#!/bin/sh\n", 0o644)), ErrNotExecutable, []string{"is not executable", "chmod +x"}},
		{"neither program nor script", command(file(t, "p", "hello\n", 0o755)), ErrNotExecutable, []string{"neither a program nor a script"}},
		{"empty file", command(file(t, "p", "", 0o755)), ErrNotExecutable, []string{"neither a program nor a script"}},
		{"no interpreter", command(file(t, "p", "#!/no/such/shell\n", 0o755)), ErrNotFound, []string{`interpreter "/no/such/shell" does not exist`}},
		{"another processor", command(foreign(t)), ErrArchitecture, []string{"was built for linux/s390x and this host is"}},
		{"no plugin, status 0", role("hello"), ErrNotPlugin, []string{"exited with status 0 without a handshake", "(stdout) hello, world"}},
		{"no plugin, a script", command(file(t, "p", "#!/bin/sh\necho oops >&2; exit 5\n", 0o755)), ErrNotPlugin, []string{"exited with status 5 without a handshake", "oops"}},
		{"fails", role("fails"), ErrNotPlugin, []string{"exited with status 3", "fails while starting", "cannot open the model"}},
		{"panics", role("panics"), ErrCrashed, []string{"while starting, it exited with status 2", "panic: no model"}},
		{"ends after the handshake", role("short"), ErrCrashed, []string{"while starting, it exited with status 4"}},
		{"closes its output", role("closes"), ErrNotPlugin, []string{"closed its standard output"}},
		{"newer protocol", role("future"), ErrHostTooOld, []string{"speaks version 2", "this host 1", "use a newer weir"}},
		{"another go-plugin protocol", role("netrpc"), ErrNotPlugin, []string{"netrpc"}},
		{"listens elsewhere", role("abroad"), ErrNotPlugin, []string{"192.0.2.1:80", "loopback"}},
		{"another program's plugin", role("stranger"), ErrNotPlugin, []string{"plugin of another program"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			opts, _ := options(t)
			_, err := Start(t.Context(), c.cmd, opts)
			var failed *StartError
			if !errors.As(err, &failed) || !errors.Is(err, c.reason) {
				t.Fatalf("error %v, want a StartError that is %v", err, c.reason)
			}
			for _, want := range append(c.says, "plugin test: ") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("message %q, want %q in it", err, want)
				}
			}
		})
	}
}

func TestAHostOfALaterAgeRefusesAnOldPlugin(t *testing.T) {
	opts, _ := options(t)
	opts.versions = []int{2, 3}
	_, err := Start(t.Context(), role("good"), opts)
	if !errors.Is(err, ErrPluginTooOld) {
		t.Fatalf("error %v", err)
	}
	for _, want := range []string{"speaks version 1", "this host 2 to 3", "newer release of the plugin"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("message %q, want %q in it", err, want)
		}
	}
}

func TestTheHighestCommonVersionIsUsed(t *testing.T) {
	opts, _ := options(t)
	opts.versions = []int{1, 2, 3}
	if p := started(t, role("future"), opts); p.Protocol() != 2 {
		t.Errorf("protocol %d", p.Protocol())
	}
}

func TestTheStartDeadlineHolds(t *testing.T) {
	for name, says := range map[string]string{
		"mute":        "no handshake within",
		"undescribed": "not ready within",
	} {
		t.Run(name, func(t *testing.T) {
			opts, _ := options(t)
			opts.StartTimeout = 300 * time.Millisecond
			if name == "undescribed" {
				// The handshake must fit into it on a busy machine.
				opts.StartTimeout = 3 * time.Second
			}
			began := time.Now()
			_, err := Start(t.Context(), role(name), opts)
			if took := time.Since(began); took > 45*time.Second { // far from go-plugin's own
				t.Errorf("it took %v", took)
			}
			if !errors.Is(err, ErrStartTimeout) || !strings.Contains(err.Error(), says) {
				t.Fatalf("error %v", err)
			}
			var exit *ExitError
			if !errors.As(err, &exit) || exit.Dump == "" {
				t.Errorf("no goroutine dump with %v", err)
			}
		})
	}
}

func TestAStartCanBeCancelled(t *testing.T) {
	opts, _ := options(t)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	if _, err := Start(ctx, role("mute"), opts); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	if _, err := Start(ctx, role("good"), opts); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v from a start that was cancelled before", err)
	}
}

func TestTheContextOfTheStartDoesNotEndTheProcess(t *testing.T) {
	opts, _ := options(t)
	ctx, cancel := context.WithCancel(t.Context())
	p, err := Start(ctx, role("good"), opts)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	do(t, p, "group")
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsPrintedBeforeTheHandshakeIsLoggedAndSkipped(t *testing.T) {
	opts, log := options(t)
	p := started(t, role("noisy"), opts)
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"msg":"loading model ..."`, `"msg":"a|b|c|d"`, `(98304 bytes more)`, `"stream":"stdout"`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %s in the log:\n%s", want, log)
		}
	}
}

func TestChecksumsAreCheckedAtEachStart(t *testing.T) {
	sum := func(path string) string {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		s := sha256.Sum256(b)
		return hex.EncodeToString(s[:])
	}
	opts, _ := options(t)
	script := file(t, "plugin.sh", fmt.Sprintf("#!/bin/sh\nexec %q\n", os.Args[0]), 0o644)
	cmd := role("good")
	cmd.Args = []string{"/bin/sh", script}
	cmd.Checksums = []Checksum{{SHA256: sum("/bin/sh")}, {Path: script, SHA256: strings.ToUpper(sum(script))}}
	for range 2 { // a hash that is not reset fails the second
		p := started(t, cmd, opts)
		if err := p.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	want := sum(script)
	if err := os.WriteFile(script, []byte("#!/bin/sh\n# changed\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), cmd, opts)
	if !errors.Is(err, ErrChecksum) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), sum(script)) {
		t.Errorf("error %v, want both checksums", err)
	}
	cmd.Checksums = []Checksum{{SHA256: "abc"}}
	if _, err := Start(t.Context(), cmd, opts); !errors.Is(err, ErrChecksum) || !strings.Contains(err.Error(), "not a SHA-256") {
		t.Errorf("error %v", err)
	}
	cmd.Checksums = []Checksum{{Path: "/no/such/script", SHA256: want}}
	if _, err := Start(t.Context(), cmd, opts); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func TestARelativeProgramIsMeantFromTheCommandsFolder(t *testing.T) {
	opts, _ := options(t)
	script := file(t, "plugin.sh", fmt.Sprintf("#!/bin/sh\nexec %q\n", os.Args[0]), 0o755)
	cmd := role("good")
	cmd.Args, cmd.Dir = []string{"./plugin.sh"}, filepath.Dir(script)
	if p := started(t, cmd, opts); p.Path() != script {
		t.Errorf("path %s", p.Path())
	}
}

func TestALongFolderForSocketsIsRefusedOrReplaced(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("long", 30))
	if _, err := Start(t.Context(), role("good"), Options{SocketDir: long}); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("error %v", err)
	}
	dir, remove, err := SocketDir(long)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 || len(dir) > maxSocketDir {
		t.Errorf("folder %s: %v %v", dir, info, err)
	}
	if err := remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is left: %v", err)
	}
}
