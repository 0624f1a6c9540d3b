//go:build linux

package faulttest

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// input is lines in files. Most files are larger than a split and are read as
// several; the last two are compressed, so that each is one split.
type input struct {
	files, lines int // lines a file
	// length of the longest line, in bytes. Long lines keep the part of the input
	// small that fits into the buffers between the processes, so that a pipeline
	// that is slow somewhere takes its time everywhere.
	length    int
	splitSize int
}

// line is line n of file f: a name that tells it from all others and a filling of
// some length, so that records and batches have no common measure.
func (in input) line(f, n int) string {
	fill := (f*7919 + n*104729) % in.length
	return fmt.Sprintf("%02d-%06d %s", f, n, filling[:fill])
}

// filling is what lines are filled with.
var filling = strings.Repeat("abcdefghij klmnopqrstuvwxyz 0123456789 ", 1<<10)

// extension of a file's name, which says how it is compressed.
func (in input) extension(f int) string {
	switch f {
	case in.files - 1:
		return ".log.gz"
	case in.files - 2:
		return ".log.zst"
	}
	return ".log"
}

// write writes the files.
func (in input) write(l *lab) {
	l.t.Helper()
	for f := range in.files {
		var b bytes.Buffer
		var w io.WriteCloser = plain{&b}
		switch in.extension(f) {
		case ".log.gz":
			w = gzip.NewWriter(&b)
		case ".log.zst":
			z, err := zstd.NewWriter(&b)
			if err != nil {
				l.t.Fatal(err)
			}
			w = z
		}
		for n := range in.lines {
			_, _ = io.WriteString(w, in.line(f, n)+"\n")
		}
		if err := w.Close(); err != nil {
			l.t.Fatal(err)
		}
		if err := os.WriteFile(l.path("in", fmt.Sprintf("%02d%s", f, in.extension(f))), b.Bytes(), 0o600); err != nil {
			l.t.Fatal(err)
		}
	}
}

type plain struct{ io.Writer }

func (plain) Close() error { return nil }

// expect is what comes of the input where each line becomes those that make
// returns. group tells what keeps its order among the lines of a split.
func (in input) expect(make func(f, n int, line string) []string, group func(split, line string) string) expectation {
	e := expectation{}
	for f := range in.files {
		at := 0
		for n := range in.lines {
			line := in.line(f, n)
			split := fmt.Sprintf("file %d", f)
			if in.extension(f) == ".log" {
				split += fmt.Sprintf(", range %d", at/in.splitSize)
			}
			at += len(line) + 1
			for _, made := range make(f, n, line) {
				e[made] = place{group(split, line), n}
			}
		}
	}
	return e
}

// bySplit is for what keeps the order of the source's splits.
func bySplit(split, _ string) string { return split }

// asItIs is a pipeline that changes nothing.
func asItIs(_, _ int, line string) []string { return []string{line} }
