package simulated

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weirstream/weir/coordination"
)

// node is one state of a record.
type node struct {
	zxid    uint64 // of the transaction that wrote this state
	at      time.Time
	there   bool
	created uint64
	version int64
	owner   uint64 // 0: persistent
	data    []byte
}

// tree holds every state that each record has had, oldest first.
type tree map[string][]node

// at returns a record as of a transaction.
func (t tree) at(path string, zxid uint64) node {
	versions := t[path]
	for i := len(versions) - 1; i >= 0; i-- {
		if versions[i].zxid <= zxid {
			return versions[i]
		}
	}
	return node{}
}

// upTo returns the last transaction that was committed by then; newest is the last
// of all.
func (t tree) upTo(then time.Time, newest uint64) uint64 {
	first := newest + 1 // that came later
	for _, versions := range t {
		for i := len(versions) - 1; i >= 0 && versions[i].at.After(then); i-- {
			first = min(first, versions[i].zxid)
		}
	}
	return first - 1
}

// View is the state after a transaction.
type View struct {
	tree tree
	zxid uint64
	mu   *sync.Mutex // of the ensemble; nil where it is held
}

func (v View) lock() func() {
	if v.mu == nil {
		return func() {}
	}
	v.mu.Lock()
	return v.mu.Unlock
}

// Get returns a record, and false where there is none.
func (v View) Get(path string) (coordination.Record, bool) {
	defer v.lock()()
	n := v.tree.at(path, v.zxid)
	if !n.there {
		return coordination.Record{Path: path}, false
	}
	return coordination.Record{
		Path: path, Data: bytes.Clone(n.data), Version: n.version, Created: n.created, Ephemeral: n.owner != 0,
	}, true
}

// Children names the records directly below path, sorted.
func (v View) Children(path string) []string {
	defer v.lock()()
	return v.tree.children(path, func(p string) bool { return v.tree.at(p, v.zxid).there })
}

func (t tree) children(path string, there func(string) bool) (names []string) {
	prefix := path + "/"
	if path == "" {
		prefix = ""
	}
	for p := range t {
		name, below := strings.CutPrefix(p, prefix)
		if below && name != "" && !strings.Contains(name, "/") && there(p) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// transaction is a commit under way.
type transaction struct {
	tree    tree
	zxid    uint64
	at      time.Time
	written map[string]node
}

func (tx *transaction) get(path string) node {
	if n, ok := tx.written[path]; ok {
		return n
	}
	return tx.tree.at(path, tx.zxid)
}

func (tx *transaction) put(path string, n node) {
	n.zxid, n.at = tx.zxid, tx.at
	tx.written[path] = n
}

// apply carries out one operation.
func (tx *transaction) apply(op coordination.Op, session uint64) error {
	switch op.Kind {
	case coordination.OpCreate:
		return tx.create(op, 0)
	case coordination.OpCreateEphemeral:
		return tx.create(op, session)
	case coordination.OpCheckAbsent:
		return tx.absent(op.Path)
	}
	n := tx.get(op.Path)
	switch {
	case !n.there:
		return coordination.ErrNotFound
	case op.Version != coordination.AnyVersion && op.Version != n.version:
		return coordination.ErrVersion
	}
	switch op.Kind {
	case coordination.OpSet:
		n.version++
		n.data = bytes.Clone(op.Data)
		tx.put(op.Path, n)
	case coordination.OpDelete:
		if tx.hasChildren(op.Path) {
			return coordination.ErrNotEmpty
		}
		tx.put(op.Path, node{})
	}
	return nil
}

func (tx *transaction) hasChildren(path string) bool {
	for p, n := range tx.written {
		if parent, _ := coordination.Split(p); parent == path && n.there {
			return true
		}
	}
	return len(tx.tree.children(path, func(p string) bool { return tx.get(p).there })) > 0
}

// absent returns nil if a record at path can be created.
func (tx *transaction) absent(path string) error {
	if tx.get(path).there {
		return coordination.ErrExists
	}
	for parent, _ := coordination.Split(path); parent != ""; parent, _ = coordination.Split(parent) {
		if n := tx.get(parent); n.there && n.owner != 0 {
			return coordination.ErrEphemeralParent
		}
	}
	return nil
}

func (tx *transaction) create(op coordination.Op, owner uint64) error {
	if err := tx.absent(op.Path); err != nil {
		return err
	}
	for parent, _ := coordination.Split(op.Path); parent != ""; parent, _ = coordination.Split(parent) {
		if !tx.get(parent).there {
			tx.put(parent, node{there: true, created: tx.zxid})
		}
	}
	tx.put(op.Path, node{there: true, created: tx.zxid, owner: owner, data: bytes.Clone(op.Data)})
	return nil
}
