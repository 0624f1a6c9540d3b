package main

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// planted are the secrets of the pipelines below: in files, in variables, alone and
// inside other text.
var planted = map[string]string{
	"file":     "planted-in-a-file-7Qx",
	"quoted":   `planted "in quotes" 8Wy`,
	"password": "planted-in-a-variable-9Ez",
	"token":    "planted-in-a-token-1Rb",
	"plugin":   "planted-in-a-plugin-2Tn",
}

// leakRoom is a folder with the secrets' files, and what weir wrote.
type leakRoom struct {
	t    *testing.T
	dir  string
	env  []string
	said bytes.Buffer // everything that any command or request answered
}

func newLeakRoom(t *testing.T) *leakRoom {
	t.Helper()
	r := &leakRoom{t: t, dir: t.TempDir()}
	r.write("secrets/file", planted["file"]+"\n")
	r.write("secrets/quoted", planted["quoted"])
	r.write("secrets/plugin", planted["plugin"])
	// Sockets need a short path.
	tmp, err := os.MkdirTemp("", "w")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(tmp) })
	r.env = append(os.Environ(), "TMPDIR="+tmp, "XDG_STATE_HOME="+filepath.Join(r.dir, "state"), "XDG_DATA_HOME="+filepath.Join(r.dir, "data"),
		"INNOCENT="+planted["password"], "APP_TOKEN="+planted["token"])
	return r
}

func (r *leakRoom) write(name, text string) {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// pipeline writes a file whose node tell leaks in the way given.
func (r *leakRoom) pipeline(how, generator string) string {
	r.t.Helper()
	leak, err := exec.LookPath(leakName)
	if err != nil {
		r.t.Fatal(err)
	}
	r.write(how+".yaml", fmt.Sprintf(`name: %[1]s
checkpoint: {interval: 100ms}
restart: {attempts: 1, backoff: 1ms}
plugins:
  leak: {path: %[2]q, env: {LEAK_ENVIRONMENT: '${file:secrets/plugin}'}}
nodes:
  in: {source: generator, config: {%[3]s}}
  tell:
    operator: leak/tell
    input: in
    on_error: {dead_letter: dead}
    config:
      how: %[1]s
      word: '${file:secrets/quoted}'
      bearer: 'Bearer ${file:secrets/file}'
      token: '${APP_TOKEN}'
      password: '${env:INNOCENT}'
  dead: {sink: file, config: {path: dead/}}
  check:
    operator: expr
    input: tell
    on_error: {dead_letter: refused}
    config:
      filter: 'json.key != "${APP_TOKEN}" && int(json.pad + "${file:secrets/file}") > 1'
      headers: {auth: '"${file:secrets/file}"'}
  out: {sink: file, input: check, config: {path: out/}}
  refused: {sink: file, config: {path: refused/}}
`, how, leak, generator))
	return how + ".yaml"
}

func (r *leakRoom) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(r.t.Context(), "weir", args...)
	cmd.Dir, cmd.Env = r.dir, r.env
	return cmd
}

// weir runs a command to its end and keeps what it says.
func (r *leakRoom) weir(args ...string) string {
	r.t.Helper()
	out, _ := r.command(args...).CombinedOutput() // many are to fail
	fmt.Fprintf(&r.said, "$ weir %s\n%s\n", strings.Join(args, " "), out)
	return string(out)
}

// holdsNoSecret greps everything that was said, and every file but those that the
// secrets came from.
func (r *leakRoom) holdsNoSecret() {
	r.t.Helper()
	check := func(what string, data []byte) {
		for name, secret := range planted {
			if i := bytes.Index(data, []byte(secret)); i >= 0 {
				from, to := max(0, i-300), min(len(data), i+200)
				r.t.Errorf("%s holds the secret of the %s:\n%q", what, name, data[from:to])
			}
		}
	}
	check("what was said", r.said.Bytes())
	files := 0
	err := filepath.WalkDir(r.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !d.Type().IsRegular() || filepath.Base(filepath.Dir(path)) == "secrets" {
			return err
		}
		data, err := os.ReadFile(path)
		files++
		check(path, data)
		return err
	})
	if err != nil || files == 0 {
		r.t.Errorf("%d files were read: %v", files, err)
	}
}

