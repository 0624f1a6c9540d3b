// Package storage keeps immutable objects: snapshots and manifests. An object
// is known by its exact name, size and checksum, and whatever does not match all
// three is refused.
//
// file:// is a driver of this package; mem:// keeps objects for the life of the
// process. Object stores (s3://, gs://, azblob://) are in package cloud, which
// weighs tens of megabytes and is handed in with [WithOpener].
package storage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Object names an immutable object. It is found again only by all three.
type Object struct {
	Name     string `json:"name"`
	Size     int64  `json:"size"`
	Checksum string `json:"checksum"` // "sha256:" and hexadecimal digits
}

// Info is what a listing says about an object.
type Info struct {
	Name     string
	Size     int64
	Modified time.Time
}

// Errors, to be found with errors.Is. Those of one object are an *ObjectError.
var (
	// ErrNotFound: there is no object of that name.
	ErrNotFound = errors.New("object not found")
	// ErrCorrupt: the object is not what was written: cut short, or changed.
	ErrCorrupt = errors.New("object corrupt")
	// ErrFull: there is no room, or a quota is used up. Nothing was left behind.
	ErrFull = errors.New("storage full")
	// ErrGone: the place of the storage was removed or replaced while in use.
	ErrGone = errors.New("storage root is gone")
	// ErrInvalid: a malformed URL or name, or a scheme that nobody handles.
	ErrInvalid = errors.New("invalid storage argument")
)

// ObjectError says which object failed, and where it should have been.
type ObjectError struct {
	Op      string // "put", "get", "list" or "delete"
	Name    string
	Storage string // URL without credentials
	Err     error
}

// Error names the operation, the object, the storage and the cause.
func (e *ObjectError) Error() string {
	return fmt.Sprintf("%s %s in %s: %v", e.Op, e.Name, e.Storage, e.Err)
}

// Unwrap returns the cause.
func (e *ObjectError) Unwrap() error { return e.Err }

// CodeObject is the stable code of an ObjectError.
const CodeObject = "storage.object"

// ErrorCode is the stable code that says what the error means.
func (e *ObjectError) ErrorCode() string { return CodeObject }

// Driver is one kind of storage. Storage adds names, checksums and verification
// to it. Methods may be called concurrently.
type Driver interface {
	// Write makes an object, durable when it returns nil. Its name was never used.
	// After an error nothing is left, as far as that is possible.
	Write(ctx context.Context, name string, data []byte) error
	// Read returns a whole object, or ErrNotFound. The bytes belong to the caller.
	Read(ctx context.Context, name string) ([]byte, error)
	// List returns what lies below prefix, which is empty or ends with a slash,
	// sorted by name, leftovers of interrupted writes included.
	List(ctx context.Context, prefix string) ([]Info, error)
	// Delete removes an object. An absent one is no error.
	Delete(ctx context.Context, name string) error
	Close() error
}

// Opener makes the driver of a URL.
type Opener func(ctx context.Context, url string) (Driver, error)

// Option changes what Open does.
type Option func(*options)

type options struct{ openers map[string]Opener }

// WithOpener adds schemes beyond file and mem.
func WithOpener(open Opener, schemes ...string) Option {
	return func(o *options) {
		for _, s := range schemes {
			o.openers[s] = open
		}
	}
}

// Storage is an open place for objects. Methods may be called concurrently.
type Storage struct {
	driver Driver
	url    string
}

// Open opens the storage of a URL. A file:// folder that does not exist is
// made, once: if it is removed later, every call fails with ErrGone.
func Open(ctx context.Context, rawURL string, opts ...Option) (*Storage, error) {
	o := options{openers: map[string]Opener{"file": openFile, "mem": openMem}}
	for _, opt := range opts {
		opt(&o)
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("%w: storage URL: %w", ErrInvalid, redact(err))
	}
	open, ok := o.openers[u.Scheme]
	if !ok {
		known := slices.Sorted(maps.Keys(o.openers))
		return nil, fmt.Errorf("%w: storage URL %s: scheme %q is not one of %s",
			ErrInvalid, public(u), u.Scheme, strings.Join(known, ", "))
	}
	d, err := open(ctx, rawURL)
	if err != nil {
		return nil, fmt.Errorf("open storage %s: %w", public(u), err)
	}
	return New(d, public(u)), nil
}

