package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/host/console"
	"github.com/weirstream/weir/host/engine"
	"github.com/weirstream/weir/host/local"
	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/host/process"
	"github.com/weirstream/weir/host/secret"
	"github.com/weirstream/weir/host/telemetry"
)

// runOptions are the flags of `weir run`.
type runOptions struct {
	file             string
	stateDir         string
	pluginDirs       []string
	log              logFlags
	format           outputFormat
	fresh            bool
	adopt            bool
	acceptDuplicates bool
	progress         string
	api              apiFlags
	tls              tlsFiles // of --listen
	from             string
	retract          bool
	allowDropped     []string
	limit            uint64
	until            string
	dryRun           bool
}

func newRun() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run FILE",
		Short: "Run a pipeline here; run it again to resume",
		Long: `Run reads a pipeline file and runs it in this process and its plugins, until all
input has been read, or until it is stopped. Whatever ends it, running it again
resumes from the last checkpoint, and every record comes out exactly once.

SIGINT and SIGTERM make a final checkpoint, publish its output and exit with 130
or 143. A second one exits at once, and nothing is lost either.

--limit N ends the run, as weir stop does, when every source has read N records or
has ended: its final checkpoint is complete, its output published, and the next run
goes on behind it. Each task of a source reads N records and no more; where it reads
several splits at the same time it may be a few more. They count from the start of
the run, and anew after a rollback.

--until caught-up ends it in the same way when every source has been at the end of
its input for three seconds, as it says itself (its lag is 0, or it has read all
bytes that it knows of). A source that says nothing of the kind is an error.

--dry-run does everything but write: each sink counts what it gets and throws it
away. It begins without state, as the first run of a pipeline does, changes no state
of the pipeline, leaves none behind, and may go on beside a run of the same file.
Sources hear of no checkpoint, so that a Kafka source commits no offset.`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.file = args[0]
			switch {
			case o.from != "" && o.fresh:
				return badInput(errors.New("--from starts from a savepoint or checkpoint, --fresh from nothing: use one of them"))
			case o.retract && o.from == "":
				return badInput(errors.New("--retract is for a start from an older savepoint or checkpoint: say which with --from"))
			case o.until != "" && o.until != untilCaughtUp:
				return badInput(fmt.Errorf("--until: %q is not known; there is: %s", o.until, untilCaughtUp))
			case o.until != "" && o.limit > 0:
				return badInput(errors.New("--limit ends after some records, --until after all: use one of them"))
			case o.dryRun && (o.from != "" || o.fresh || o.adopt || o.acceptDuplicates):
				return badInput(errors.New("--dry-run begins without any state and leaves none: --from, --fresh, --adopt and --accept-duplicates mean nothing to it"))
			}
			return runPipeline(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	stateDirFlag(cmd, &o.stateDir)
	pluginDirFlag(cmd, &o.pluginDirs)
	o.log.flags(cmd)
	o.api.flags(cmd)
	o.tls.listenFlags(cmd)
	o.format.flag(cmd)
	cmd.Flags().BoolVar(&o.fresh, "fresh", false, "start over: forget the state, leave published output where it is")
	cmd.Flags().BoolVar(&o.adopt, "adopt", false, "take over the state of the same name that another file made")
	cmd.Flags().BoolVar(&o.acceptDuplicates, "accept-duplicates", false, "if the newest checkpoint is damaged, restore an older one although output may come twice")
	cmd.Flags().StringVar(&o.from, "from", "", "start from this savepoint, or from the checkpoint of this number, and leave newer ones behind")
	cmd.Flags().BoolVar(&o.retract, "retract", false, "with --from: let the sinks withdraw what later checkpoints have published")
	cmd.Flags().StringSliceVar(&o.allowDropped, "allow-dropped-state", nil, "nodes whose state may be dropped, since they are gone or are other components now")
	cmd.Flags().Uint64Var(&o.limit, "limit", 0, "stop after a final checkpoint when every source has read so many records")
	cmd.Flags().StringVar(&o.until, "until", "", "caught-up: stop after a final checkpoint when every source is at the end of its input")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "do everything but write: count what sinks get, keep no state")
	cmd.Flags().StringVar(&o.progress, "progress", "auto", "auto (a table on a terminal, else plain), plain (log lines) or none")
	return cmd
}

