// Package cloud opens object stores as checkpoint storage: s3://bucket/prefix,
// gs://bucket/prefix and azblob://container/prefix, with the parameters and the
// credentials that gocloud.dev documents for each.
//
// It is apart from package storage because the three clients add 35 MB to a
// binary. The program hands it in:
//
//	storage.Open(ctx, url, storage.WithOpener(cloud.Open, cloud.Schemes...))
package cloud

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"gocloud.dev/blob"
	_ "gocloud.dev/blob/azureblob" // registers azblob://
	_ "gocloud.dev/blob/gcsblob"   // registers gs://
	_ "gocloud.dev/blob/s3blob"    // registers s3://

	"github.com/weirstream/weir/checkpoint/storage"
)

// Schemes that Open handles.
var Schemes = []string{"s3", "gs", "azblob"}

// Open opens the bucket of a URL. Its path, if any, is put before every name.
func Open(ctx context.Context, rawURL string) (storage.Driver, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("%w: storage URL", storage.ErrInvalid)
	}
	prefix := strings.Trim(u.Path, "/")
	u.Path = ""
	b, err := blob.OpenBucket(ctx, u.String())
	if err != nil {
		return nil, err
	}
	if prefix != "" {
		b = blob.PrefixedBucket(b, prefix+"/")
	}
	return storage.NewBucket(b), nil
}
