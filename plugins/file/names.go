package file

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/weirstream/weir/sdk"
)

// partKey names one part of a node's output for ever: an epoch is never used
// again, and a task numbers its parts within one.
type partKey struct {
	epoch uint64
	task  int
	seq   int
}

// hiddenKind is what a hidden file of ours is; it is the name's end.
type hiddenKind string

const (
	// partKind: output that is not published.
	partKind hiddenKind = "part"
	// markerKind: the part of this key is being published, and if it is gone it
	// has been.
	markerKind hiddenKind = "published"
	// keptKind: a part that was set aside when later output was withdrawn, where
	// nobody can publish it. A number follows, the epoch that did it.
	keptKind hiddenKind = "kept"
)

// hiddenFile is what a hidden name says.
type hiddenFile struct {
	partKey
	kind hiddenKind
	by   uint64 // of keptKind
}

// namer makes and reads the names of one node's files.
//
//	.weir.<uid>.<node>.<epoch>.<task>.<seq>.part                 hidden
//	<node>-<uid>-<epoch>-<checkpoint>-<task>-<seq>.<extension>   published
//
// The uid of a published name is its last eight characters, and numbers have
// leading zeros, so that the names of a task sort in the order of its records. The
// checkpoint is the one at which the part was prepared.
type namer struct {
	hidden, public string
}

const shortUID = 8

func newNamer(o sdk.Owner) namer {
	uid, node := escape(o.UID), escape(o.Node)
	return namer{
		hidden: ".weir." + uid + "." + node + ".",
		public: node + "-" + uid[max(0, len(uid)-shortUID):] + "-",
	}
}

// escape leaves nothing in a name that separates names or folders.
func escape(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func (n namer) part(k partKey) string {
	return fmt.Sprintf("%s%d.%d.%d.%s", n.hidden, k.epoch, k.task, k.seq, partKind)
}

func (n namer) kept(k partKey, by uint64) string {
	return fmt.Sprintf("%s%d.%d.%d.%s%d", n.hidden, k.epoch, k.task, k.seq, keptKind, by)
}

// markerName is that of a part's marker.
func markerName(part string) string {
	return strings.TrimSuffix(part, string(partKind)) + string(markerKind)
}

var hiddenRest = regexp.MustCompile(`^(\d+)\.(\d+)\.(\d+)\.(part|published|kept)(\d*)$`)

// parseHidden reads a hidden name of this node.
func (n namer) parseHidden(name string) (f hiddenFile, ok bool) {
	rest, ours := strings.CutPrefix(name, n.hidden)
	m := hiddenRest.FindStringSubmatch(rest)
	if !ours || m == nil {
		return hiddenFile{}, false
	}
	f.kind = hiddenKind(m[4])
	if f.kind == keptKind {
		var err error
		if f.by, err = strconv.ParseUint(m[5], 10, 64); err != nil {
			return hiddenFile{}, false
		}
	} else if m[5] != "" {
		return hiddenFile{}, false
	}
	f.partKey, ok = keyOf(m[1], m[2], m[3])
	return f, ok
}

func (n namer) publishedName(k partKey, checkpoint uint64, extension string) string {
	return fmt.Sprintf("%s%06d-%09d-%04d-%06d.%s", n.public, k.epoch, checkpoint, k.task, k.seq, extension)
}

var publicRest = regexp.MustCompile(`^(\d{6,})-(\d{9,})-(\d{4,})-(\d{6,})\.`)

// parsePublished reads a published name of this node.
func (n namer) parsePublished(name string) (k partKey, checkpoint uint64, ok bool) {
	rest, ours := strings.CutPrefix(name, n.public)
	m := publicRest.FindStringSubmatch(rest)
	if !ours || m == nil {
		return partKey{}, 0, false
	}
	checkpoint, err := strconv.ParseUint(m[2], 10, 64)
	k, ok = keyOf(m[1], m[3], m[4])
	return k, checkpoint, ok && err == nil
}

func keyOf(epoch, task, seq string) (k partKey, ok bool) {
	var errs [3]error
	k.epoch, errs[0] = strconv.ParseUint(epoch, 10, 64)
	k.task, errs[1] = strconv.Atoi(task)
	k.seq, errs[2] = strconv.Atoi(seq)
	return k, errs == [3]error{}
}

// startName is the note that a single file's sink leaves beside the file until
// its first checkpoint is complete: how long the file was before.
func (n namer) startName() string { return n.hidden + "start" }

// plainName reports whether a name that came from a checkpoint stays inside its
// folder.
func plainName(name string) bool {
	return name != "" && name != "." && name != ".." && filepath.Base(name) == name
}
