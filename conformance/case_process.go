package conformance

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/weirstream/weir/conformance/rig"
	"github.com/weirstream/weir/host/process"
)

var processCases = []Case{
	{
		ID: "WC-PRC-001", Title: "standard output carries the handshake alone", Once: true,
		Demands: "Nothing but the handshake line comes on standard output, before it and after it, also while calls are answered.",
		Why:     "The host looks for the handshake there. What stands before it is skipped by this host and breaks others; what comes after it is mixed into the log, without a level.",
		Fix:     "Print to standard error. Look for leftover debug prints, and for libraries that print a banner when they are loaded.",
		run: func(t *T) {
			p := t.Start()
			t.describe(p)
			t.endsSilent(p)
		},
	},
	{
		ID: "WC-PRC-002", Title: "it ends when the host asks", Once: true,
		Demands: "A process that is told to end, by go-plugin's GRPCController.Shutdown or by the end of its lifeline, ends within two seconds and with status 0.",
		Why:     "The host kills what is left after two seconds. What a killed process holds outside stays there: locks, connections, temporary files.",
		Fix:     "Watch the file WEIR_LIFELINE_FD on a thread of its own, and exit when it ends, whatever else is going on.",
		run: func(t *T) {
			t.Start().StopWithin(stopTime)
		},
	},
	{
		ID: "WC-PRC-003", Title: "it ends when its host is gone", Once: true,
		Demands: "When the lifeline ends without a word on the connection, as it does when the host is killed, the process ends within five seconds.",
		Why:     "A plugin that outlives its host goes on writing beside the one that the next run starts.",
		Fix:     "Read the file WEIR_LIFELINE_FD until it ends, on a thread that nothing blocks, and exit then at once. Hand the file to no child.",
		run: func(t *T) {
			p := t.Start()
			p.CutLifeline()
			select {
			case <-p.Done():
			case <-time.After(5 * time.Second):
				t.Fatalf("the process (pid %d) was still there 5s after its lifeline had ended", p.PID())
			}
		},
	},
	{
		ID: "WC-PRC-004", Title: "it ends with its host in the middle of the work",
		Demands: "With tasks open, data on its way and the output held up, the process ends within five seconds of the end of its lifeline, and leaves no child behind.",
		Why:     "A host is killed while it works, not while it rests.",
		Fix:     "Let nothing that a task does keep the process from exiting: exit, and do not wait for the tasks.",
		run: func(t *T) {
			t.ready()
			p := t.StartNarrow()
			s := p.Stage(t.Open(1, t.Parallelism(), nil))
			s.Stall()
			t.drive(s, 2*t.ordinary())
			t.pause(100 * time.Millisecond)
			p.CutLifeline()
			select {
			case <-p.Done():
			case <-time.After(5 * time.Second):
				t.Fatalf("the process (pid %d) was still there 5s after its lifeline had ended", p.PID())
			}
			t.noneLeft()
		},
	},
	{
		ID: "WC-PRC-005", Title: "no process is left behind",
		Demands: "After the process has ended, in peace or by SIGKILL, no process that it has started is there.",
		Why:     "What a plugin leaves behind holds files, ports and locks, and may go on writing.",
		Fix:     "End children in closing, and give them a pipe, or on Linux PR_SET_PDEATHSIG, that ends them with the plugin. Do not start them in a session of their own.",
		Needs:   hasProc,
		run: func(t *T) {
			t.ready()
			p := t.Start()
			s := p.Stage(t.Open(1, t.Parallelism(), nil))
			t.drive(s, 20)
			t.settled(p, s)
			s.Close()
			p.StopWithin(stopTime)
			t.noneLeft()
			p = t.Start()
			t.drive(p.Stage(t.Open(2, t.Parallelism(), nil)), 20)
			p.SIGKILL()
			t.noneLeft()
		},
	},
	{
		ID: "WC-PRC-006", Title: "no file is left behind",
		Demands: "When tasks have been closed and the process has ended as asked, its folders for temporary files and for sockets are empty, and there is nothing new in its working folder.",
		Why:     "Small files add up, and fill a disk in the end.",
		Fix:     "Remove temporary files in closing, or better, unlink them as soon as they are open. Write to the folders that the configuration names.",
		run: func(t *T) {
			t.ready()
			before := names(t.kit.dir)
			p := t.Start()
			s := p.Stage(t.Open(1, t.Parallelism(), nil))
			t.drive(s, 20)
			t.settled(p, s)
			s.Close()
			p.StopWithin(stopTime)
			for what, dir := range map[string]string{"temporary files": p.TMP, "sockets": p.SocketDir} {
				if left := names(dir); len(left) > 0 {
					t.Fatalf("in its folder for %s the process left %v", what, left)
				}
			}
			for _, name := range names(t.kit.dir) {
				if !slices.Contains(before, name) {
					t.Fatalf("in its working folder the process left %s", name)
				}
			}
		},
	},
	{
		ID: "WC-PRC-007", Title: "it listens nowhere but in its own folder", Needs: hasProc,
		Demands: "With a task open the process, and its children, listen on the socket of the handshake alone: on no TCP or UDP port, and on no Unix socket outside PLUGIN_UNIX_SOCKET_DIR.",
		Why:     "Everyone on the machine, or on the network, can reach such a port, and two plugins get into each other's way.",
		Fix:     "Leave debug and metrics servers out, or behind a parameter that is off.",
		run: func(t *T) {
			t.ready()
			p := t.Start()
			s := p.Stage(t.Open(1, t.Parallelism(), nil))
			t.drive(s, 20)
			t.settled(p, s)
			for _, l := range listeners(t.mark()) {
				if !strings.HasPrefix(l, filepath.Clean(p.SocketDir)+"/") {
					t.Fatalf("the process listens on %s", l)
				}
			}
			s.Close()
		},
	},
	{
		ID: "WC-PRC-008", Title: "it prints nothing to standard output while it works",
		Demands: "With tasks that work, take checkpoints and close nothing comes on standard output.",
		Why:     "It is mixed into the log without level, time and task.",
		Fix:     "Print to standard error; a task logs on its Control.",
		run: func(t *T) {
			t.ready()
			p := t.Start()
			s := p.Stage(t.Open(1, t.Parallelism(), nil))
			t.drive(s, 20)
			t.settled(p, s)
			s.Close()
			t.endsSilent(p)
		},
	},
	{
		ID: "WC-PRC-009", Title: "started by hand it says what it is", Once: true,
		Demands: "Without WEIR_PLUGIN in its environment the program ends within five seconds, with a status other than 0 and a word on standard error.",
		Why:     "People run programs to see what they are.",
		Fix:     "Look for the variable first of all.",
		run:     func(t *T) { t.byHand() },
	},
}