// runPipeline is `weir run`.
func runPipeline(parent context.Context, o runOptions, out, errOut io.Writer) error {
	launched := time.Now()
	ctx, signals := watchSignals(parent)
	defer signals.stop()

	screen, err := console.New(errOut, o.progress)
	if err != nil {
		return badInput(err)
	}
	mask := &secret.Mask{}
	log, records, err := o.log.logger(screen, console.IsTerminal(errOut), mask)
	if err != nil {
		return err
	}
	tcp, token, err := o.listen()
	if err != nil {
		return badInput(err)
	}
	if tcp != nil {
		defer tcp.Close()
	}

	// The processes that check the file go on to run it, so they must hold the
	// pipeline's lock from their start: the name is needed before the file is
	// checked.
	name := peekName(o.file)
	if o.dryRun {
		dir, err := os.MkdirTemp("", "weir-dry-run-")
		if err != nil {
			return failed(err)
		}
		defer func() {
			if err := os.RemoveAll(dir); err != nil {
				log.Warn("remove the state of the dry run", "error", err)
			}
		}()
		o.stateDir = dir
	}
	var home *local.Home
	defer func() {
		if home != nil {
			if err := home.Close(); err != nil {
				log.Error("close the state folder", "error", err)
			}
		}
	}()
	if name != "" {
		if home, err = local.Open(ctx, o.stateDir, name, log); err != nil {
			return failed(err)
		}
	}
	opts := process.Options{Log: log, Mask: mask}
	if f, ok := out.(*os.File); ok {
		opts.Stdout = f
	}
	if home != nil {
		opts.Inherit, opts.DumpDir = home.Inherit(), home.DumpDir()
	}
	sockets, removeSockets, err := socketDir(home)
	if err != nil {
		return failed(err)
	}
	defer func() {
		if err := removeSockets(); err != nil {
			log.Warn("remove the folder for sockets", "error", err)
		}
	}()
	opts.SocketDir = sockets
	plugins, err := newCatalog(filepath.Dir(o.file), o.pluginDirs, opts)
	if err != nil {
		return failed(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if err := plugins.Close(ctx); err != nil {
			log.Warn("stop plugins that were not used", "error", err)
		}
	}()

	p, report := pipeline.Load(ctx, o.file, pipeline.Options{Catalog: plugins, Mask: mask})
	if !report.OK() {
		if ctx.Err() != nil {
			return signals.exit(nil)
		}
		return badInput(report.Err())
	}
	for _, w := range report.Warnings() {
		fmt.Fprintln(screen, w)
	}
	if o.dryRun {
		if p, err = dryRun(ctx, p, plugins); err != nil {
			return failed(err)
		}
	}
	if home == nil || name != p.Name {
		if home != nil {
			if err := home.Close(); err != nil {
				return failed(err)
			}
		}
		if home, err = local.Open(ctx, o.stateDir, p.Name, log); err != nil {
			return failed(err)
		}
		// Plugins keep their folder; the API's socket is where others look for it.
		var removeOwn func() error
		if sockets, removeOwn, err = home.Sockets(); err != nil {
			return failed(err)
		}
		defer func() { _ = removeOwn() }()
	}
	store, err := local.OpenStorage(ctx, o.stateDir, p.Name, p.Checkpoint.Storage, storageOptions()...)
	if err != nil {
		return failed(fmt.Errorf("checkpoint storage: %w", err))
	}
	defer store.Close()
	spec := local.Spec{File: o.file, Source: string(p.Source), Storage: store.String()}
	if err := home.Claim(ctx, p.Name, spec, o.adopt); err != nil {
		var other *local.OtherFileError
		if errors.As(err, &other) {
			return badInput(err)
		}
		return failed(err)
	}
	if o.fresh {
		if err := startOver(ctx, home, p.Name, screen); err != nil {
			return failed(err)
		}
	}

	var sent *telemetry.Telemetry
	e := engine.New(engine.Config{
		OnCheckpoint: func(c engine.CheckpointTrace) { sent.Checkpoint(c) },
		Pipeline:     p, Store: home.Store(), Leadership: home.Leadership(), Storage: store, Log: log, Scratch: home.ScratchDir(),
		Until: engine.Until{Records: o.limit, CaughtUp: o.until == untilCaughtUp}, DryRun: o.dryRun,
		AcceptDuplicates: o.acceptDuplicates, From: o.from, Withdraw: o.retract, AllowDropped: o.allowDropped,
		Start: func(ctx context.Context, pl pipeline.Plugin) (engine.Process, error) {
			return plugins.Start(ctx, pl, home.Inherit())
		},
	})
	signals.onFirst(func() {
		log.Info("stopping after a final checkpoint; a second signal stops at once, and loses nothing either")
		e.Stop()
	})
	if writesToStdout(p) {
		// What a person or a pipe wants of standard output is the records.
		screen.Plain()
		if o.format == formatText {
			out = errOut
		}
	}
	running := home.NewRunning(p, e, records)
	if sent, err = startTelemetry(ctx, running, log); err != nil {
		return badInput(err)
	}
	defer closeTelemetry(ctx, sent, log)
	served, err := serveAPI(running, sockets, tcp, token, log)
	if err != nil {
		return failed(err)
	}
	stopScreen := screen.Show(e.Status, log)
	outcome, err := e.Run(ctx)
	stopScreen()
	running.End(outcome)
	if outcome.Before != nil {
		// What that run noted stands.
	} else if noteErr := home.NoteEnd(context.WithoutCancel(ctx), running); noteErr != nil {
		log.Warn("how the run ended cannot be noted", "error", noteErr)
	}
	served.close()
	status := e.Status()
	if err != nil && ctx.Err() == nil {
		var from *checkpoint.FromError
		if errors.As(err, &from) {
			return badInput(fmt.Errorf("pipeline %s: %w", p.Name, err))
		}
		return failed(fmt.Errorf("pipeline %s failed: %w", p.Name, err))
	}
	summary := console.Summary{Status: status, Outcome: outcome, Took: time.Since(launched), DryRun: o.dryRun}
	if o.format == formatJSON {
		err = summary.JSON(out)
	} else {
		err = summary.Text(out)
	}
	if err != nil {
		return failed(err)
	}
	return signals.exit(nil)
}

// writesToStdout says whether a sink of the pipeline shares our standard output.
func writesToStdout(p *pipeline.Pipeline) bool {
	for _, n := range p.Nodes {
		if n.Plugin == pipeline.FirstParty && n.Component == "stdout" {
			return true
		}
	}
	return false
}

// socketDir is where plugins' sockets go while there may be no state folder yet.
func socketDir(home *local.Home) (dir string, remove func() error, err error) {
	if home == nil {
		return process.SocketDir("")
	}
	return home.Sockets()
}

// startOver gives the pipeline a new identity and says what stays behind.
func startOver(ctx context.Context, home *local.Home, name string, w io.Writer) error {
	h, err := checkpoint.NewLedger(home.Store(), home.Leadership(), name).Fresh(ctx, "")
	if errors.Is(err, coordination.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("start over: %w", err)
	}
	forgotten := "it had no checkpoint"
	switch n := len(h.Records); {
	case n == 1:
		forgotten = fmt.Sprintf("checkpoint %d of %s is forgotten", h.Records[0].N, h.Records[0].CompletedAt.Local().Format(time.DateTime))
	case n > 1:
		forgotten = fmt.Sprintf("its %d checkpoints are forgotten, the newest of them %d of %s", n, h.Records[0].N, h.Records[0].CompletedAt.Local().Format(time.DateTime))
	}
	_, err = fmt.Fprintf(w, `starting over: %s leaves its former state behind (uid %s): %s.
What its sinks have published stays where it is; what they had prepared and not
published is left behind too.
`, name, h.Lineage.UID, forgotten)
	return err
}

// peekName reads a pipeline's name where it is plain to see; empty otherwise.
func peekName(file string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	var head struct {
		Name string `yaml:"name"`
	}
	if err := yaml.Unmarshal(data, &head); err != nil || head.Name == "" || strings.ContainsAny(head.Name, `/\$`) || !filepath.IsLocal(head.Name) {
		return ""
	}
	return head.Name
}

// signalWatch turns the first SIGINT or SIGTERM into a graceful stop and the
// second into an immediate one.
type signalWatch struct {
	first  atomic.Pointer[os.Signal]
	asked  chan struct{}
	cancel context.CancelFunc
	done   chan struct{}
	ch     chan os.Signal
}

func watchSignals(parent context.Context) (context.Context, *signalWatch) {
	ctx, cancel := context.WithCancel(parent)
	w := &signalWatch{asked: make(chan struct{}), cancel: cancel, done: make(chan struct{}), ch: make(chan os.Signal, 4)}
	signal.Notify(w.ch, os.Interrupt, syscall.SIGTERM)
	go func() {
		defer close(w.done)
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case s := <-w.ch:
				if n == 0 {
					w.first.Store(&s)
					close(w.asked)
				} else {
					cancel()
					return
				}
			}
		}
	}()
	return ctx, w
}

// onFirst calls f at the first signal, or now if that has come.
func (w *signalWatch) onFirst(f func()) {
	go func() {
		select {
		case <-w.asked:
			f()
		case <-w.done:
		}
	}()
}

func (w *signalWatch) stop() {
	signal.Stop(w.ch)
	w.cancel()
	<-w.done
}

// exit returns the exit code that a signal asks for, or err.
func (w *signalWatch) exit(err error) error {
	s := w.first.Load()
	switch {
	case s == nil:
		return err
	case *s == syscall.SIGTERM:
		return &exitError{exitSIGTERM, err}
	default:
		return &exitError{exitSIGINT, err}
	}
}
