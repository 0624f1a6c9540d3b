package diskstate

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
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

// maxFileBytes bounds a file of the store: it is stored as one object.
const maxFileBytes = 32 << 20

// indexBlockBytes is more than the index of a file takes: one block of index is looked
// up for each read, not two.
const indexBlockBytes = 4 << 20

// apart are values that lie in files of their own, away from their keys, so that
// merging keys into order leaves them as they are. See Lu et al., WiscKey: Separating
// Keys from Values in SSD-conscious Storage (FAST 2016).
type apart struct {
	atLeast int // bytes of such a value
	// depth is how many of these files a key range may have values in. Beyond, they
	// are written anew, together.
	depth int
	// garbage is the part of what lies in these files that no key needs. Beyond,
	// those older than age, and which hold most of it, are written anew without it.
	garbage float64
	age     time.Duration
}

// valuesApart: a place in a file takes eight bytes or so. More depth or garbage means
// that less is written, and stored again by checkpoints, and that state takes more
// space: at these, up to twice its size.
var valuesApart = apart{atLeast: 64, depth: 100, garbage: 0.5, age: time.Minute}

// How files that Pebble writes once end.
const (
	keysExt   = ".sst"
	valuesExt = ".blob"
)

// openPebble opens or begins the store in a folder.
func openPebble(dir string, a apart) (*pebble.DB, error) {
	o := options(cacheBytes)
	o.Experimental.ValueSeparationPolicy = func() pebble.ValueSeparationPolicy {
		return pebble.ValueSeparationPolicy{
			Enabled:               true,
			MinimumSize:           a.atLeast,
			MaxBlobReferenceDepth: a.depth,
			RewriteMinimumAge:     a.age,
			TargetGarbageRatio:    a.garbage,
		}
	}
	return open(dir, o)
}

// readPebble opens the store in a folder to be read once, from its beginning to its
// end.
func readPebble(dir string) (*pebble.DB, error) {
	o := options(readCacheBytes)
	o.ReadOnly = true
	db, err := open(dir, o)
	if err != nil {
		return nil, err
	}
	if err := hasValues(db, dir); err != nil {
		return nil, errors.Join(fmt.Errorf("the state in %s: %w", dir, err), db.Close())
	}
	return db, nil
}

func open(dir string, o *pebble.Options) (*pebble.DB, error) {
	db, err := pebble.Open(dir, o)
	if err != nil {
		return nil, fmt.Errorf("open the state in %s: %w", dir, err)
	}
	return db, nil
}

// hasValues checks that the files of values of a store that does not change are whole.
// Pebble does so for those of keys alone, and panics at the first value that is missing.
func hasValues(db *pebble.DB, dir string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var bytes uint64
	for _, e := range list {
		if filepath.Ext(e.Name()) != valuesExt {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		bytes += uint64(info.Size())
	}
	if live := db.Metrics().BlobFiles.LiveSize; bytes < live {
		return fmt.Errorf("its files of values (*%s) hold %d bytes of %d", valuesExt, bytes, live)
	}
	return nil
}

func options(cache int64) *pebble.Options {
	o := &pebble.Options{
		FS:                          unsynced{vfs.Default},
		FormatMajorVersion:          pebble.FormatValueSeparation,
		DisableWAL:                  true,
		CacheSize:                   cache,
		MemTableSize:                memTableBytes,
		MemTableStopWritesThreshold: 3,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       24,
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

// quiet hears what the store does. Errors come back from its calls, too.
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
