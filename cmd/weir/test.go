package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirstream/weir/host/catalog"
	"github.com/weirstream/weir/host/engine"
	"github.com/weirstream/weir/host/junit"
	"github.com/weirstream/weir/host/local"
	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/host/pipetest"
	"github.com/weirstream/weir/host/process"
	"github.com/weirstream/weir/host/secret"
	"github.com/weirstream/weir/plugins/testio"
)

const formatJUnit outputFormat = "junit"

// testOptions are the flags of `weir test`.
type testOptions struct {
	format     outputFormat
	pluginDirs []string
	update     bool
	run        string
	timeout    time.Duration
	log        logFlags
}

// testReport is what became of one file of cases.
type testReport struct {
	File  string       `json:"file"`
	Cases []caseReport `json:"cases"`
}

type caseReport struct {
	Name    string            `json:"name"`
	Passed  bool              `json:"passed"`
	Seconds float64           `json:"seconds"`
	Error   string            `json:"error,omitempty"`
	Diffs   map[string]string `json:"diffs,omitempty"`
}

func newTest() *cobra.Command {
	var o testOptions
	cmd := &cobra.Command{
		Use:   "test FILE|DIR...",
		Short: "Run the test cases of pipelines",
		Long: `Test runs the cases in NAME.test.yaml on the pipeline NAME.yaml: given records come in
place of its sources, and what reaches its sinks, or leaves any other node, is
compared with what is expected. Operators are the real ones, in processes of their
own. FILE is a pipeline or a file of cases; in DIR all files of cases are found.

Exit status: 0 all cases passed, 1 one failed, 2 a file is wrong.`,
		Args: arguments(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runTests(cmd.Context(), args, o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.format.flag(cmd, formatJUnit)
	pluginDirFlag(cmd, &o.pluginDirs)
	o.log.flags(cmd)
	cmd.Flags().Lookup("log-level").DefValue = "error"
	o.log.level = "error"
	cmd.Flags().BoolVar(&o.update, "update", false, "write what came as what is expected into the files")
	cmd.Flags().StringVar(&o.run, "run", "", "run the cases alone whose name matches this regular expression")
	cmd.Flags().DurationVar(&o.timeout, "timeout", time.Minute, "for one case")
	return cmd
}

func runTests(ctx context.Context, args []string, o testOptions, out, errOut io.Writer) error {
	only, err := regexp.Compile(o.run)
	if err != nil {
		return badInput(fmt.Errorf("--run: %w", err))
	}
	mask := &secret.Mask{}
	log, _, err := o.log.logger(errOut, false, mask)
	if err != nil {
		return err
	}
	files, err := testFiles(args)
	if err != nil {
		return badInput(err)
	}
	var all []testReport
	failures, ran := 0, 0
	for _, file := range files {
		report, err := testFile(ctx, file, only, o, log, mask, out)
		if err != nil {
			return err
		}
		all = append(all, report)
		for _, c := range report.Cases {
			ran++
			if !c.Passed {
				failures++
			}
		}
	}
	if err := printTests(out, all, ran, failures, o.format); err != nil {
		return failed(err)
	}
	switch {
	case ran == 0:
		return badInput(errors.New("no case was run: --run leaves none"))
	case failures > 0:
		return &exitError{exitFailed, nil}
	}
	return nil
}

// testFiles finds the files of cases that the arguments mean.
func testFiles(args []string) ([]string, error) {
	var files []string
	for _, arg := range args {
		info, err := os.Stat(arg)
		switch {
		case err != nil:
			return nil, err
		case !info.IsDir() && strings.HasSuffix(arg, pipetest.Suffix):
			files = append(files, arg)
		case !info.IsDir():
			cases := strings.TrimSuffix(arg, filepath.Ext(arg)) + pipetest.Suffix
			if _, err := os.Stat(cases); err != nil {
				return nil, fmt.Errorf("%s has no cases beside it: %w", arg, err)
			}
			files = append(files, cases)
		default:
			before := len(files)
			err := filepath.WalkDir(arg, func(path string, d fs.DirEntry, err error) error {
				if err == nil && !d.IsDir() && strings.HasSuffix(path, pipetest.Suffix) {
					files = append(files, path)
				}
				return err
			})
			if err == nil && len(files) == before {
				err = fmt.Errorf("no file *%s below %s", pipetest.Suffix, arg)
			}
			if err != nil {
				return nil, err
			}
		}
	}
	return files, nil
}

// testFile runs the cases of one file.
func testFile(ctx context.Context, file string, only *regexp.Regexp, o testOptions, log *slog.Logger, mask *secret.Mask, out io.Writer) (testReport, error) {
	report := testReport{File: file, Cases: []caseReport{}}
	suite, faults := pipetest.Load(file)
	if !faults.OK() {
		return report, badInput(faults.Err())
	}
	err := withCatalog(ctx, filepath.Dir(suite.Pipeline), o.pluginDirs, func(c *catalog.Catalog) error {
		cfg := pipetest.Config{
			Catalog: c,
			Stand:   pipetest.Stand{Source: testio.Plugin + "/" + testio.Input, Sink: testio.Plugin + "/" + testio.Output},
			Run:     func(ctx context.Context, p *pipeline.Pipeline) error { return runOnce(ctx, c, p, log) },
			Timeout: o.timeout,
			Env:     os.LookupEnv,
			Mask:    mask,
		}
		p, faults := suite.Check(ctx, cfg)
		if !faults.OK() {
			return badInput(faults.Err())
		}
		var results []pipetest.Result
		for _, tc := range suite.Cases {
			if !only.MatchString(tc.Name) {
				results = append(results, pipetest.Result{Name: tc.Name})
				continue
			}
			r := suite.Run(ctx, cfg, p, tc)
			if ctx.Err() != nil {
				return failed(context.Cause(ctx))
			}
			results = append(results, r)
			one := reportOf(r)
			report.Cases = append(report.Cases, one)
			if o.format == formatText && !o.update {
				if err := printCase(out, file, one); err != nil {
					return failed(err)
				}
			}
		}
		if !o.update {
			return nil
		}
		changed, err := suite.Update(results)
		if err != nil {
			return failed(err)
		}
		for i, c := range report.Cases {
			report.Cases[i].Passed = c.Error == ""
		}
		if o.format == formatText {
			fmt.Fprintf(out, "%s: %s updated\n", file, counted(changed, "case"))
		}
		return nil
	}, func(c *catalog.Config) {
		c.Process.Mask = mask
		c.Companions = map[string]process.Command{testio.Plugin: companion(c.BuiltIn, serveTestPlugin)}
	})
	var exit *exitError
	if err != nil && !errors.As(err, &exit) {
		err = failed(err)
	}
	return report, err
}

// companion is this binary with another hidden argument.
func companion(self process.Command, argument string) process.Command {
	self.Args = []string{self.Args[0], argument}
	return self
}

// runOnce runs a pipeline to its end, with state that goes with it.
func runOnce(ctx context.Context, plugins *catalog.Catalog, p *pipeline.Pipeline, log *slog.Logger) (err error) {
	dir, err := os.MkdirTemp("", "weir-test-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	home, err := local.Open(ctx, dir, p.Name, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, home.Close()) }()
	store, err := local.OpenStorage(ctx, dir, p.Name, p.Checkpoint.Storage, storageOptions()...)
	if err != nil {
		return err
	}
	defer store.Close()
	_, err = engine.New(engine.Config{
		Pipeline: p, Store: home.Store(), Leadership: home.Leadership(), Storage: store, Log: log, Scratch: home.ScratchDir(),
		Start: func(ctx context.Context, pl pipeline.Plugin) (engine.Process, error) {
			return plugins.Start(ctx, pl, home.Inherit())
		},
	}).Run(ctx)
	return err
}

func reportOf(r pipetest.Result) caseReport {
	c := caseReport{Name: r.Name, Passed: r.Passed(), Seconds: r.Seconds}
	if r.Err != nil {
		c.Error = r.Err.Error()
	}
	for _, d := range r.Diffs {
		if c.Diffs == nil {
			c.Diffs = map[string]string{}
		}
		c.Diffs[d.Node] = d.Text
	}
	return c
}

func printCase(w io.Writer, file string, c caseReport) error {
	var b strings.Builder
	word := "pass"
	if !c.Passed {
		word = "FAIL"
	}
	fmt.Fprintf(&b, "%s  %s: %s (took %s)\n", word, file, c.Name, time.Duration(c.Seconds*float64(time.Second)).Round(time.Millisecond))
	b.WriteString(c.text())
	_, err := io.WriteString(w, b.String())
	return err
}

// text says what was wrong with a case, indented.
func (c caseReport) text() string {
	var b strings.Builder
	if c.Error != "" {
		b.WriteString(indent(c.Error) + "\n")
	}
	for _, node := range slices.Sorted(maps.Keys(c.Diffs)) {
		b.WriteString(indent(node+":\n"+c.Diffs[node]) + "\n")
	}
	return b.String()
}

func printTests(w io.Writer, all []testReport, ran, failures int, format outputFormat) error {
	switch format {
	case formatJSON:
		return json.NewEncoder(w).Encode(all)
	case formatJUnit:
		var suites []junit.Suite
		for _, r := range all {
			s := junit.Suite{Name: r.File}
			for _, c := range r.Cases {
				out := junit.Case{Class: r.File, Name: c.Name, Seconds: c.Seconds}
				switch {
				case c.Error != "":
					out.Error = &junit.Text{Message: "the case could not be run", Text: c.text()}
				case !c.Passed:
					out.Failure = &junit.Text{Message: "differs: " + strings.Join(slices.Sorted(maps.Keys(c.Diffs)), ", "), Text: c.text()}
				}
				s.Cases = append(s.Cases, out)
			}
			suites = append(suites, s)
		}
		return junit.Write(w, suites)
	}
	_, err := fmt.Fprintf(w, "%d passed, %d failed\n", ran-failures, failures)
	return err
}
