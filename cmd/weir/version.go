package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/weirstream/weir/host/pipeline"
	"github.com/weirstream/weir/proto/wire"
)

// version is set by the linker for a release.
var version = ""

// versionInfo is what `weir version` prints.
type versionInfo struct {
	Version  string `json:"version"`
	Protocol int    `json:"plugin_protocol"`
	Format   int    `json:"file_format"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func currentVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}

func newVersion() *cobra.Command {
	var format outputFormat
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print versions: of weir, the plugin protocol and the file format",
		Args:  arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := versionInfo{
				Version: currentVersion(), Protocol: wire.ProtocolVersion, Format: pipeline.FormatVersion,
				Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
			}
			if format == formatJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(v)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "weir %s\nplugin protocol %d, pipeline file format %d\n%s %s\n",
				v.Version, v.Protocol, v.Format, v.Go, v.Platform)
			return err
		},
	}
	format.flag(cmd)
	return cmd
}
