package file

import (
	"cmp"
	"encoding/json"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/weirstream/weir/sdk"
)

// cursor is what the enumerator remembers: of a source that follows, which file had
// which name.
type cursor struct {
	// Listed says that the source did not follow: nothing is listed again.
	Listed bool `json:"listed,omitempty"`
	// Files is the identity of the last file known under each path.
	Files map[string]string `json:"files,omitempty"`
	// Past are the identities of files that lost their name to another, the newest
	// of them: they are not read again under the next one.
	Past []string `json:"past,omitempty"`
	// Found is the path under which a file was found, by identity.
	Found map[string]string `json:"found,omitempty"`
}

// splitID names a followed file's split, so that a person knows which it is.
func (c *cursor) splitID(id string) string { return c.Found[id] + " " + id }

// maxPast bounds Past.
const maxPast = 256

// rotatedSuffix is what rotation adds to a name: .1, -20240131, .2024-01-31.2.
var rotatedSuffix = regexp.MustCompile(`^[.-]([0-9][0-9.:_T-]*|old|bak)$`)

// family is the name that a file had before it was rotated away: the shortest
// known path that it continues with the suffix of a rotation.
func family(path string, known map[string]string) string {
	bare := strings.TrimSuffix(strings.TrimSuffix(path, ".gz"), ".zst")
	best := path
	for p := range known {
		if rest, ok := strings.CutPrefix(bare, p); ok && len(p) < len(best) && (rest == "" || rotatedSuffix.MatchString(rest)) {
			best = p
		}
	}
	return best
}

// followed finds files that were not there before. A renamed file is the same
// file. One that took a known name is read after the one that had it, and files
// that were rotated in between come before it.
func (s *source) followed(files []found, old cursor, first bool) (fresh []sdk.Split[split], next []byte, err error) {
	// A name that is free keeps its last owner.
	now := cursor{Listed: old.Listed, Files: map[string]string{}, Past: slices.Clone(old.Past), Found: map[string]string{}}
	maps.Copy(now.Files, old.Files)
	known := map[string]bool{}
	for _, id := range old.Past {
		known[id] = true
	}
	for _, path := range slices.Sorted(maps.Keys(old.Files)) {
		known[old.Files[path]] = true
	}
	files = slices.Concat(files, between(files, old, known))
	for _, f := range files {
		if was, ok := old.Files[f.path]; ok && was != f.id {
			now.Past = append(now.Past, was)
		}
		now.Files[f.path] = f.id
	}
	now.Past = now.Past[max(0, len(now.Past)-maxPast):]
	for _, id := range slices.AppendSeq(slices.Clone(now.Past), maps.Values(now.Files)) {
		if path, ok := old.Found[id]; ok {
			now.Found[id] = path
		}
	}

	inOrder(files, now.Files)
	last := map[string]string{} // by family: the newest of its files
	for _, f := range files {
		if known[f.id] {
			continue
		}
		known[f.id] = true
		now.Found[f.id] = f.path
		fam := family(f.path, now.Files)
		data := split{Path: f.path, File: f.id, To: -1, Rotated: fam != f.path}
		switch c := compressionOf(f.path); {
		case data.Rotated && old.Files[fam] != "" && old.Files[fam] == now.Files[fam]:
			// The file that has the name still is the one that had it: this one was
			// not rotated by renaming, it is a copy of what was read there.
			s.task.Log.Info("a file is taken for a copy of a followed one and not read", "path", f.path, "of", fam)
			continue
		case c != plain && data.Rotated && !first:
			// What it was made of had been found before: a family always has a file
			// that is still followed, and that one cannot have been compressed unseen.
			continue
		case c != plain:
			data.To, data.Size, data.Compression = f.info.Size(), f.info.Size(), c
		case first && s.cfg.Start == "end":
			data.From = f.info.Size()
		}
		sp := sdk.Split[split]{ID: now.splitID(f.id), Data: data}
		if before, ok := last[fam]; ok {
			sp.After = []string{now.splitID(before)}
		} else if before, ok := old.Files[fam]; ok && before != now.Files[fam] {
			sp.After = []string{now.splitID(before)}
		}
		last[fam] = f.id
		fresh = append(fresh, sp)
	}
	next, err = json.Marshal(now)
	return fresh, next, err
}

// inOrder sorts files as they were written: those of a family beside each other,
// rotated ones by when they were last written, and last the one that is written
// still.
func inOrder(files []found, known map[string]string) {
	newest := map[string]int64{} // by family
	for _, f := range files {
		fam := family(f.path, known)
		newest[fam] = max(newest[fam], f.info.ModTime().UnixNano())
	}
	slices.SortStableFunc(files, func(a, b found) int {
		x, y := family(a.path, known), family(b.path, known)
		switch {
		case x != y:
			return cmp.Or(cmp.Compare(newest[x], newest[y]), cmp.Compare(x, y))
		case (a.path == x) != (b.path == y):
			if a.path == x {
				return 1
			}
			return -1
		}
		return a.info.ModTime().Compare(b.info.ModTime())
	})
}

// between finds what was rotated twice since the last listing: files that had a
// known name after its last known owner and before its present one, and that the
// source's path does not lead to.
func between(files []found, old cursor, known map[string]bool) []found {
	listed := map[string]bool{}
	for _, f := range files {
		listed[f.id] = true
	}
	var more []found
	for _, f := range files {
		was, ok := old.Files[f.path]
		if !ok || was == f.id {
			continue
		}
		siblings := beside(f.path)
		i := slices.IndexFunc(siblings, func(s found) bool { return s.id == was })
		if i < 0 {
			continue // whoever reads it on tells that it is gone
		}
		since := siblings[i].info.ModTime()
		for _, s := range siblings {
			rest, related := strings.CutPrefix(filepath.Base(s.path), filepath.Base(f.path))
			if related && rotatedSuffix.MatchString(rest) && !known[s.id] && !listed[s.id] && !s.info.ModTime().Before(since) {
				listed[s.id] = true
				s.path = f.path + rest
				more = append(more, s)
			}
		}
	}
	return more
}
