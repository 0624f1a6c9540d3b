package checkpoint

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"

	"github.com/weirstream/weir/coordination"
)

// Errors of a ledger beside ErrFenced.
var (
	// ErrLate: the checkpoint is decided, an ack to it no longer counts.
	ErrLate = errors.New("checkpoint is decided already")
	// ErrSavepointExists: another checkpoint is kept under this name.
	ErrSavepointExists = errors.New("a savepoint of this name exists")
)

// maxRecord bounds the size of a record in bytes: it is read and watched by every
// host.
const maxRecord = 16 << 10

// maxTries bounds how often a commit is planned anew because something changed.
const maxTries = 100

// Leadership fences what a leader writes. A *coordination.Leadership is one.
type Leadership interface {
	Epoch() uint64
	Guard() coordination.Op
}

// Ledger reads and writes the records of one pipeline. Those methods that say
// so need a leadership; the others serve any host and any reader. It is safe for
// concurrent use.
//
// A method that writes returns nil when its effect is durable, [ErrFenced] when
// somebody else is in charge, an error that is coordination.ErrUnknownOutcome
// when even reading back could not tell, and any other error when nothing was
// written. It reads back by itself as long as ctx allows, so a caller repeats it
// rather than looking for itself.
type Ledger struct {
	store coordination.Store
	lead  Leadership
	name  string

	// Held while objects are deleted or records with shared objects are made.
	objects sync.Mutex
	named   map[string]names // what retained manifests name, by their name
}

// NewLedger returns the ledger of the pipeline called name. With a nil lead it
// serves only methods that need none.
func NewLedger(store coordination.Store, lead Leadership, name string) *Ledger {
	return &Ledger{store: store, lead: lead, name: name, named: map[string]names{}}
}

// Paths of the records.
func (l *Ledger) epochPath() string     { return "pipelines/" + l.name + "/epoch" }
func (l *Ledger) dir() string           { return "pipelines/" + l.name + "/checkpoints" }
func (l *Ledger) sequencePath() string  { return l.dir() + "/sequence" }
func (l *Ledger) pendingDir() string    { return l.dir() + "/pending" }
func (l *Ledger) recordsDir() string    { return l.dir() + "/records" }
func (l *Ledger) savepointsDir() string { return l.dir() + "/savepoints" }
func (l *Ledger) committedPath() string { return l.dir() + "/committed" }

func (l *Ledger) pendingPath(n uint64) string   { return l.pendingDir() + "/" + format(n) }
func (l *Ledger) recordPath(n uint64) string    { return l.recordsDir() + "/" + format(n) }
func (l *Ledger) savepointPath(s string) string { return l.savepointsDir() + "/" + s }

func format(n uint64) string { return strconv.FormatUint(n, 10) }

// get reads a record into v, and returns its version.
func (l *Ledger) get(ctx context.Context, path string, v any) (version int64, err error) {
	r, err := l.store.Get(ctx, path)
	if err != nil {
		return 0, err
	}
	if len(r.Data) == 0 { // made as somebody's parent
		return r.Version, nil
	}
	if err := json.Unmarshal(r.Data, v); err != nil {
		return 0, fmt.Errorf("record %s: %w", path, err)
	}
	return r.Version, nil
}

// find is get for a record that may be absent.
func (l *Ledger) find(ctx context.Context, path string, v any) (version int64, found bool, err error) {
	version, err = l.get(ctx, path, v)
	if errors.Is(err, coordination.ErrNotFound) {
		return 0, false, nil
	}
	return version, err == nil, err
}

func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // the types of this package have no value that fails
	}
	return data
}

// write is Set or Create, as the record was found.
func write(path string, v any, version int64, found bool) coordination.Op {
	if found {
		return coordination.Set(path, encode(v), version)
	}
	return coordination.Create(path, encode(v))
}

// plan reads what a write depends on. It returns the operations, or done where
// their effect is there already, or the reason why it can never be.
type plan func(ctx context.Context) (ops []coordination.Op, done bool, err error)

