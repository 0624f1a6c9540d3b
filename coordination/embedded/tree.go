package embedded

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/weirstream/weir/coordination"
	"go.etcd.io/bbolt"
)

var (
	bucketRecords = []byte("records")
	bucketOwned   = []byte("owned")
	bucketFormat  = []byte("format")
	keyFormat     = []byte("version")
)

// format is the version of the layout that this package reads and writes.
const format = 1

const headerSize = 24

// node is a stored record. Its data is valid during the transaction only.
type node struct {
	created uint64
	version uint64
	owner   uint64 // 0: persistent
	data    []byte
}

func (n node) record(path string) coordination.Record {
	return coordination.Record{
		Path: path, Data: bytes.Clone(n.data),
		Version: int64(n.version), Created: n.created, Ephemeral: n.owner != 0,
	}
}

// tree is the records within one transaction, and what this transaction has
// changed so far.
type tree struct {
	records, owned *bbolt.Bucket

	created uint64   // creation number of this transaction, once it has one
	changed []string // records created, set or deleted
	listed  []string // parents whose children came or went
}

func newTree(tx *bbolt.Tx) *tree {
	return &tree{records: tx.Bucket(bucketRecords), owned: tx.Bucket(bucketOwned)}
}

func recordKey(path string) []byte {
	parent, name := coordination.Split(path)
	return []byte(parent + "\x00" + name)
}

func ownedKey(owner uint64, path string) []byte {
	return append(binary.BigEndian.AppendUint64(nil, owner), path...)
}

// get returns the node at path, and false where there is none.
func (t *tree) get(path string) (node, bool, error) {
	v := t.records.Get(recordKey(path))
	if v == nil {
		return node{}, false, nil
	}
	if len(v) < headerSize {
		return node{}, false, fmt.Errorf("%w: record %s has %d bytes", ErrDamaged, path, len(v))
	}
	return node{
		created: binary.BigEndian.Uint64(v),
		version: binary.BigEndian.Uint64(v[8:]),
		owner:   binary.BigEndian.Uint64(v[16:]),
		data:    v[headerSize:],
	}, true, nil
}

func (t *tree) put(path string, n node) error {
	v := make([]byte, 0, headerSize+len(n.data))
	v = binary.BigEndian.AppendUint64(v, n.created)
	v = binary.BigEndian.AppendUint64(v, n.version)
	v = binary.BigEndian.AppendUint64(v, n.owner)
	t.changed = append(t.changed, path)
	return t.records.Put(recordKey(path), append(v, n.data...))
}

// children names what lies directly below path, in byte order.
func (t *tree) children(path string) []string {
	var names []string
	prefix := []byte(path + "\x00")
	c := t.records.Cursor()
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		names = append(names, string(k[len(prefix):]))
	}
	return names
}

func (t *tree) hasChildren(path string) bool {
	prefix := []byte(path + "\x00")
	k, _ := t.records.Cursor().Seek(prefix)
	return bytes.HasPrefix(k, prefix)
}

// apply carries out one operation for a session. It returns one of the
// conditions of package coordination unwrapped, or a failure of the file.
func (t *tree) apply(op coordination.Op, session uint64) error {
	switch op.Kind {
	case coordination.OpCreate:
		return t.create(op.Path, op.Data, 0)
	case coordination.OpCreateEphemeral:
		return t.create(op.Path, op.Data, session)
	case coordination.OpCheckAbsent:
		_, err := t.vacant(op.Path)
		return err
	}
	n, err := t.match(op.Path, op.Version)
	if err != nil {
		return err
	}
	switch op.Kind {
	case coordination.OpSet:
		n.version++
		n.data = op.Data
		return t.put(op.Path, n)
	case coordination.OpDelete:
		if t.hasChildren(op.Path) {
			return coordination.ErrNotEmpty
		}
		return t.remove(op.Path, n.owner)
	}
	return nil // OpCheck
}

