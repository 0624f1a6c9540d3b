package kafkatest

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

//go:embed CommittedReader.java
var readerSource []byte

// Reader is Kafka's own consumer, in a process of its own, that reads whole topics:
// a client that is not ours. Its methods may be called concurrently.
type Reader struct {
	mu    sync.Mutex
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Reader
	dir   string
	log   strings.Builder
}

// Message is a record that it has read.
type Message struct {
	Partition  int
	Offset     int64
	Time       time.Time
	Key, Value []byte // nil is null
	Headers    []Header
}

// Header is one header of a Message.
type Header struct {
	Name  string
	Value []byte
}

// Reader starts a reader: of committed records, or of all.
func (c *Cluster) Reader(ctx context.Context, committed bool) (*Reader, error) {
	dir, err := os.MkdirTemp("", "kafka-reader-")
	if err != nil {
		return nil, err
	}
	r := &Reader{dir: dir}
	source := filepath.Join(dir, "CommittedReader.java")
	if err := os.WriteFile(source, readerSource, 0o600); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	isolation := "read_uncommitted"
	if committed {
		isolation = "read_committed"
	}
	args := append(c.installed.javaArgs(false), source, c.Bootstrap(), isolation)
	r.cmd = exec.CommandContext(ctx, "java", args...)
	r.cmd.WaitDelay = time.Second
	r.cmd.Stderr = &r.log
	if r.in, err = r.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	r.lines = bufio.NewReaderSize(out, 1<<20)
	if err := r.cmd.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return r, nil
}

// Read returns what is in a topic now, partition by partition in the order of
// offsets. What follows the beginning of an open transaction is not yet there for a
// reader of committed records.
func (r *Reader) Read(topic string) ([]Message, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, err := fmt.Fprintln(r.in, topic); err != nil {
		return nil, fmt.Errorf("read topic %s: %w\n%s", topic, err, r.log.String())
	}
	var all []Message
	for {
		line, err := r.lines.ReadString('\n')
		if err != nil {
			return nil, fmt.Errorf("read topic %s: %w\n%s", topic, err, r.log.String())
		}
		line = strings.TrimSuffix(line, "\n")
		if line == "." {
			return all, nil
		}
		m, err := parseMessage(line)
		if err != nil {
			return nil, fmt.Errorf("read topic %s: %q: %w", topic, line, err)
		}
		all = append(all, m)
	}
}

// Close ends the process.
func (r *Reader) Close() error {
	err := r.in.Close()
	if wait := r.cmd.Wait(); err == nil {
		err = wait
	}
	return errors.Join(err, os.RemoveAll(r.dir))
}

func parseMessage(line string) (m Message, err error) {
	fields := strings.Fields(line)
	if len(fields) < 5 {
		return m, errors.New("too short")
	}
	var errs [6]error
	m.Partition, errs[0] = strconv.Atoi(fields[0])
	m.Offset, errs[1] = strconv.ParseInt(fields[1], 10, 64)
	ms, err := strconv.ParseInt(fields[2], 10, 64)
	errs[2] = err
	m.Time = time.UnixMilli(ms)
	m.Key, errs[3] = parseBytes(fields[3])
	m.Value, errs[4] = parseBytes(fields[4])
	for _, f := range fields[5:] {
		name, value, _ := strings.Cut(f, "=")
		n, err := parseBytes(name)
		v, err2 := parseBytes(value)
		errs[5] = errors.Join(errs[5], err, err2)
		m.Headers = append(m.Headers, Header{string(n), v})
	}
	return m, errors.Join(errs[:]...)
}

func parseBytes(s string) ([]byte, error) {
	if s == "-" {
		return nil, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(strings.Trim(s, `"`))
	if b == nil {
		b = []byte{}
	}
	return b, err
}
