package pipetest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/weirstream/weir/conformance/exchange"
	"github.com/weirstream/weir/proto/wire"
)

// Update writes what came into the file as what is expected, for every case whose
// result has a diff. All else of the file stays as it is, comments included. It
// returns how many cases it changed.
func (s *Suite) Update(results []Result) (int, error) {
	data, err := os.ReadFile(s.File)
	if err != nil {
		return 0, err
	}
	file, err := parser.ParseBytes(data, parser.ParseComments)
	if err != nil {
		return 0, fmt.Errorf("read %s again: %w", s.File, err)
	}
	changed := 0
	for i, r := range results {
		if r.Err != nil || len(r.Diffs) == 0 {
			continue
		}
		changed++
		for _, d := range r.Diffs {
			if err := s.replace(file, i, d.Node, r.Got[d.Node]); err != nil {
				return 0, fmt.Errorf("%s: case %q: expect.%s: %w", s.File, r.Name, d.Node, err)
			}
		}
	}
	if changed == 0 {
		return 0, nil
	}
	text := file.String()
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return changed, writeFile(s.File, []byte(text))
}

func (s *Suite) replace(file *ast.File, i int, name string, got []exchange.Record) error {
	path, err := yaml.PathString(fmt.Sprintf("$.cases[%d].expect.'%s'", i, name))
	if err != nil {
		return err
	}
	e := s.Cases[i].Expect[slices.IndexFunc(s.Cases[i].Expect, func(e Expectation) bool { return e.Node == name })]
	if len(got) == 0 {
		return path.ReplaceWithReader(file, strings.NewReader("[]"))
	}
	out := make([]any, len(got))
	for k, r := range got {
		out[k] = written(r, e.Records, k)
	}
	text, err := yaml.MarshalWithOptions(out, yaml.Indent(2), yaml.IndentSequence(true))
	if err != nil {
		return err
	}
	return path.ReplaceWithReader(file, strings.NewReader(string(text)))
}

// written is a record as a person would write it, with the fields that the record
// in its place gave.
func written(r exchange.Record, expected []Expected, i int) any {
	fields, asJSON := fieldsFor(expected, i)
	if len(expected) == 0 {
		fields = exchange.Fields{Value: true, Key: r.Key != nil}
	}
	if value := fields == (exchange.Fields{Value: true}); value && !asJSON && r.Value != nil {
		if text, ok := bytesOf(r.Value).(string); ok {
			return text
		}
	}
	var out yaml.MapSlice
	if fields.Key {
		out = append(out, yaml.MapItem{Key: "key", Value: bytesOf(r.Key)})
	}
	var parsed any
	switch c := canonical(r.Value); {
	case asJSON && c != nil && yaml.UnmarshalWithOptions(c, &parsed, yaml.UseOrderedMap()) == nil:
		out = append(out, yaml.MapItem{Key: "json", Value: parsed})
	case fields.Value:
		out = append(out, yaml.MapItem{Key: "value", Value: bytesOf(r.Value)})
	}
	if fields.Time {
		var t any
		if r.Time != wire.NoTime {
			t = r.Time
		}
		out = append(out, yaml.MapItem{Key: "time", Value: t})
	}
	if fields.Headers {
		pairs := []any{}
		for _, h := range r.Headers {
			pairs = append(pairs, []any{h.Name, bytesOf(h.Value)})
		}
		out = append(out, yaml.MapItem{Key: "headers", Value: pairs})
	}
	return out
}

// writeFile replaces a file whole.
func writeFile(path string, data []byte) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	_, err = temp.Write(data)
	err = errors.Join(err, temp.Chmod(info.Mode().Perm()), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp.Name()))
	}
	return nil
}
