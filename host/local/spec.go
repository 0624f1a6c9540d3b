package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/weirstream/weir/coordination"
)

// Spec is what is kept of a pipeline file. It holds no secret: the file is kept
// as it was written.
type Spec struct {
	File   string `json:"file"` // absolute
	Source string `json:"source"`
	// Storage is the URL of the checkpoint storage, without credentials.
	Storage string `json:"storage"`
}

func specPath(name string) string { return "pipelines/" + name + "/spec" }

// OtherFileError says that a pipeline of this name belongs to another file.
type OtherFileError struct {
	Pipeline, File string // the file is the other one
}

func (e *OtherFileError) Error() string {
	return fmt.Sprintf("the name belongs to another pipeline file: %s was last run from %s. Give this pipeline another name, or take its state over with --adopt", e.Pipeline, e.File)
}

// ErrorCode implements explain.Coded.
func (e *OtherFileError) ErrorCode() string { return CodeOtherFile }

// Claim notes which file the pipeline's state belongs to. A name that belongs to
// another file is refused with an *OtherFileError unless adopt is set.
func (h *Home) Claim(ctx context.Context, name string, s Spec, adopt bool) error {
	abs, err := filepath.Abs(s.File)
	if err != nil {
		return err
	}
	s.File = abs
	old, err := ReadSpec(ctx, h.store, name)
	switch {
	case errors.Is(err, coordination.ErrNotFound):
	case err != nil:
		return err
	case old.File != s.File && !adopt:
		return &OtherFileError{Pipeline: name, File: old.File}
	}
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return coordination.Put(ctx, h.store, specPath(name), data)
}

// ReadSpec returns what was last claimed. It fails with
// coordination.ErrNotFound where the pipeline never ran.
func ReadSpec(ctx context.Context, r coordination.Reader, name string) (Spec, error) {
	var s Spec
	rec, err := r.Get(ctx, specPath(name))
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(rec.Data, &s); err != nil {
		return s, fmt.Errorf("state of pipeline %s: %w", name, err)
	}
	return s, nil
}
