package coordination

import "fmt"

// AnyVersion, given as a version, makes an operation apply to any version of an
// existing record.
const AnyVersion int64 = -1

// OpKind says what an operation does.
type OpKind int

// The kinds of operation, each made by the function of the same name.
const (
	OpCreate OpKind = iota + 1
	OpCreateEphemeral
	OpSet
	OpDelete
	OpCheck
	OpCheckAbsent
)

// String names the kind as error messages do.
func (k OpKind) String() string {
	switch k {
	case OpCreate:
		return "create"
	case OpCreateEphemeral:
		return "create ephemeral"
	case OpSet:
		return "set"
	case OpDelete:
		return "delete"
	case OpCheck:
		return "check"
	case OpCheckAbsent:
		return "check absence of"
	default:
		return fmt.Sprintf("kind %d", int(k))
	}
}

// Op is one operation of a commit. Make it with the functions below; the fields
// are there for implementations of Store.
type Op struct {
	Kind    OpKind
	Path    string
	Data    []byte // create and set
	Version int64  // set, delete and check
}

// Create makes a persistent record at version 0, with those of its ancestors
// that do not exist. It fails with ErrExists, or with ErrEphemeralParent.
func Create(path string, data []byte) Op {
	return Op{Kind: OpCreate, Path: path, Data: data}
}

// CreateEphemeral does the same with a record that the session's end removes.
// Its ancestors are persistent.
func CreateEphemeral(path string, data []byte) Op {
	return Op{Kind: OpCreateEphemeral, Path: path, Data: data}
}

// Set replaces the data of a record that has this version, which afterwards is
// one more. It fails with ErrNotFound or ErrVersion.
func Set(path string, data []byte, version int64) Op {
	return Op{Kind: OpSet, Path: path, Data: data, Version: version}
}

// Delete removes a record that has this version. It fails with ErrNotFound,
// ErrVersion, or ErrNotEmpty.
func Delete(path string, version int64) Op {
	return Op{Kind: OpDelete, Path: path, Version: version}
}

// Check changes nothing and fails with ErrNotFound or ErrVersion unless the
// record has this version. With AnyVersion it asks only that there is one.
func Check(path string, version int64) Op {
	return Op{Kind: OpCheck, Path: path, Version: version}
}

// CheckAbsent changes nothing and fails with ErrExists if there is such a
// record, or with ErrEphemeralParent if there can be none.
func CheckAbsent(path string) Op {
	return Op{Kind: OpCheckAbsent, Path: path}
}

// opOverhead is what an operation counts beside its path and data.
const opOverhead = 64

// sizeOf is what operations count towards MaxCommit.
func sizeOf(ops []Op) (n int) {
	for _, op := range ops {
		n += len(op.Path) + len(op.Data) + opOverhead
	}
	return n
}

// CheckOps returns ErrInvalid or ErrTooLarge unless ops can be committed as far
// as that shows without a service. Every implementation of Commit calls it
// first.
func CheckOps(ops []Op) error {
	if len(ops) == 0 {
		return fmt.Errorf("%w: a commit without operations", ErrInvalid)
	}
	for i, op := range ops {
		if err := op.check(); err != nil {
			return fmt.Errorf("operation %d (%s %q): %w", i, op.Kind, op.Path, err)
		}
	}
	if size := sizeOf(ops); size > MaxCommit {
		return fmt.Errorf("%w: a commit of %d operations and %d bytes, at most %d bytes are allowed",
			ErrTooLarge, len(ops), size, MaxCommit)
	}
	return nil
}

func (op Op) check() error {
	if err := CheckPath(op.Path); err != nil {
		return err
	}
	switch op.Kind {
	case OpCreate, OpCreateEphemeral, OpCheckAbsent:
	case OpSet, OpDelete, OpCheck:
		if op.Version < AnyVersion {
			return fmt.Errorf("%w: version %d", ErrInvalid, op.Version)
		}
	default:
		return fmt.Errorf("%w: %s", ErrInvalid, op.Kind)
	}
	if len(op.Data) > MaxData {
		return fmt.Errorf("%w: %d bytes of data, at most %d are allowed in a record",
			ErrTooLarge, len(op.Data), MaxData)
	}
	return nil
}
