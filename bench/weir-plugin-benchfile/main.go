// Command weir-plugin-benchfile serves them beside the first-party components of
// files and Kafka, windows and discard, so that all of them can be chained in one process.
package main

import (
	"github.com/weirstream/weir/bench/components"
	"github.com/weirstream/weir/plugins/discard"
	"github.com/weirstream/weir/plugins/file"
	"github.com/weirstream/weir/plugins/kafka"
	"github.com/weirstream/weir/plugins/window"
	"github.com/weirstream/weir/sdk"
)

func main() {
	all := append(components.Components(), file.Source(), file.Sink(), kafka.Source(), kafka.Sink(), window.Operator(), discard.Sink())
	sdk.Serve(sdk.Plugin{Name: "benchfile", Version: "1.0.0"}, all...)
}
