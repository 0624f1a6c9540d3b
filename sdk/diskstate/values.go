package diskstate

import (
	"fmt"
	"io"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// valuesApart has values of some size lie in files of their own, away from their keys,
// so that merging keys into order leaves them as they are; a place in such a file takes
// eight bytes or so. See Lu et al., WiscKey: Separating Keys from Values in
// SSD-conscious Storage (FAST 2016). More depth or garbage means that less is written,
// and stored again by checkpoints, and that state takes more space: at these, a little
// over twice its size at most.
var valuesApart = pebble.ValueSeparationPolicy{
	Enabled:               true,
	MinimumSize:           64,
	MaxBlobReferenceDepth: 100,
	TargetGarbageRatio:    0.5,
	RewriteMinimumAge:     time.Minute,
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
