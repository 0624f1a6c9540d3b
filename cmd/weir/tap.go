package main

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/weirstream/weir/host/api"
	"github.com/weirstream/weir/plugins/expr"
	"github.com/weirstream/weir/sdk"
)

// tapOptions are the flags of `weir tap`.
type tapOptions struct {
	query  api.TapQuery
	limit  int
	filter string
	format outputFormat
}

func newTap() *cobra.Command {
	var f serverFlags
	var o tapOptions
	cmd := &cobra.Command{
		Use:   "tap NAME[.NODE[.OUTPUT]]",
		Short: "Show records as they pass through a running pipeline",
		Long: `Tap shows records that pass on an output of a node, on all outputs of a node, or on
all of a pipeline; of a sink, what comes into it. It shows where each passed, its
origin where it carries one, its time, key, headers and value.

The pipeline is not slowed down: of each output some hundred records a second are
shown at the most, and the number of those that passed beside them is said. So a
--filter, a condition as the expr operator has it, looks at those alone.

Masked as ` + api.Masked + ` are the values of secrets of the pipeline file, and headers and
fields of JSON values whose names look secret (password, client_secret, X-Api-Key,
Authorization, ...) or are given with --mask.`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, point, _ := strings.Cut(args[0], ".")
			o.query.Node, o.query.Output, _ = strings.Cut(point, ".")
			if o.limit < 0 {
				return badInput(fmt.Errorf("--limit: %d is less than 0", o.limit))
			}
			passes := func(sdk.Row) (bool, error) { return true, nil }
			if o.filter != "" {
				var err error
				if passes, err = expr.Filter(o.filter); err != nil {
					return badInput(fmt.Errorf("--filter: %w", err))
				}
			}
			ctx, signals := watchSignals(cmd.Context())
			defer signals.stop()
			signals.onFirst(signals.cancel)
			return f.ask(func(p pipelines) error {
				return printTapped(ctx, p.Tap(ctx, name, o.query), passes, o, cmd.OutOrStdout(), cmd.ErrOrStderr())
			})
		},
	}
	f.flags(cmd)
	o.format.flag(cmd)
	cmd.Flags().IntVar(&o.limit, "limit", 0, "end after so many records; 0 goes on until the run ends")
	cmd.Flags().StringVar(&o.filter, "filter", "", "show those records alone for which this condition holds, such as 'json.status >= 500'")
	cmd.Flags().StringSliceVar(&o.query.Mask, "mask", nil, "headers and fields of JSON values to mask beside those whose names look secret")
	return cmd
}

// printTapped prints records until there are no more, or enough.
func printTapped(ctx context.Context, records func(func(api.TapRecord, error) bool), passes func(sdk.Row) (bool, error), o tapOptions, w, errOut io.Writer) error {
	var shown int
	var dropped, before uint64
	lines := json.NewEncoder(w)
	for r, err := range records {
		if err != nil {
			return err
		}
		dropped += r.Dropped
		before += r.Dropped
		ok, err := passes(row(r))
		if err != nil {
			return badInput(fmt.Errorf("--filter: %w", err))
		}
		if !ok {
			continue
		}
		r.Dropped, before = before, 0
		if o.format == formatJSON {
			err = lines.Encode(r)
		} else {
			err = printRecord(w, r)
		}
		if err != nil {
			return failed(err)
		}
		if shown++; shown == o.limit {
			break
		}
	}
	if o.format == formatText {
		fmt.Fprintf(errOut, "%s shown, %s passed beside them\n", counted(shown, "record"), humanize.Comma(int64(dropped)))
	}
	if ctx.Err() != nil && shown != o.limit {
		return context.Cause(ctx)
	}
	return nil
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return humanize.Comma(int64(n)) + " " + what + "s"
}

// row is a record as conditions see it.
func row(r api.TapRecord) sdk.Row {
	out := sdk.Row{Key: tapBytes(r.Key), Value: tapBytes(r.Value)}
	if r.Time != nil {
		out.Time = sdk.TimeOf(*r.Time)
	}
	for _, h := range r.Headers {
		out.Headers = out.Headers.Add(h.Name, tapBytes(h.Value))
	}
	return out
}

func tapBytes(d *api.TapData) []byte {
	switch {
	case d == nil:
		return nil
	case d.Base64 != nil:
		return d.Base64
	}
	return append([]byte{}, d.Text...)
}

// printRecord prints a record on a line: where it passed, its origin, time, key and
// headers, and then its value.
func printRecord(w io.Writer, r api.TapRecord) error {
	var b strings.Builder
	if r.Dropped > 0 {
		fmt.Fprintf(&b, "... %s more\n", humanize.Comma(int64(r.Dropped)))
	}
	if r.Host != "" {
		b.WriteString(r.Host + " ")
	}
	fmt.Fprintf(&b, "%s.%s[%d]", r.Node, r.Output, r.Task)
	if r.Split != "" {
		fmt.Fprintf(&b, "  %s#%d", r.Split, *r.Ordinal)
	}
	if r.Time != nil {
		b.WriteString("  " + r.Time.Format(time.RFC3339Nano))
	}
	if r.Key != nil {
		b.WriteString("  key=" + oneWord(shownData(r.Key)))
	}
	for _, h := range r.Headers {
		fmt.Fprintf(&b, "  %s:%s", oneWord(shownText(h.Name)), oneWord(shownData(h.Value)))
	}
	b.WriteString("  " + shownData(r.Value) + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// shownData is bytes of a record on one line.
func shownData(d *api.TapData) string {
	if d == nil {
		return "null"
	}
	text := shownText(d.Text)
	if d.Base64 != nil {
		text = "base64 " + base64.StdEncoding.EncodeToString(d.Base64)
	}
	if d.Bytes > 0 {
		text += fmt.Sprintf("... (%s)", humanize.IBytes(uint64(d.Bytes)))
	}
	return cmp.Or(text, `""`)
}

// oneWord is a text in quotes where its end could not be seen.
func oneWord(s string) string {
	if strings.Contains(s, " ") && !strings.HasPrefix(s, `"`) {
		return strconv.Quote(s)
	}
	return s
}

// shownText is a text that a terminal prints as it is, or in quotes.
func shownText(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}
