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
	"errors"
	"fmt"
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
	// ErrExists: the name is taken. Names are never written twice.
	ErrExists = errors.New("object exists")
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

// Driver is one kind of storage. Storage adds names, checksums and verification
// to it. Methods may be called concurrently.
type Driver interface {
	// Write makes an object that does not exist, durable when it returns nil.
	Write(ctx context.Context, name string, data []byte) error
	// Read returns a whole object, or ErrNotFound.
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

// New wraps a driver. The url is shown in errors and must hold no credentials.
func New(d Driver, url string) *Storage { return &Storage{driver: d, url: url} }

// String returns the URL, without credentials.
func (s *Storage) String() string { return s.url }

// Close releases what the driver holds. Objects stay, save those of mem://.
func (s *Storage) Close() error { return s.driver.Close() }

// Open opens the storage of a URL. A file:// folder that does not exist is
// made, once: if it is removed later, writing fails with ErrGone.
func Open(ctx context.Context, url string, opts ...Option) (*Storage, error) { panic("unwritten") }

// Put stores data under a name that was never used and returns it only after
// it is durable and was read back.
func (s *Storage) Put(ctx context.Context, name string, data []byte) (Object, error) {
	panic("unwritten")
}

// Get reads an object and verifies size and checksum.
func (s *Storage) Get(ctx context.Context, o Object) ([]byte, error) { panic("unwritten") }

// List returns what lies below a prefix, which is empty or ends with a slash.
func (s *Storage) List(ctx context.Context, prefix string) ([]Info, error) { panic("unwritten") }

// Delete removes an object. An absent one is no error.
func (s *Storage) Delete(ctx context.Context, name string) error { panic("unwritten") }
