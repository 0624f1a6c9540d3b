// Package firstparty is the plugin `weir`: every component that comes with Weir,
// served by the weir binary itself.
package firstparty

import (
	"github.com/weirstream/weir/plugins/aggregate"
	"github.com/weirstream/weir/plugins/dedup"
	"github.com/weirstream/weir/plugins/discard"
	"github.com/weirstream/weir/plugins/eventtime"
	"github.com/weirstream/weir/plugins/expr"
	"github.com/weirstream/weir/plugins/file"
	"github.com/weirstream/weir/plugins/generator"
	"github.com/weirstream/weir/plugins/join"
	"github.com/weirstream/weir/plugins/kafka"
	"github.com/weirstream/weir/plugins/route"
	"github.com/weirstream/weir/plugins/stdout"
	"github.com/weirstream/weir/plugins/window"
	"github.com/weirstream/weir/sdk"
)

// Components returns all first-party components.
func Components() []sdk.Component {
	return []sdk.Component{
		file.Source(),
		generator.Source(),
		kafka.Source(),
		expr.Operator(),
		eventtime.Operator(),
		route.Operator(),
		window.Operator(),
		aggregate.Operator(),
		dedup.Operator(),
		join.Operator(),
		file.Sink(),
		kafka.Sink(),
		stdout.Sink(),
		discard.Sink(),
	}
}

// Serve serves them to the host that started this process.
func Serve() {
	sdk.Serve(sdk.Plugin{Name: "weir", Version: "0.1.0"}, Components()...)
}
