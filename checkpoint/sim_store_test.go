package checkpoint_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/weirstream/weir/coordination"
)

// tree is coordination in memory, shared by all sessions of a test.
type tree struct {
	nodes   map[string]*treeNode
	created uint64
	// applied is called with every commit that took effect.
	applied func(ops []coordination.Op)
}

type treeNode struct {
	data     []byte
	version  int64
	created  uint64
	children []string // sorted
}

func newTree() *tree { return &tree{nodes: map[string]*treeNode{"": {}}} }

// commit applies ops, all or none.
func (t *tree) commit(ops []coordination.Op) error {
	if err := coordination.CheckOps(ops); err != nil {
		return err
	}
	t.created++
	var undo []func()
	for i, op := range ops {
		back, err := t.apply(op)
		if err != nil {
			for _, u := range slices.Backward(undo) {
				u()
			}
			return &coordination.ConflictError{Index: i, Kind: op.Kind, Path: op.Path, Err: err}
		}
		undo = append(undo, back)
	}
	if t.applied != nil {
		t.applied(ops)
	}
	return nil
}

func (t *tree) apply(op coordination.Op) (undo func(), err error) {
	n, found := t.nodes[op.Path]
	switch op.Kind {
	case coordination.OpCreate:
		if found {
			return nil, coordination.ErrExists
		}
		made := t.create(op.Path, op.Data)
		return func() {
			for _, p := range slices.Backward(made) {
				t.remove(p)
			}
		}, nil
	case coordination.OpCheckAbsent:
		if found {
			return nil, coordination.ErrExists
		}
		return func() {}, nil
	}
	if !found {
		return nil, coordination.ErrNotFound
	}
	if op.Version != coordination.AnyVersion && op.Version != n.version {
		return nil, coordination.ErrVersion
	}
	switch op.Kind {
	case coordination.OpSet:
		was := *n
		n.data, n.version = slices.Clone(op.Data), n.version+1
		return func() { n.data, n.version = was.data, was.version }, nil
	case coordination.OpDelete:
		if len(n.children) > 0 {
			return nil, coordination.ErrNotEmpty
		}
		t.remove(op.Path)
		return func() { t.insert(op.Path, n) }, nil
	case coordination.OpCheck:
		return func() {}, nil
	}
	return nil, fmt.Errorf("%w: %s", coordination.ErrInvalid, op.Kind)
}

// create makes a record and its ancestors, and returns the paths that it made.
func (t *tree) create(path string, data []byte) (made []string) {
	parent, _ := coordination.Split(path)
	if _, ok := t.nodes[parent]; !ok {
		made = t.create(parent, nil)
	}
	t.insert(path, &treeNode{data: slices.Clone(data), created: t.created})
	return append(made, path)
}

func (t *tree) insert(path string, n *treeNode) {
	parent, name := coordination.Split(path)
	t.nodes[path] = n
	p := t.nodes[parent]
	i, _ := slices.BinarySearch(p.children, name)
	p.children = slices.Insert(p.children, i, name)
}

func (t *tree) remove(path string) {
	parent, name := coordination.Split(path)
	delete(t.nodes, path)
	p := t.nodes[parent]
	if i, ok := slices.BinarySearch(p.children, name); ok {
		p.children = slices.Delete(p.children, i, i+1)
	}
}

// session is a coordination.Store over a tree. Its hooks are where a test makes it
// fail.
type session struct {
	coordination.Store // what no ledger calls
	tree               *tree
	// read comes before each read, and write before each commit; an error takes
	// the call's place.
	read  func() error
	write func(ops []coordination.Op) error
	// change, if any, spoils what is read and written.
	change struct {
		children func(path string, names []string) []string
		ops      func(ops []coordination.Op) []coordination.Op
	}
	// reply comes after a commit that took effect; an error replaces its result.
	reply func() error
}

func (s *session) Get(_ context.Context, path string) (coordination.Record, error) {
	if s.read != nil {
		if err := s.read(); err != nil {
			return coordination.Record{}, err
		}
	}
	n, ok := s.tree.nodes[path]
	if !ok {
		return coordination.Record{}, fmt.Errorf("%s: %w", path, coordination.ErrNotFound)
	}
	return coordination.Record{Path: path, Data: slices.Clone(n.data), Version: n.version, Created: n.created}, nil
}

func (s *session) Children(_ context.Context, path string) ([]string, error) {
	if s.read != nil {
		if err := s.read(); err != nil {
			return nil, err
		}
	}
	n, ok := s.tree.nodes[path]
	if !ok {
		return nil, nil
	}
	if s.change.children != nil {
		return s.change.children(path, slices.Clone(n.children)), nil
	}
	return slices.Clone(n.children), nil
}

func (s *session) Commit(_ context.Context, ops ...coordination.Op) error {
	if s.write != nil {
		if err := s.write(ops); err != nil {
			return err
		}
	}
	if s.change.ops != nil {
		ops = s.change.ops(ops)
	}
	if err := s.tree.commit(ops); err != nil {
		return err
	}
	if s.reply != nil {
		return s.reply()
	}
	return nil
}

// testLead is a leadership whose guard is a record in the tree.
type testLead struct {
	path  string
	epoch uint64
}

func (l testLead) Epoch() uint64          { return l.epoch }
func (l testLead) Guard() coordination.Op { return coordination.Check(l.path, 0) }

// lead makes the next leader; it leads until its path is removed from the tree.
func (t *tree) lead() testLead {
	path := fmt.Sprintf("elections/%d", t.created+1)
	if err := t.commit([]coordination.Op{coordination.Create(path, nil)}); err != nil {
		panic(err)
	}
	return testLead{path: path, epoch: t.created}
}

func (t *tree) depose(l testLead) {
	if _, ok := t.nodes[l.path]; ok {
		t.remove(l.path)
	}
}

// isPassing says that a call is to be repeated.
func isPassing(err error) bool {
	return errors.Is(err, coordination.ErrUnknownOutcome) || errors.Is(err, coordination.ErrUnavailable)
}

// below says whether path lies directly below dir, and its name.
func below(path, dir string) (string, bool) {
	name, ok := strings.CutPrefix(path, dir+"/")
	return name, ok && !strings.Contains(name, "/")
}
