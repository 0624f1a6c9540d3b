//go:build !cloud

package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/weirstream/weir/checkpoint/storage"
)

// storageOptions says what to do about object stores, whose clients make the
// binary twice as large and its build three times as long.
func storageOptions() []storage.Option {
	refuse := func(_ context.Context, url string) (storage.Driver, error) {
		scheme, _, _ := strings.Cut(url, ":")
		return nil, fmt.Errorf("this binary was built without %s:// storage: build it with `make build`, or `go build -tags cloud ./cmd/weir`", scheme)
	}
	return []storage.Option{storage.WithOpener(refuse, "s3", "gs", "azblob")}
}