// names are the files in a folder.
func names(dir string) (out []string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func hasProc(*Target) Missing {
	if _, err := os.Stat("/proc/self/environ"); err != nil {
		return notHere("the kit looks into /proc, which this system does not have")
	}
	return ""
}

// noneLeft waits a moment for children of the case's processes to end.
func (t *T) noneLeft() {
	deadline := time.Now().Add(2 * time.Second)
	for {
		left := processes(t.mark())
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the plugin's process has ended, and these are left of those that it started: %s", strings.Join(left, ", "))
		}
		t.pause(20 * time.Millisecond)
	}
}

// byHand runs the program without a host.
func (t *T) byHand() {
	ctx, cancel := context.WithTimeout(t.ctx, 5*time.Second)
	defer cancel()
	c := t.kit.launcher.Command
	cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...)
	own(cmd)
	cmd.Cancel = func() error { return endGroup(cmd) }
	cmd.WaitDelay = time.Second
	cmd.Dir = c.Dir
	cmd.Env = process.BaseEnv()
	for name, value := range c.Env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	var said bounded
	cmd.Stderr = &said
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		t.Fatalf("without a host the program did not end within 5s")
	case err == nil:
		t.Fatalf("without a host the program ended with status 0, as if it had done something")
	case !errors.As(err, &exit):
		t.Brokenf("%v", err)
	case said.Len() == 0:
		t.Fatalf("without a host the program ended with status %d and without a word on standard error", exit.ExitCode())
	}
}

// stopTime is what a host gives a process to end by itself.
const stopTime = 2 * time.Second

// endsSilent ends a process, which must have left standard output alone.
func (t *T) endsSilent(p *rig.Plugin) {
	p.StopWithin(stopTime)
	for _, l := range p.Logs.Lines() {
		if l.Stdout {
			t.Fatalf("the plugin printed to standard output: %q", l.Text)
		}
	}
}
