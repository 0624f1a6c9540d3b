package storage

import (
	"context"
	"errors"
	"io"

	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"
	"gocloud.dev/gcerrors"
)

func openMem(context.Context, string) (Driver, error) {
	return NewBucket(memblob.OpenBucket(nil)), nil
}

// bucketDriver keeps objects in a bucket of gocloud.dev.
type bucketDriver struct{ bucket *blob.Bucket }

// NewBucket makes a driver of a bucket, which it closes.
func NewBucket(b *blob.Bucket) Driver { return bucketDriver{bucket: b} }

func (d bucketDriver) Write(ctx context.Context, name string, data []byte) error {
	return translate(d.bucket.WriteAll(ctx, name, data, &blob.WriterOptions{ContentType: "application/octet-stream"}))
}

func (d bucketDriver) Read(ctx context.Context, name string) ([]byte, error) {
	data, err := d.bucket.ReadAll(ctx, name)
	return data, translate(err)
}

func (d bucketDriver) List(ctx context.Context, prefix string) ([]Info, error) {
	var infos []Info
	it := d.bucket.List(&blob.ListOptions{Prefix: prefix})
	for {
		o, err := it.Next(ctx)
		switch {
		case errors.Is(err, io.EOF):
			return infos, nil
		case err != nil:
			return nil, translate(err)
		}
		infos = append(infos, Info{Name: o.Key, Size: o.Size, Modified: o.ModTime})
	}
}

func (d bucketDriver) Delete(ctx context.Context, name string) error {
	err := d.bucket.Delete(ctx, name)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return nil
	}
	return translate(err)
}

func (d bucketDriver) Close() error { return d.bucket.Close() }

func translate(err error) error {
	if err != nil && gcerrors.Code(err) == gcerrors.NotFound {
		return ErrNotFound
	}
	return err
}
