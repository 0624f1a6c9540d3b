package main

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

//go:embed first.yaml
var firstPipeline []byte

func newInit() *cobra.Command {
	return &cobra.Command{
		Use:   "init [FILE]",
		Short: "Write a first pipeline to start from",
		Long: `Init writes a pipeline with comments, pipeline.yaml unless FILE says otherwise, that
runs as it is: it makes up orders, sorts out the large ones and writes both to files.
It asks nothing and overwrites nothing.`,
		Args: arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file := "pipeline.yaml"
			if len(args) == 1 {
				file = args[0]
			}
			return writeFirst(file, cmd.OutOrStdout())
		},
	}
}

// writeFirst writes the first pipeline to a file that must not exist.
func writeFirst(file string, out io.Writer) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		return badInput(err)
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	switch {
	case errors.Is(err, fs.ErrExist):
		return badInput(fmt.Errorf("%s exists, and nothing is overwritten: name another file", file))
	case err != nil:
		return badInput(err)
	}
	_, err = f.Write(firstPipeline)
	if err = errors.Join(err, f.Close()); err != nil {
		return failed(errors.Join(err, os.Remove(file)))
	}
	_, err = fmt.Fprintf(out, `%[1]s is written. Next:

    weir validate %[1]s
        every fault at once, and what holds for each sink
    weir run %[1]s
        to the end of its input; run it again after any interruption
    weir plugin ls
        what else there is to read from, change and write to
`, file)
	return err
}