// match returns the node at path if it has this version.
func (t *tree) match(path string, version int64) (node, error) {
	n, found, err := t.get(path)
	switch {
	case err != nil:
		return node{}, err
	case !found:
		return node{}, coordination.ErrNotFound
	case version != coordination.AnyVersion && n.version != uint64(version):
		return node{}, coordination.ErrVersion
	}
	return n, nil
}

// vacant returns those ancestors of path that do not exist, nearest first, or an
// error if there is a record at path or can be none.
func (t *tree) vacant(path string) (missing []string, err error) {
	if _, found, err := t.get(path); err != nil {
		return nil, err
	} else if found {
		return nil, coordination.ErrExists
	}
	for parent, _ := coordination.Split(path); parent != ""; parent, _ = coordination.Split(parent) {
		n, found, err := t.get(parent)
		switch {
		case err != nil:
			return nil, err
		case found && n.owner != 0:
			return nil, coordination.ErrEphemeralParent
		case found:
			return missing, nil
		}
		missing = append(missing, parent)
	}
	return missing, nil
}

func (t *tree) create(path string, data []byte, owner uint64) error {
	missing, err := t.vacant(path)
	if err != nil {
		return err
	}
	if t.created == 0 {
		if t.created, err = t.records.NextSequence(); err != nil {
			return err
		}
	}
	for _, ancestor := range missing {
		if err := t.add(ancestor, node{created: t.created}); err != nil {
			return err
		}
	}
	if owner != 0 {
		if err := t.owned.Put(ownedKey(owner, path), nil); err != nil {
			return err
		}
	}
	return t.add(path, node{created: t.created, owner: owner, data: data})
}

func (t *tree) add(path string, n node) error {
	parent, _ := coordination.Split(path)
	t.listed = append(t.listed, parent)
	return t.put(path, n)
}

func (t *tree) remove(path string, owner uint64) error {
	parent, _ := coordination.Split(path)
	t.changed = append(t.changed, path)
	t.listed = append(t.listed, parent)
	if owner != 0 {
		if err := t.owned.Delete(ownedKey(owner, path)); err != nil {
			return err
		}
	}
	return t.records.Delete(recordKey(path))
}

// expire removes the ephemeral records of one session, or of all where session
// is 0.
func (t *tree) expire(session uint64) error {
	var prefix []byte
	if session != 0 {
		prefix = ownedKey(session, "")
	}
	var keys [][]byte
	c := t.owned.Cursor()
	for k, _ := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		keys = append(keys, bytes.Clone(k))
	}
	for _, k := range keys {
		if len(k) <= 8 {
			return fmt.Errorf("%w: owner key of %d bytes", ErrDamaged, len(k))
		}
		if err := t.remove(string(k[8:]), binary.BigEndian.Uint64(k)); err != nil {
			return err
		}
	}
	return nil
}

// checkFormat fails unless the file has the layout of this package.
func checkFormat(tx *bbolt.Tx) error {
	f := tx.Bucket(bucketFormat)
	if f == nil || tx.Bucket(bucketRecords) == nil || tx.Bucket(bucketOwned) == nil {
		return fmt.Errorf("%w: it is a bbolt file of something else", ErrDamaged)
	}
	v := f.Get(keyFormat)
	if len(v) != 8 {
		return fmt.Errorf("%w: it has no format version", ErrDamaged)
	}
	if got := binary.BigEndian.Uint64(v); got != format {
		return fmt.Errorf("its format is %d, and format %d is known here", got, format)
	}
	return nil
}

// hasOwned says whether there are ephemeral records.
func (t *tree) hasOwned() bool {
	k, _ := t.owned.Cursor().First()
	return k != nil
}

// prepare gives an empty file the layout.
func prepare(tx *bbolt.Tx) error {
	for _, name := range [][]byte{bucketRecords, bucketOwned, bucketFormat} {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	return tx.Bucket(bucketFormat).Put(keyFormat, binary.BigEndian.AppendUint64(nil, format))
}
