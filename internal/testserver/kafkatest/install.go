package kafkatest

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed" // pom.xml
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/weirstream/weir/internal/testserver/jars"
)

//go:embed pom.xml
var pom []byte

// installed is Kafka on this machine.
type installed struct {
	jars      string // their folder; what else is kept lies beside it
	classpath string
}

func install(ctx context.Context) (*installed, error) {
	dir, err := jars.Fetch(ctx, "kafka", pom)
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.jar"))
	if err != nil {
		return nil, err
	}
	slices.Sort(files) // an archive of classes holds for one class path
	return &installed{jars: dir, classpath: strings.Join(files, string(os.PathListSeparator))}, nil
}

// javaArgs returns the arguments of java before the class to run.
func (i *installed) javaArgs(warm bool) []string {
	args := []string{"-Xmx512m", "-XX:+UseSerialGC", "-Djava.net.preferIPv4Stack=true"}
	if !warm {
		args = append(args, "-XX:TieredStopAtLevel=1")
	}
	return append(args, "-cp", i.classpath)
}

// bootstrap returns what StorageTool writes on a new disk beside the ids: the
// versions of features, and the users with SCRAM passwords. It is the same for
// every broker and kept, since making it takes longer than reading it.
func (i *installed) bootstrap(ctx context.Context, features []string, s *Secrets) ([]byte, error) {
	args := []string{}
	for _, f := range features {
		args = append(args, "--feature", f)
	}
	if s != nil {
		args = append(args, s.scram()...)
	}
	sum := sha256.Sum256([]byte(strings.Join(args, "\x00")))
	kept := i.jars + "-" + hex.EncodeToString(sum[:6]) + ".checkpoint"
	if text, err := os.ReadFile(kept); err == nil {
		return text, nil
	}
	work, err := os.MkdirTemp(filepath.Dir(i.jars), "format-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)
	data, properties := filepath.Join(work, "data"), filepath.Join(work, "server.properties")
	text := "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:9\n" +
		"controller.listener.names=CONTROLLER\nlisteners=PLAINTEXT://127.0.0.1:8,CONTROLLER://127.0.0.1:9\nlog.dirs=" + data + "\n"
	if err := os.WriteFile(properties, []byte(text), 0o644); err != nil {
		return nil, err
	}
	args = append([]string{"format", "-t", randomID(), "-c", properties}, args...)
	if out, errs, err := i.java(ctx, time.Minute, "kafka.tools.StorageTool", args...); err != nil {
		return nil, fmt.Errorf("format a disk: %w\n%s%s", err, out, errs)
	}
	made := filepath.Join(data, "bootstrap.checkpoint")
	checkpoint, err := os.ReadFile(made)
	return checkpoint, errors.Join(err, os.Rename(made, kept))
}

// java runs a class to its end and returns what it printed to its two outputs.
func (i *installed) java(ctx context.Context, timeout time.Duration, class string, args ...string) (out, errs string, err error) {
	return i.javaWith(ctx, timeout, nil, class, args...)
}

// javaWith is java with something to read.
func (i *installed) javaWith(ctx context.Context, timeout time.Duration, in io.Reader, class string, args ...string) (out, errs string, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "java", append(append(i.javaArgs(false), class), args...)...)
	cmd.WaitDelay = time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, &stdout, &stderr
	err = cmd.Run()
	return stdout.String(), stderr.String(), err
}
