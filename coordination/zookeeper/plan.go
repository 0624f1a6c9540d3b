package zookeeper

import (
	"math"

	"github.com/go-zookeeper/zk"
	"github.com/weirstream/weir/coordination"
)

// plan is a commit as the requests of one multi. ZooKeeper creates no ancestors
// and has no check of absence, so an operation may need several; each sees the
// effect of those before it.
type plan struct {
	requests []any
	sources  []source // of each request
	size     int      // of all on the wire, at most
}

// source says which operation a request is for.
type source struct {
	op       int
	path     string // of the record that the request names
	ancestor bool   // it creates or removes an ancestor of the operation's record
}

// planner makes plans for one commit, learning from each refusal which ancestors
// there are.
type planner struct {
	store   *Store
	ops     []coordination.Op
	missing map[string]bool // ancestors that were found missing; others are taken to be there
}

// plan makes the requests for what is known now.
func (p *planner) plan() plan {
	b := planBuilder{planner: p, within: map[string]bool{}}
	for i, op := range p.ops {
		b.op = i
		b.add(op)
	}
	return b.plan
}

type planBuilder struct {
	plan
	*planner
	op     int
	within map[string]bool // records that the commit itself creates, or deletes: false
}

func (b *planBuilder) add(op coordination.Op) {
	switch op.Kind {
	case coordination.OpCreate:
		b.ancestors(op.Path)
		b.create(op.Path, op.Data, 0, false)
	case coordination.OpCreateEphemeral:
		b.ancestors(op.Path)
		b.create(op.Path, op.Data, zk.FlagEphemeral, false)
	case coordination.OpCheckAbsent:
		// What can be created is absent; it goes again in the same transaction.
		made := b.ancestors(op.Path)
		b.create(op.Path, nil, 0, false)
		b.delete(op.Path, -1, false)
		for _, path := range made {
			b.delete(path, -1, true)
		}
	case coordination.OpSet:
		b.request(op.Path, len(op.Data), false,
			&zk.SetDataRequest{Path: b.store.abs(op.Path), Data: op.Data, Version: version(op.Version)})
	case coordination.OpDelete:
		b.delete(op.Path, version(op.Version), false)
	case coordination.OpCheck:
		b.request(op.Path, 0, false, &zk.CheckVersionRequest{Path: b.store.abs(op.Path), Version: version(op.Version)})
	}
}

// ancestors creates those of path that are missing and returns them, nearest
// first.
func (b *planBuilder) ancestors(path string) (made []string) {
	for parent, _ := coordination.Split(path); parent != ""; parent, _ = coordination.Split(parent) {
		there, known := b.within[parent]
		if !known {
			there = !b.missing[parent]
		}
		if there {
			break
		}
		made = append(made, parent)
	}
	for i := len(made) - 1; i >= 0; i-- {
		b.create(made[i], nil, 0, true)
	}
	return made
}

func (b *planBuilder) create(path string, data []byte, flags int32, ancestor bool) {
	b.within[path] = true
	b.request(path, len(data)+b.store.aclSize(), ancestor,
		&zk.CreateRequest{Path: b.store.abs(path), Data: data, Acl: b.store.acl, Flags: flags})
}

func (b *planBuilder) delete(path string, version int32, ancestor bool) {
	b.within[path] = false
	b.request(path, 0, ancestor, &zk.DeleteRequest{Path: b.store.abs(path), Version: version})
}

// requestOverhead is more than what a request has on the wire beside its path,
// data and ACL.
const requestOverhead = 32

func (b *planBuilder) request(path string, extra int, ancestor bool, r any) {
	b.requests = append(b.requests, r)
	b.sources = append(b.sources, source{op: b.op, path: path, ancestor: ancestor})
	b.size += requestOverhead + len(b.store.root) + 1 + len(path) + extra
}

func (s *Store) aclSize() (size int) {
	for _, a := range s.acl {
		size += 12 + len(a.Scheme) + len(a.ID)
	}
	return size
}

// version turns a version into ZooKeeper's, which is shorter. What does not fit no
// record has.
func version(v int64) int32 { return int32(min(v, math.MaxInt32)) }
