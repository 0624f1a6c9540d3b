//go:build linux

package process

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

func TestAGoodPluginStartsAnswersAndStops(t *testing.T) {
	opts, log := options(t)
	opts.HostVersion = "9.9"
	p := started(t, role("good"), opts)
	if m := p.Manifest(); m.GetName() != "test" || m.GetSdk() != "9.9" {
		t.Errorf("manifest %v", m)
	}
	if p.Protocol() != wire.ProtocolVersion {
		t.Errorf("protocol %d", p.Protocol())
	}
	if group := do(t, p, "group"); group != strconv.Itoa(p.PID()) {
		t.Errorf("process group %s of pid %d: a ^C on the terminal would reach the plugin", group, p.PID())
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if exit := ended(t, p); exit != nil {
		t.Errorf("an orderly end is an error: %v", exit)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Errorf("a second stop: %v", err)
	}
	if strings.Contains(log.String(), `"level":"ERROR"`) {
		t.Errorf("log: %s", log)
	}
}

func TestEncryptionIsAnOption(t *testing.T) {
	opts, _ := options(t)
	opts.AutoMTLS = true
	p := started(t, role("good"), opts)
	if group := do(t, p, "group"); group == "" {
		t.Error("no answer")
	}
}

func TestManyStartsLeaveNothing(t *testing.T) {
	opts, _ := options(t)
	for range 5 {
		p := started(t, role("good"), opts)
		if err := p.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestThePluginSeesLittleOfTheHostsEnvironment(t *testing.T) {
	t.Setenv("WEIR_TEST_SECRET", "hunter2")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
	t.Setenv("LC_MONETARY", "C")
	t.Setenv("TZ", "Europe/Berlin")
	opts, _ := options(t)
	cmd := role("good")
	cmd.Env["GREETING"], cmd.Env["TZ"] = "hello", "UTC"
	env := "\n" + do(t, started(t, cmd, opts), "env") + "\n"
	for _, want := range []string{"\nGREETING=hello\n", "\nTZ=UTC\n", "\nLC_MONETARY=C\n", "\nPATH=", "\nWEIR_LIFELINE_FD=3\n"} {
		if !strings.Contains(env, want) {
			t.Errorf("no %q in the plugin's environment:%s", want, env)
		}
	}
	if strings.Contains(env, "hunter2") || strings.Contains(env, wire.EnvLock) {
		t.Errorf("the plugin's environment holds what it should not:%s", env)
	}
}

func TestThePluginHoldsTheFilesThatItIsGiven(t *testing.T) {
	opts, _ := options(t)
	lock, err := os.Create(filepath.Join(t.TempDir(), "lock"))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(filepath.Join(t.TempDir(), "output"))
	if err != nil {
		t.Fatal(err)
	}
	opts.Inherit, opts.Stdout = lock, out
	p := started(t, role("good"), opts)
	for _, want := range []string{"4 " + lock.Name(), "5 " + out.Name()} {
		if files := do(t, p, "files"); !strings.Contains(files, want) {
			t.Errorf("no %s among the files of the plugin: %s", want, files)
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	held := func() bool {
		f, err := os.Open(lock.Name())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil
	}
	if !held() {
		t.Error("the lock is free while the plugin lives")
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if held() {
		t.Error("the lock is held when the plugin is gone")
	}
}

func TestAnEndThatNobodyAskedForIsAnError(t *testing.T) {
	for _, c := range []struct {
		action string
		status int
		signal os.Signal
		says   string
	}{
		{"exit 0", 0, nil, "exited with status 0 without having been asked to"},
		{"exit 3", 3, nil, "exited with status 3"},
		{"signal 9", -1, syscall.SIGKILL, "was killed by signal SIGKILL"},
		{"signal 11", 2, nil, "exited with status 2"}, // the Go runtime turns it into a panic
		{"signal 15", -1, syscall.SIGTERM, "was killed by signal SIGTERM"},
	} {
		t.Run(c.action, func(t *testing.T) {
			opts, _ := options(t)
			p := started(t, role("good"), opts)
			act(p, c.action)
			exit := ended(t, p)
			if exit == nil {
				t.Fatal("no error")
			}
			if exit.Status != c.status || exit.Signal != c.signal || exit.Plugin != "test" || exit.PID != p.PID() {
				t.Errorf("%+v", exit)
			}
			if !strings.Contains(exit.Error(), c.says) || !strings.Contains(exit.Error(), "plugin test (pid ") {
				t.Errorf("message %q, want %q in it", exit, c.says)
			}
			if strings.HasPrefix(c.action, "exit") && !strings.HasSuffix(exit.Error(), "\n    out of quota") {
				t.Errorf("the last words are not in %q", exit)
			}
		})
	}
}

func TestAPanicIsToldAndItsGoroutinesAreKept(t *testing.T) {
	opts, log := options(t)
	p := started(t, role("good"), opts)
	do(t, p, "stderr about to do something daring")
	act(p, "panic")
	exit := ended(t, p)
	if exit == nil || exit.Status != 2 {
		t.Fatalf("%+v", exit)
	}
	if len(exit.Stderr) == 0 || exit.Stderr[0] != "panic: the author's mistake" {
		t.Errorf("last output %q", exit.Stderr)
	}
	dump, err := os.ReadFile(exit.Dump)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(dump), "goroutine ") || !strings.Contains(exit.Error(), exit.Dump) {
		t.Errorf("dump %s\nerror %v", dump, exit)
	}
	if strings.Contains(log.String(), "goroutine 1") {
		t.Error("the dump flooded the log")
	}
}

func TestKillNamesTheReason(t *testing.T) {
	opts, _ := options(t)
	p := started(t, role("good"), opts)
	p.Kill("task out[3] did not close in time")
	exit := ended(t, p)
	if exit == nil || exit.Signal != syscall.SIGKILL || exit.Hung {
		t.Fatalf("%+v", exit)
	}
	if !strings.Contains(exit.Error(), "was ended by the host: task out[3] did not close in time") {
		t.Errorf("message %q", exit)
	}
	p.Kill("again")
}

func TestAHungGoPluginLeavesItsGoroutines(t *testing.T) {
	opts, _ := options(t)
	opts.HealthTimeout = 300 * time.Millisecond
	p := started(t, role("deaf"), opts)
	do(t, p, "hang")
	exit := ended(t, p)
	if exit == nil || !exit.Hung {
		t.Fatalf("%+v", exit)
	}
	if !strings.Contains(exit.Error(), "did not answer for") {
		t.Errorf("message %q", exit)
	}
	dump, err := os.ReadFile(exit.Dump)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(dump), "SIGQUIT: quit") || !strings.Contains(string(dump), "testPlugin") {
		t.Errorf("dump %s", dump)
	}
}

func TestAStoppedPluginIsHung(t *testing.T) {
	opts, _ := options(t)
	opts.HealthTimeout = 300 * time.Millisecond
	p := started(t, role("good"), opts)
	if err := syscall.Kill(p.PID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	exit := ended(t, p)
	if exit == nil || !exit.Hung || exit.Signal != syscall.SIGKILL {
		t.Fatalf("%+v", exit)
	}
	if !strings.Contains(exit.Error(), "stopped by a signal") {
		t.Errorf("message %q", exit)
	}
}

func TestAHealthyPluginIsLeftAlone(t *testing.T) {
	opts, _ := options(t)
	opts.HealthInterval = time.Millisecond
	p := started(t, role("good"), opts)
	for range 50 {
		do(t, p, "group")
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestStopKillsWhoDoesNotListen(t *testing.T) {
	opts, _ := options(t)
	opts.StopTimeout = 300 * time.Millisecond
	for name, stop := range map[string]bool{"deaf": false, "stopped": true} {
		t.Run(name, func(t *testing.T) {
			p := started(t, role("deaf"), opts)
			if stop {
				if err := syscall.Kill(p.PID(), syscall.SIGSTOP); err != nil {
					t.Fatal(err)
				}
			}
			err := p.Stop(t.Context())
			var exit *ExitError
			if !errors.As(err, &exit) || exit.Signal != syscall.SIGKILL || !strings.Contains(err.Error(), "did not end when it was asked to") {
				t.Errorf("error %v", err)
			}
			if p.Err() != nil {
				t.Errorf("Err after Stop: %v", p.Err())
			}
		})
	}
}

func TestStopEndsWithItsContext(t *testing.T) {
	opts, _ := options(t)
	p := started(t, role("deaf"), opts)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Stop(ctx); err == nil {
		t.Error("no error, although the plugin had to be killed")
	}
	ended(t, p)
}

func TestWhatThePluginStartedGoesWithIt(t *testing.T) {
	for _, how := range []string{"exit 0", "signal 9", "stop", "kill"} {
		t.Run(how, func(t *testing.T) {
			opts, _ := options(t)
			p := started(t, role("good"), opts)
			pid, err := strconv.Atoi(do(t, p, "child group"))
			if err != nil {
				t.Fatal(err)
			}
			switch how {
			case "stop":
				if err := p.Stop(t.Context()); err != nil {
					t.Error(err)
				}
			case "kill":
				p.Kill("enough")
			default:
				act(p, how)
			}
			ended(t, p)
			eventually(t, 10*time.Second, "the grandchild is gone", func() bool { return gone(pid) })
		})
	}
}

func TestAGrandchildThatHoldsThePipesHoldsNothingUp(t *testing.T) {
	opts, _ := options(t)
	p := started(t, role("good"), opts)
	pid, err := strconv.Atoi(do(t, p, "child session"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if gone(pid) {
		t.Error("a process in a session of its own was killed")
	}
}

func TestCallsFailAndTheCauseFollows(t *testing.T) {
	opts, _ := options(t)
	p := started(t, role("good"), opts)
	_, err := p.Client().Validate(t.Context(), &pluginv1.ValidateRequest{Component: "exit 7"})
	if err == nil {
		t.Fatal("the call succeeded")
	}
	if exit := ended(t, p); exit == nil || exit.Status != 7 {
		t.Errorf("%+v", exit)
	}
}
