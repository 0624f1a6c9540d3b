package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/weirstream/weir/sdk"
)

// SourceConfig is the source's configuration.
type SourceConfig struct {
	Path      string        `weir:"path,required" doc:"A file, a folder (all files in it), or a glob; ** matches any number of folders. Names that begin with a dot are left out unless the path names them."`
	Format    string        `weir:"format" default:"lines" enum:"lines,json,csv" doc:"lines: each line without its newline is a record; a carriage return stays. json: each line is a JSON value. csv: each record becomes a JSON object. See docs/formats.md."`
	CSV       *CSV          `weir:"csv" doc:"How csv is written."`
	Follow    bool          `weir:"follow" default:"false" doc:"Goes on as tail -F does: what is appended is read, a rotated file is read to its end and then the one that took its name, and new files are found. At a restart it can be turned off, which reads what is there to its end, but not on."`
	Start     string        `weir:"start" default:"beginning" enum:"beginning,end" doc:"Where reading begins in files that are there at the first start. Files found later are read from their beginning."`
	SplitSize sdk.ByteSize  `weir:"split_size" default:"64MiB" min:"1" doc:"A larger plain file is divided into ranges of this size, which tasks read side by side. A followed or compressed file is never divided, nor is one of csv, whose values may hold newlines."`
	Poll      time.Duration `weir:"poll" default:"200ms" min:"1ms" max:"1h" doc:"How often a followed file is looked at for more."`
}

// Capabilities implements [sdk.Claimer].
func (c *SourceConfig) Capabilities(caps *sdk.Capabilities) {
	if c.Follow {
		caps.Bounded = false
		return
	}
	// One after the other, in order: a followed file never ends, so those are
	// read side by side.
	caps.ConcurrentSplits = 1
}

// Validate implements [sdk.Validator].
func (c *SourceConfig) Validate() []sdk.FieldError {
	faults := c.formatFaults()
	if c.Start == "end" && !c.Follow {
		faults = append(faults, sdk.Faultf("start", "end reads nothing without follow: true"))
	}
	if isGlob(c.Path) && !doublestar.ValidatePathPattern(c.Path) {
		faults = append(faults, sdk.Faultf("path", "is no valid glob: look for an unclosed [ or {"))
	}
	return faults
}

// Probe implements [sdk.Prober].
func (c *SourceConfig) Probe(context.Context, sdk.Probe) []sdk.FieldError {
	files, err := c.list()
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errNoFile):
		// What was read already may be gone by the next start.
		return []sdk.FieldError{sdk.Warnf("path", "%v at present", err)}
	case err != nil:
		return []sdk.FieldError{sdk.Faultf("path", "%v", err)}
	}
	for _, f := range files[:min(len(files), probed)] {
		if err := readable(f.path); err != nil {
			return []sdk.FieldError{sdk.Faultf("path", "%v", err)}
		}
	}
	return nil
}

// probed is how many files are tried before a start; the others are as they open.
const probed = 1000

// readable tells why a file cannot be opened, unless it is gone.
func readable(path string) error {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return readError(path, err)
	}
	return f.Close()
}

// readError says what to do about a file that may not be read.
func readError(path string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%s may not be read by this user: give it the right to (%w)", path, err)
	}
	return err
}

// Source returns the component.
func Source() sdk.Component {
	return sdk.NewSource("file", "Reads the lines of files: once, or as they grow.",
		func(_ context.Context, cfg *SourceConfig, t *sdk.Task) (*source, error) { return newSource(cfg, t) },
		sdk.Bounded(),
		sdk.Description(`Files that end in .gz or .zst are read as what they hold. A line above the
pipeline's max_record is a failed record, and reading goes on behind it. So is one that is not of the format.`),
		sdk.Example("Every log of a folder", "path: logs/*.log\n"),
		sdk.Example("Comma-separated values, with the names of the columns in the first line",
			"path: orders/*.csv\nformat: csv\ncsv: {types: {id: integer, amount: number}}\n"),
		sdk.Example("A growing file", "path: /var/log/app.log\nfollow: true\nstart: end\n"))
}
