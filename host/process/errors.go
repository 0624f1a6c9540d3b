package process

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// Reasons why a plugin could not be started; a [StartError] wraps one of them.
var (
	// ErrNotFound: there is no such program, or what it needs to run is missing.
	ErrNotFound = errors.New("not found")
	// ErrNotExecutable: the file is there but is not a program that may be run.
	ErrNotExecutable = errors.New("not executable")
	// ErrArchitecture: the program was built for another system or processor.
	ErrArchitecture = errors.New("built for another machine")
	// ErrChecksum: a file does not have the content that was asked for.
	ErrChecksum = errors.New("checksum mismatch")
	// ErrNotPlugin: the program runs but does not behave as a Weir plugin.
	ErrNotPlugin = errors.New("not a weir plugin")
	// ErrHostTooOld: the plugin speaks a newer protocol than this host.
	ErrHostTooOld = errors.New("the host is too old for the plugin")
	// ErrPluginTooOld: the plugin speaks an older protocol than this host.
	ErrPluginTooOld = errors.New("the plugin is too old for the host")
	// ErrStartTimeout: the plugin was not ready in time.
	ErrStartTimeout = errors.New("start deadline exceeded")
	// ErrCrashed: the plugin ended while it was starting.
	ErrCrashed = errors.New("ended while starting")
)

// StartError says why a plugin could not be started.
type StartError struct {
	// Plugin and Path are the plugin's name and its program.
	Plugin, Path string
	// Reason is one of the errors above, or an error of the system.
	Reason error
	// Detail says what was found and what to do about it.
	Detail string
	// Exit is how the process ended, where one had been started.
	Exit *ExitError
}

// Error names the plugin, what is wrong, and the last output of the process.
func (e *StartError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "plugin %s: ", e.Plugin)
	if e.Detail != "" {
		b.WriteString(e.Detail)
	} else {
		b.WriteString(e.Reason.Error())
	}
	if e.Path != "" && !strings.Contains(e.Detail, e.Path) {
		fmt.Fprintf(&b, " (%s)", e.Path)
	}
	if e.Exit != nil {
		writeTail(&b, e.Exit.Stderr)
	}
	return b.String()
}

// Unwrap returns Reason and, where there is one, Exit.
func (e *StartError) Unwrap() []error {
	if e.Exit != nil {
		return []error{e.Reason, e.Exit}
	}
	return []error{e.Reason}
}

// ExitError says how a plugin process ended that should have gone on.
type ExitError struct {
	Plugin string
	PID    int
	// Status is the exit status, or -1 where a signal ended the process.
	Status int
	// Signal is the signal that ended the process; nil for an exit.
	Signal os.Signal
	// Reason says why the host ended the process: it did not answer, or what was
	// given to Kill. Empty where the process ended by itself.
	Reason string
	// Hung is set where the process did not answer, at its start or later.
	Hung bool
	// Stderr are the last lines of its standard error, and of what it printed to
	// standard output; where it ended in a Go panic, the first lines of that.
	Stderr []string
	// Dump is the path of the file that holds the goroutine dump; empty where
	// there is none.
	Dump string
}

// Error names plugin and process, how it ended and why, and its last lines.
func (e *ExitError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "plugin %s (pid %d) ", e.Plugin, e.PID)
	if e.Reason != "" {
		fmt.Fprintf(&b, "was ended by the host: %s", e.Reason)
	} else {
		b.WriteString(e.how())
	}
	if e.Dump != "" {
		fmt.Fprintf(&b, " (goroutine dump: %s)", e.Dump)
	}
	writeTail(&b, e.Stderr)
	return b.String()
}

// how tells the exit without the names.
func (e *ExitError) how() string {
	switch {
	case e.Signal == syscall.SIGKILL:
		return "was killed by signal SIGKILL, not sent by this host (the system does so when memory runs out)"
	case e.Signal != nil:
		return fmt.Sprintf("was killed by signal %s", signalName(e.Signal))
	case e.Status == 0:
		return "exited with status 0 without having been asked to"
	default:
		return fmt.Sprintf("exited with status %d", e.Status)
	}
}

func writeTail(b *strings.Builder, lines []string) {
	if len(lines) == 0 {
		return
	}
	b.WriteString("; its last output:")
	for _, l := range lines {
		b.WriteString("\n    ")
		b.WriteString(l)
	}
}

// startCodes are those of the reasons why a plugin could not be started.
var startCodes = []struct {
	reason error
	code   string
}{
	{ErrNotFound, CodeNotFound},
	{ErrNotExecutable, CodeNotExecutable},
	{ErrArchitecture, CodeArchitecture},
	{ErrChecksum, CodeChecksum},
	{ErrNotPlugin, CodeNotPlugin},
	{ErrHostTooOld, CodeHostTooOld},
	{ErrPluginTooOld, CodePluginTooOld},
	{ErrStartTimeout, CodeStartTimeout},
	{ErrCrashed, CodeCrashed},
}

// Stable codes of errors; package explain says what each means.
const (
	CodeNotFound      = "process.not_found"
	CodeNotExecutable = "process.not_executable"
	CodeArchitecture  = "process.architecture"
	CodeChecksum      = "process.checksum"
	CodeNotPlugin     = "process.not_plugin"
	CodeHostTooOld    = "process.host_too_old"
	CodePluginTooOld  = "process.plugin_too_old"
	CodeStartTimeout  = "process.start_timeout"
	CodeCrashed       = "process.crashed"
	CodeStart         = "process.start"
	CodeEnded         = "process.ended"
	CodeHung          = "process.hung"
)

// ErrorCode is the stable code of the reason.
func (e *StartError) ErrorCode() string {
	for _, c := range startCodes {
		if errors.Is(e.Reason, c.reason) {
			return c.code
		}
	}
	return CodeStart
}

// ErrorCode is the stable code of such an end.
func (e *ExitError) ErrorCode() string {
	if e.Hung {
		return CodeHung
	}
	return CodeEnded
}