// TestNoSecretIsTold plants secrets wherever a pipeline may have them, lets a plugin
// repeat them in every way that a plugin has, and looks for them in everything that
// weir says and writes: output, log, state folder, checkpoints, dead letters, answers
// of the API, dumps.
func TestNoSecretIsTold(t *testing.T) {
	// What a plugin says when nothing else is wrong, and all that can be asked of a
	// pipeline that runs.
	t.Run("running", func(t *testing.T) {
		r := newLeakRoom(t)
		file := r.pipeline("records", "rate: 200, keys: 3")
		r.weir("validate", file)
		r.weir("validate", "-o", "json", "--connect", file)
		r.weir("validate", "--schema", file)
		run := r.command("run", file, "--listen", "127.0.0.1:0", "--log-level", "debug", "--progress", "plain")
		var out lockedBuffer
		run.Stdout, run.Stderr = &out, &out
		if err := run.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- run.Wait() }()
		stopped := false
		defer func() {
			if !stopped {
				_ = run.Process.Kill()
				<-ended
			}
		}()
		served := regexp.MustCompile(`the API is served" address=(\S+)`)
		waitUntil(t, "a checkpoint with failed records", func() bool {
			s := r.weir("status", "records", "-o", "json")
			return strings.Contains(s, `"samples"`) && strings.Contains(r.weir("checkpoint", "ls", "records", "-o", "json"), `"n":`) && served.MatchString(out.String())
		})
		r.weir("status", "records")
		r.weir("logs", "records", "--level", "debug")
		r.weir("logs", "records", "tell", "-o", "json", "--level", "debug")
		r.weir("ls")
		r.weir("checkpoint", "show", "records")
		r.weir("checkpoint", "show", "records", "-o", "json")
		r.weir("savepoint", "records", "kept")
		r.weir("plan", file)
		for _, path := range []string{
			"/metrics", "/healthz", "/readyz", "/v1/openapi.yaml", "/v1/pipelines", "/v1/pipelines/records",
			"/v1/pipelines/records/nodes", "/v1/pipelines/records/tasks", "/v1/pipelines/records/checkpoints",
			"/v1/pipelines/records/errors", "/v1/pipelines/records/logs?level=debug", "/v1/pipelines/${APP_TOKEN}",
		} {
			r.get("http://" + served.FindStringSubmatch(out.String())[1] + path)
		}
		r.weir("stop", "records")
		select {
		case <-ended:
			stopped = true
		case <-time.After(60 * time.Second):
			t.Fatal("the pipeline does not stop")
		}
		r.said.WriteString(out.String())
		r.weir("checkpoint", "export", "records", "export")
		r.weir("status", "records", "-o", "json")
		r.weir("plan", "-o", "json", file)
		if dead, _ := filepath.Glob(filepath.Join(r.dir, "dead", "*")); len(dead) == 0 {
			t.Error("there are no dead letters")
		}
		for _, told := range []string{"to standard error", "to standard output", "in the log", "leak_told"} {
			if !strings.Contains(r.said.String(), told) {
				t.Errorf("nothing was told %s", told)
			}
		}
		r.holdsNoSecret()
	})
	for how, words := range map[string]string{
		"error": "word [secret]", "panic": "panic", "exit": "the last words", "open": "word [secret]", "validate": "refused: word", "probe": "not reached: word",
	} {
		t.Run(how, func(t *testing.T) {
			r := newLeakRoom(t)
			file := r.pipeline(how, "count: 10, keys: 3")
			r.weir("validate", "--connect", file)
			r.weir("run", file, "--log-level", "debug", "--progress", "plain")
			r.weir("status", how, "-o", "json")
			r.weir("logs", how)
			r.weir("ls", "-o", "json")
			if !strings.Contains(r.said.String(), words) && !strings.Contains(r.said.String(), strings.ReplaceAll(words, "[secret]", "***")) {
				t.Errorf("nothing was told:\n%s", r.said.String())
			}
			r.holdsNoSecret()
		})
	}
	// Dead letters carry the error in a header, which JSON lines of stdout show.
	t.Run("headers", func(t *testing.T) {
		r := newLeakRoom(t)
		file := r.pipeline("records", "count: 20, keys: 3")
		data, err := os.ReadFile(filepath.Join(r.dir, file))
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(data), "{sink: file, config: {path: dead/}}", "{sink: stdout, config: {format: json}}")
		text = strings.ReplaceAll(text, "{sink: file, config: {path: refused/}}", "{sink: file, config: {path: refused/}}\n")
		r.write(file, text)
		said := r.weir("run", file, "--progress", "none")
		if !strings.Contains(said, "weir.error") {
			t.Errorf("there are no dead letters:\n%s", said)
		}
		r.holdsNoSecret()
	})
}

// get keeps what an address answers.
func (r *leakRoom) get(url string) {
	r.t.Helper()
	res, err := (&http.Client{Timeout: 30 * time.Second}).Get(url)
	if err != nil {
		r.t.Errorf("%s: %v", url, err)
		return
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Errorf("%s: %v", url, err)
	}
	fmt.Fprintf(&r.said, "GET %s: %s\n%s\n", url, res.Status, body)
}

func waitUntil(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %s within 60s", what)
		}
	}
}

// lockedBuffer is read while a process writes to it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
