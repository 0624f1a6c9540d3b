package diskstate

import (
	"fmt"
	"io"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

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
// space: at these, a little over twice its size at most.
var valuesApart = apart{atLeast: 64, depth: 100, garbage: 0.5, age: time.Minute}

func (a apart) policy() pebble.ValueSeparationPolicy {
	return pebble.ValueSeparationPolicy{
		Enabled:               true,
		MinimumSize:           a.atLeast,
		MaxBlobReferenceDepth: a.depth,
		RewriteMinimumAge:     a.age,
		TargetGarbageRatio:    a.garbage,
	}
}

// Where a file of values is missing or cut off Pebble panics. To read through these
// makes that an error.

func get(db *pebble.DB, name []byte) (value []byte, closer io.Closer, err error) {
	defer asError(&err, "a file of values is missing or damaged")
	return db.Get(name)
}

func valueOf(it *pebble.Iterator) (value []byte, err error) {
	defer asError(&err, "a file of values is missing or damaged")
	return it.ValueAndErr()
}

// closeStore closes also what such a panic has left in use.
func closeStore(db *pebble.DB) (err error) {
	defer asError(&err, "close it")
	return db.Close()
}

func asError(err *error, what string) {
	if v := recover(); v != nil {
		*err = fmt.Errorf("%s: Pebble panics: %v", what, v)
	}
}
