package process

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/weirstream/weir/host/secret"
)

// Command says how to start a plugin.
type Command struct {
	// Name is the plugin's name, for messages and the log: "acme".
	Name string
	// Args is the program and its arguments. A program without a separator in it
	// is looked for on the host's PATH.
	Args []string
	// Env is set on top of [BaseEnv].
	Env map[string]string
	// Dir is the working folder; empty means the host's.
	Dir string
	// Checksums are checked right before each start, the program's among them if
	// it is listed. Keep the files where only trusted users can write: what is
	// replaced between check and start is not noticed.
	Checksums []Checksum
}

// Checksum is the content that a file must have.
type Checksum struct {
	// Path is the file: the program itself, or a script that it interprets. Empty
	// means the program as found.
	Path string
	// SHA256 is in hexadecimal.
	SHA256 string
}

// Options are the host's side of a start. The zero value of a field is its
// default.
type Options struct {
	// Log receives the plugin's output and what happens to the process, with
	// attributes plugin and pid. Nil discards it.
	Log *slog.Logger
	// Mask hides secrets in what the process prints. Nil hides none.
	Mask *secret.Mask
	// SocketDir is an existing folder, owner-only, in which the process's sockets
	// are made and removed again. See [SocketDir]. Required.
	SocketDir string
	// DumpDir is the folder for goroutine dumps, made when needed. Empty keeps
	// none.
	DumpDir string
	// Inherit is a file that the process keeps open (the pipeline's lock). It
	// still belongs to the caller, who may close it after Start.
	Inherit *os.File
	// Stdout is lent to the process for components that write to the host's
	// standard output; the process's own is not it. Not on Windows.
	Stdout *os.File
	// HostVersion is told to the plugin.
	HostVersion string

	// StartTimeout bounds everything from the launch to the manifest; 10 s. The
	// context of Start may end it earlier.
	StartTimeout time.Duration
	// HealthInterval is the time between two questions; 1 s. Negative asks never,
	// for a plugin under a debugger.
	HealthInterval time.Duration
	// HealthTimeout is how long a process may go without a good answer; 5 s.
	HealthTimeout time.Duration
	// DumpTimeout is how long a hung Go process may take to write its goroutine
	// dump; 2 s.
	DumpTimeout time.Duration
	// StopTimeout is how long Stop waits for the process to end by itself; 2 s.
	StopTimeout time.Duration
	// LogLines is the number of output lines a second that reach Log; 200.
	LogLines int
	// AutoMTLS encrypts the connection with certificates made for this start. The
	// socket is owner-only without it; it costs about a third of the throughput.
	AutoMTLS bool

	// StreamWindow is what a stream may hold that this side has not read, in bytes,
	// at least 64 KiB; 0 is the contract's. A small one lets whoever tests a plugin
	// hold it up after little data.
	StreamWindow int32

	// versions are the protocol versions that the host speaks; the tests play
	// hosts of another age.
	versions []int
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	for _, d := range []struct {
		value *time.Duration
		def   time.Duration
	}{
		{&o.StartTimeout, 10 * time.Second},
		{&o.HealthInterval, time.Second},
		{&o.HealthTimeout, 5 * time.Second},
		{&o.DumpTimeout, 2 * time.Second},
		{&o.StopTimeout, 2 * time.Second},
	} {
		if *d.value == 0 {
			*d.value = d.def
		}
	}
	if o.LogLines == 0 {
		o.LogLines = 200
	}
	if o.versions == nil {
		o.versions = hostVersions()
	}
	return o
}

// baseEnv are the variables that a plugin gets from the host's environment: what
// finds programs, home and temporary folders, what sets language and time zone,
// what reaches the network, and the knobs of the Go runtime. Credentials are not
// among them: they come from the pipeline file.
var baseEnv = []string{
	"PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "LANG", "TZ",
	"XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy",
	"SSL_CERT_FILE", "SSL_CERT_DIR",
	"GOMAXPROCS", "GOMEMLIMIT", "GOGC", "GODEBUG", "GOTRACEBACK", "GOCOVERDIR",
}

var baseEnvWindows = []string{
	"SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "TEMP", "TMP",
	"USERPROFILE", "USERNAME", "APPDATA", "LOCALAPPDATA", "PROGRAMDATA",
}

// BaseEnv returns what a plugin gets of the host's environment, as "key=value":
// a fixed list of variables, and those whose names begin with "LC_".
func BaseEnv() []string {
	keep := baseEnv
	if runtime.GOOS == "windows" {
		keep = slices.Concat(baseEnv, baseEnvWindows)
	}
	var env []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if runtime.GOOS == "windows" {
			name = strings.ToUpper(name)
		}
		if slices.Contains(keep, name) || strings.HasPrefix(name, "LC_") {
			env = append(env, kv)
		}
	}
	return env
}

// maxSocketDir is the longest path of a folder for sockets: an address holds 104
// bytes with its final zero on the narrowest system, and go-plugin appends a
// folder and a file name with up to ten random digits each.
const maxSocketDir = 103 - len("/plugin-dir4294967295/plugin4294967295")

// SocketPrefix is what the names of folders begin with that SocketDir makes in the
// system's folder for temporary files.
const SocketPrefix = "weir-"

// SocketDir returns an owner-only folder that is good for [Options.SocketDir]:
// preferred, made if missing, where its path is short enough for a Unix socket;
// else a new one in the system's folder for temporary files. The caller calls
// remove when the last process is gone; it leaves a preferred folder that holds
// anything alone.
func SocketDir(preferred string) (dir string, remove func() error, err error) {
	if abs, err := filepath.Abs(preferred); preferred != "" && err == nil && len(abs) <= maxSocketDir {
		if err := os.MkdirAll(abs, 0o700); err != nil {
			return "", nil, fmt.Errorf("folder for sockets: %w", err)
		}
		// Removes the folder only if it is empty.
		return abs, func() error { _ = os.Remove(abs); return nil }, nil
	}
	dir, err = os.MkdirTemp("", SocketPrefix)
	if err != nil {
		return "", nil, fmt.Errorf("folder for sockets: %w", err)
	}
	return dir, func() error { return os.RemoveAll(dir) }, nil
}
