// Command weir-plugin-benchfile serves them beside the first-party file
// components, so that all of them can be chained in one process.
package main

import (
	"github.com/weirstream/weir/bench/components"
	"github.com/weirstream/weir/plugins/file"
	"github.com/weirstream/weir/sdk"
)

func main() {
	all := append(components.Components(), file.Source(), file.Sink())
	sdk.Serve(sdk.Plugin{Name: "benchfile", Version: "1.0.0"}, all...)
}
