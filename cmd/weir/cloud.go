//go:build cloud

package main

import (
	"github.com/weirstream/weir/checkpoint/storage"
	"github.com/weirstream/weir/checkpoint/storage/cloud"
)

// storageOptions adds object stores: s3, gs and azblob.
func storageOptions() []storage.Option {
	return []storage.Option{storage.WithOpener(cloud.Open, cloud.Schemes...)}
}