// New wraps a driver. The url is shown in errors and must hold no credentials.
func New(d Driver, url string) *Storage { return &Storage{driver: d, url: url} }

// public is a URL without what may be secret.
func public(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// redact takes the URL out of a parser's error.
func redact(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// String returns the URL, without credentials.
func (s *Storage) String() string { return s.url }

// Close releases what the driver holds. Objects stay, save those of mem://.
func (s *Storage) Close() error { return s.driver.Close() }

// Put stores data under a name that was never used and returns it only after
// it is durable and was read back.
func (s *Storage) Put(ctx context.Context, name string, data []byte) (Object, error) {
	o := Object{Name: name, Size: int64(len(data)), Checksum: checksum(data)}
	if err := checkName(name); err != nil {
		return Object{}, s.fail("put", name, err)
	}
	if err := s.driver.Write(ctx, name, data); err != nil {
		return Object{}, s.fail("put", name, err)
	}
	if _, err := s.Get(ctx, o); err != nil {
		err = s.fail("put", name, fmt.Errorf("read back: %w", err))
		return Object{}, errors.Join(err, s.driver.Delete(context.WithoutCancel(ctx), name))
	}
	return o, nil
}

// Get reads an object and verifies size and checksum.
func (s *Storage) Get(ctx context.Context, o Object) ([]byte, error) {
	if err := checkName(o.Name); err != nil {
		return nil, s.fail("get", o.Name, err)
	}
	data, err := s.driver.Read(ctx, o.Name)
	if err != nil {
		return nil, s.fail("get", o.Name, err)
	}
	if err := o.verify(data); err != nil {
		return nil, s.fail("get", o.Name, err)
	}
	return data, nil
}

// List returns what lies below a prefix, which is empty or ends with a slash,
// leftovers of interrupted writes included.
func (s *Storage) List(ctx context.Context, prefix string) ([]Info, error) {
	if prefix != "" && checkName(strings.TrimSuffix(prefix, "/")+"/x") != nil {
		return nil, s.fail("list", prefix, fmt.Errorf("%w: prefix", ErrInvalid))
	}
	infos, err := s.driver.List(ctx, prefix)
	if err != nil {
		return nil, s.fail("list", prefix, err)
	}
	return infos, nil
}

// Delete removes an object. An absent one is no error.
func (s *Storage) Delete(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
		return s.fail("delete", name, err)
	}
	if err := s.driver.Delete(ctx, name); err != nil {
		return s.fail("delete", name, err)
	}
	return nil
}

func (s *Storage) fail(op, name string, err error) error {
	var e *ObjectError
	if errors.As(err, &e) && e.Name == name {
		err = e.Err // the object is named once
	}
	return &ObjectError{Op: op, Name: name, Storage: s.url, Err: err}
}

func (o Object) verify(data []byte) error {
	switch got := int64(len(data)); {
	case got < o.Size:
		return fmt.Errorf("%w: cut short, %d of %d bytes", ErrCorrupt, got, o.Size)
	case got > o.Size:
		return fmt.Errorf("%w: %d bytes where %d were written", ErrCorrupt, got, o.Size)
	}
	if sum := checksum(data); sum != o.Checksum {
		return fmt.Errorf("%w: the checksum of its %d bytes is %s, not %s", ErrCorrupt, o.Size, sum, o.Checksum)
	}
	return nil
}

func checksum(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// checkName accepts slash-separated relative names without dot parts, so that no
// name leads out of the storage.
func checkName(name string) error {
	if name == "." || !fs.ValidPath(name) || !filepath.IsLocal(name) {
		return fmt.Errorf("%w: object name %q", ErrInvalid, name)
	}
	return nil
}
