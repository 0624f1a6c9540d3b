package main

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"github.com/weirstream/weir/host/catalog"
	"github.com/weirstream/weir/host/console"
	"github.com/weirstream/weir/host/pipeline"
)

func newPluginList() *cobra.Command {
	var (
		format outputFormat
		dirs   []string
		file   string
	)
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List plugins: what was found where, and what was ignored and why",
		Long: `Ls starts every plugin that it finds and asks it what it is: the one that comes
with weir, those that a pipeline file declares, and executables called
weir-plugin-NAME in, in this order, the folders of --plugin-dir and of
$WEIR_PLUGIN_PATH, plugins/ and bin/ here (beside the pipeline file, where one is
given), the user's data folder, and the folder of weir itself. Below them stand the
files that are not used, each with the reason.`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			plugins, err := declared(file)
			if err != nil {
				return err
			}
			var all []catalog.Listing
			err = withCatalog(cmd.Context(), filepath.Dir(file), dirs, func(c *catalog.Catalog) error {
				all = c.List(cmd.Context(), plugins...)
				return nil
			})
			if err == nil {
				err = printListings(cmd.OutOrStdout(), all, format)
			}
			if err != nil {
				return failed(err)
			}
			return nil
		},
	}
	format.flag(cmd)
	pluginDirFlag(cmd, &dirs)
	pipelineFlag(cmd, &file)
	return cmd
}

// pluginLine is a listing as it is printed.
type pluginLine struct {
	Name       string   `json:"name"`
	Version    string   `json:"version,omitempty"`
	Protocol   int      `json:"protocol,omitempty"`
	Origin     string   `json:"origin"`
	Path       string   `json:"path,omitempty"`
	Components []string `json:"components,omitempty"`
	Ignored    string   `json:"ignored,omitempty"`
}

func printListings(w io.Writer, all []catalog.Listing, format outputFormat) error {
	lines := make([]pluginLine, 0, len(all))
	for _, l := range all {
		line := pluginLine{Name: l.Name, Protocol: l.Protocol, Origin: string(l.Origin), Path: l.Path, Ignored: l.Ignored}
		if l.Origin == catalog.BuiltIn {
			line.Path = ""
		}
		if l.Manifest != nil {
			line.Version = l.Manifest.Version
			for _, c := range l.Manifest.Components {
				line.Components = append(line.Components, pipeline.KindName(c.Kind)+" "+c.Name)
			}
		}
		lines = append(lines, line)
	}
	if format == formatJSON {
		return json.NewEncoder(w).Encode(lines)
	}
	width := console.Width(w, pageWidth)
	var b, ignored strings.Builder
	for _, l := range lines {
		from := l.Origin
		if l.Path != "" {
			from = l.Path
		}
		if l.Ignored != "" {
			// The path stands above already.
			why := strings.NewReplacer(" ("+l.Path+")", "", l.Path+" ", "").Replace(strings.TrimPrefix(l.Ignored, "plugin "+l.Name+": "))
			fmt.Fprintf(&ignored, "  %s\n%s\n", from, hanging(why, width, "    "))
			continue
		}
		fmt.Fprintf(&b, "%s %s (%s, protocol %d)\n%s\n", l.Name, l.Version, from, l.Protocol, hanging(strings.Join(l.Components, ", "), width, "  "))
	}
	if ignored.Len() > 0 {
		fmt.Fprintf(&b, "\nignored:\n%s", ignored.String())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// hanging wraps each line of s and puts an indent in front.
func hanging(s string, width int, indent string) string {
	var out []string
	for _, line := range strings.Split(s, "\n") {
		room := max(width-len(indent), 20)
		if wrapped := text.WrapSoft(line, room); !strings.Contains(strings.TrimSpace(line), " ") {
			out = append(out, indent+line) // a path, say: nothing to wrap at
		} else {
			for _, part := range strings.Split(wrapped, "\n") {
				out = append(out, strings.TrimRight(indent+part, " "))
			}
		}
	}
	return strings.Join(out, "\n")
}
