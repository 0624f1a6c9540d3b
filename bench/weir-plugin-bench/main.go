// Command weir-plugin-bench serves the components of the benchmarks alone.
package main

import (
	"github.com/weirstream/weir/bench/components"
	"github.com/weirstream/weir/sdk"
)

func main() {
	sdk.Serve(sdk.Plugin{Name: "bench", Version: "1.0.0"}, components.Components()...)
}