// decide commits what the plan says, and plans anew as long as something changed
// in between or the outcome is not known. Every operation it commits again is
// conditional, so that nothing happens twice.
func (l *Ledger) decide(ctx context.Context, what string, guarded bool, p plan) error {
	fail := func(err error) error { return fmt.Errorf("pipeline %s: %s: %w", l.name, what, err) }
	if guarded && l.lead == nil {
		return fail(errors.New("this needs a leadership"))
	}
	doubt, fenced := false, false
	var last error
	for range maxTries {
		ops, done, err := p(ctx)
		if done {
			return nil
		}
		if err == nil && fenced {
			return fail(ErrFenced)
		}
		if err == nil {
			if guarded {
				ops = append([]coordination.Op{l.lead.Guard()}, ops...)
			}
			if err = l.store.Commit(ctx, ops...); err == nil {
				return nil
			}
		}
		var conflict *coordination.ConflictError
		switch last = err; {
		case errors.Is(err, coordination.ErrUnknownOutcome):
			doubt = true
		case errors.As(err, &conflict):
			fenced = guarded && conflict.Path == l.lead.Guard().Path
		case errors.Is(err, ErrFenced), errors.Is(err, ErrLate):
			return fail(err)
		case doubt:
			return fail(fmt.Errorf("%w: %w", coordination.ErrUnknownOutcome, err))
		default:
			return fail(err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	if doubt && !errors.Is(last, coordination.ErrUnknownOutcome) {
		last = fmt.Errorf("%w: %w", coordination.ErrUnknownOutcome, last)
	}
	return fail(last)
}

// History is all that is recorded about a pipeline.
type History struct {
	Lineage  Lineage
	Sequence Sequence
	// Records, newest first, abandoned ones included.
	Records []Record
	// Savepoints that are stored, by name.
	Savepoints []Record
	Committed  uint64
	// Hosts say how far each host has come.
	Hosts   map[string]Committed
	Pending *Pending
	Acks    []Ack
}

// Newest is the newest record that was not abandoned; nil if there is none.
func (h History) Newest() *Record {
	for i := range h.Records {
		if h.Records[i].State != Abandoned {
			return &h.Records[i]
		}
	}
	return nil
}

// savepoint finds a stored savepoint.
func (h History) savepoint(name string) (Record, bool) {
	for _, s := range h.Savepoints {
		if s.Savepoint == name {
			return s, true
		}
	}
	return Record{}, false
}

// record finds a record that was not abandoned.
func (h History) record(n uint64) *Record {
	for i := range h.Records {
		if r := &h.Records[i]; r.N == n && r.State != Abandoned {
			return r
		}
	}
	return nil
}

// Unstored are the savepoints that were asked for and whose checkpoint has its
// record, but that are not stored yet: by name the checkpoint.
func (h History) Unstored() map[string]uint64 {
	names := map[string]uint64{}
	for _, r := range h.Records {
		if r.Savepoint != "" && r.State != Abandoned {
			names[r.Savepoint] = r.N
		}
	}
	for _, s := range h.Savepoints {
		delete(names, s.Savepoint)
	}
	return names
}

// Start is where the coordinator of a new epoch begins that restored this choice,
// once everything that the choice lists is committed.
func (h History) Start(leader uint64, c Choice) Start {
	s := h.start(leader)
	if !c.FromSavepoint {
		s.Newest = c.Record
	}
	maps.DeleteFunc(s.Savepoints, func(_ string, n uint64) bool { return c.passed(n) })
	if s.Newest != nil {
		s.Committed = max(s.Committed, s.Newest.N)
	}
	return s
}

// Resume is where the coordinator of a new leader of a running epoch begins.
func (h History) Resume(leader uint64) Start {
	s := h.start(leader)
	s.Newest, s.Running = h.Newest(), true
	return s
}

func (h History) start(leader uint64) Start {
	return Start{
		UID: h.Lineage.UID, Epoch: h.Lineage.Epoch, Leader: leader,
		Sequence: h.Sequence, Committed: h.Committed, Savepoints: h.Unstored(),
		Pending: h.Pending, Acks: h.Acks,
	}
}

// Load reads what there is. It fails with coordination.ErrNotFound where the
// pipeline was never begun. What others write meanwhile may or may not be in it.
func (l *Ledger) Load(ctx context.Context) (History, error) {
	h, err := l.load(ctx)
	if err != nil {
		return History{}, fmt.Errorf("pipeline %s: load: %w", l.name, err)
	}
	return h, nil
}

func (l *Ledger) load(ctx context.Context) (h History, err error) {
	if _, err := l.get(ctx, l.epochPath(), &h.Lineage); err != nil {
		return h, err
	}
	if _, _, err := l.find(ctx, l.sequencePath(), &h.Sequence); err != nil {
		return h, err
	}
	var through Committed
	if _, _, err := l.find(ctx, l.committedPath(), &through); err != nil {
		return h, err
	}
	h.Committed = through.Through
	if h.Hosts, err = list[Committed](ctx, l, l.committedPath()); err != nil {
		return h, err
	}
	if h.Records, h.Savepoints, err = l.records(ctx); err != nil {
		return h, err
	}
	pending, err := list[Pending](ctx, l, l.pendingDir())
	if err != nil {
		return h, err
	}
	for _, p := range pending {
		if h.Pending == nil || p.N > h.Pending.N {
			h.Pending = &p
		}
	}
	if h.Pending != nil {
		acks, err := list[Ack](ctx, l, l.pendingPath(h.Pending.N))
		if err != nil {
			return h, err
		}
		for _, a := range acks {
			h.Acks = append(h.Acks, a)
		}
		slices.SortFunc(h.Acks, func(a, b Ack) int { return cmp.Compare(a.Host, b.Host) })
	}
	return h, nil
}

// records reads the records, newest first, and the savepoints, by name.
func (l *Ledger) records(ctx context.Context) (records, savepoints []Record, err error) {
	all, err := list[Record](ctx, l, l.recordsDir())
	if err != nil {
		return nil, nil, err
	}
	for _, r := range all {
		records = append(records, r)
	}
	slices.SortFunc(records, func(a, b Record) int { return cmp.Compare(b.N, a.N) })
	kept, err := list[Record](ctx, l, l.savepointsDir())
	if err != nil {
		return nil, nil, err
	}
	for _, r := range kept {
		savepoints = append(savepoints, r)
	}
	slices.SortFunc(savepoints, func(a, b Record) int { return cmp.Compare(a.Savepoint, b.Savepoint) })
	return records, savepoints, nil
}

// list reads the records directly below a path, by their names.
func list[T any](ctx context.Context, l *Ledger, dir string) (map[string]T, error) {
	names, err := l.store.Children(ctx, dir)
	if err != nil {
		return nil, err
	}
	all := make(map[string]T, len(names))
	for _, name := range names {
		var v T
		_, found, err := l.find(ctx, dir+"/"+name, &v)
		if err != nil {
			return nil, err
		}
		if found {
			all[name] = v
		}
	}
	return all, nil
}
