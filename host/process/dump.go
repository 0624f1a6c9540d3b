package process

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// keptDumps is how many goroutine dumps stay in a folder.
const keptDumps = 20

// writeDump stores a goroutine dump in dir and removes the oldest ones there. It
// returns the path; an empty dir keeps nothing.
func writeDump(dir, plugin string, pid int, dump []byte) (string, error) {
	if dir == "" {
		return "", nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	// The time comes first: names sort by age.
	path := filepath.Join(dir, fmt.Sprintf("%s-%s-%d.goroutines.txt", time.Now().UTC().Format("20060102T150405.000"), plugin, pid))
	if err := os.WriteFile(path, dump, 0o600); err != nil {
		return "", err
	}
	old, err := filepath.Glob(filepath.Join(dir, "*.goroutines.txt"))
	if err != nil {
		return path, nil // the folder's name has pattern characters: keep all
	}
	slices.Sort(old)
	for _, f := range old[:max(0, len(old)-keptDumps)] {
		_ = os.Remove(f)
	}
	return path, nil
}
