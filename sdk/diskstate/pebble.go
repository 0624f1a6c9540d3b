package diskstate

import (
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// What a task's store takes of memory, in bytes: an overlay, of which up to
// maxOverlays are held, Pebble's own tables in memory, and its cache of blocks.
const (
	overlayBytes  = 16 << 20
	maxOverlays   = 4
	memTableBytes = 16 << 20
	cacheBytes    = 64 << 20
	// readCacheBytes is for a store that is only read.
	readCacheBytes = 4 << 20
)

// An overlay is written when Pebble has fewer bytes in memory and a first level that is
// less deep, which is looked at again after a while.
const (
	maxUnflushed = 2 * memTableBytes
	maxSublevels = 24
	roomInterval = 2 * time.Millisecond
	never        = 1 << 20 // is when Pebble would wait by itself
)

// maxFileBytes bounds a file of the store: it is stored as one object.
const maxFileBytes = 32 << 20

// indexBlockBytes is more than the index of a file takes: one block of index is looked
// up for each read, not two.
const indexBlockBytes = 4 << 20

// How files that Pebble writes once end.
const (
	keysExt   = ".sst"
	valuesExt = ".blob"
)

// openPebble opens or begins the store in a folder. What Pebble cannot write on
// goroutines of its own is its failure.
func openPebble(dir string, values pebble.ValueSeparationPolicy) (*pebble.DB, *failure, error) {
	f := newFailure()
	o := options(cacheBytes)
	o.EventListener = &pebble.EventListener{BackgroundError: f.fail}
	o.Experimental.ValueSeparationPolicy = func() pebble.ValueSeparationPolicy { return values }
	db, err := open(dir, o)
	return db, f, err
}

// readPebble opens the store in a folder to be read once, from its beginning to its
// end.
func readPebble(dir string) (*pebble.DB, error) {
	o := options(readCacheBytes)
	o.ReadOnly = true
	return open(dir, o)
}

func open(dir string, o *pebble.Options) (*pebble.DB, error) {
	db, err := pebble.Open(dir, o)
	if err != nil {
		return nil, fmt.Errorf("open the state in %s: %w", dir, err)
	}
	return db, nil
}

func options(cache int64) *pebble.Options {
	o := &pebble.Options{
		FS:                          unsynced{vfs.Default},
		FormatMajorVersion:          pebble.FormatValueSeparation,
		DisableWAL:                  true,
		CacheSize:                   cache,
		MemTableSize:                memTableBytes,
		MemTableStopWritesThreshold: never,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       never,
		MaxManifestFileSize:         1 << 20,
		Logger:                      quiet{},
	}
	for i := range o.TargetFileSizes {
		o.TargetFileSizes[i] = min(int64(16<<20)<<i, maxFileBytes)
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		o.Levels[i].IndexBlockSize = indexBlockBytes
	}
	return o
}

// quiet hears what the store does. Errors come back otherwise, too.
type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}

// Fatalf must not return: the store cannot go on, and what it held is in the
// checkpoint.
func (quiet) Fatalf(format string, args ...any) {
	panic("state on disk: " + fmt.Sprintf(format, args...))
}

// unsynced is a file system that leaves it to the operating system when to write: the
// folder is scratch.
type unsynced struct{ vfs.FS }

func (fs unsynced) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return unsyncedFile(fs.FS.Create(name, c))
}

func (fs unsynced) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return unsyncedFile(fs.FS.OpenReadWrite(name, c, o...))
}

func (fs unsynced) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return unsyncedFile(fs.FS.ReuseForWrite(from, to, c))
}

func (fs unsynced) OpenDir(name string) (vfs.File, error) { return unsyncedFile(fs.FS.OpenDir(name)) }

func unsyncedFile(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return file{f}, nil
}

type file struct{ vfs.File }

func (file) Sync() error                { return nil }
func (file) SyncData() error            { return nil }
func (file) SyncTo(int64) (bool, error) { return true, nil }
