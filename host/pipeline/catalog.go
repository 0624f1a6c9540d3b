package pipeline

import (
	"context"
	"errors"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// Catalog knows the plugins that this machine can run. Load calls it from one
// goroutine at a time. What it answers about a plugin does not change during
// one Load.
//
// A plugin is named by a [Plugin]: as the file declares it, or with nothing but
// a name where the file does not.
type Catalog interface {
	// Manifest returns what the plugin says about itself. The error is, or wraps,
	// ErrUnknownPlugin where no such plugin is declared or installed; any other
	// error says why the plugin cannot be asked (not executable, not a plugin, of
	// a protocol version that the host does not speak) and goes into the report
	// as it is.
	Manifest(ctx context.Context, p Plugin) (*pluginv1.Manifest, error)

	// Validate lets the plugin check one component's configuration offline.
	Validate(ctx context.Context, p Plugin, req *pluginv1.ValidateRequest) (*pluginv1.ValidateResponse, error)

	// Installed lists the names of plugins that could be used without being
	// declared, for hints. It may be empty.
	Installed(ctx context.Context) []string
}

// Warmer is an optional interface of a Catalog that asks several plugins at the
// same time, so that the calls of Manifest that follow need not wait for each of
// them in turn. It reports nothing: Manifest does.
type Warmer interface {
	Warm(ctx context.Context, plugins ...Plugin)
}

// ErrUnknownPlugin says that no plugin of a name is declared or installed.
var ErrUnknownPlugin = errors.New("unknown plugin")
