// Command weir-plugin-mask is a Weir plugin with two operators: mask hides parts of
// values, upper turns letters into capitals.
package main

import "github.com/weirstream/weir/sdk"

func main() {
	sdk.Serve(sdk.Plugin{Name: "mask", Version: "1.0.0"}, maskComponent(), upperComponent())
}
