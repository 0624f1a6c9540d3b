package wire

import (
	"encoding/binary"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// Fields of pluginv1.Batch, Column and Origin; see frame.proto.
const (
	batchRecords = 1
	batchKey     = 2 // the other columns follow
	batchHeaders = 5
	batchOrigin  = 6
	batchSegment = 14
	batchInline  = 15

	columnEncoding = 1
	columnLength   = 2
	columnNulls    = 3

	originSplits = 1
	originRuns   = 2
)

const (
	// inPlace is the size from which a column's data is sent from where it lies.
	// It is above what gRPC refuses to count ([mem.IsBelowBufferPoolingThreshold]).
	inPlace = 2 << 10

	// headRoom is enough for a frame's header and its body's tag and length.
	headRoom = 32
)

// Encode returns b as a frame. Its large columns are b's own memory, which the
// frame holds until it is freed or gRPC has sent it; the caller still releases b.
// A batch that was decoded leaves as it came.
func Encode(component, port, target uint32, b *Batch) Frame {
	if b.body != nil {
		head := appendHead(make([]byte, 0, headRoom), component, port, target)
		head = protowire.AppendTag(head, protowire.Number(KindBatch), protowire.BytesType)
		head = protowire.AppendVarint(head, uint64(b.body.Len()))
		b.body.Ref()
		return Frame{Data: mem.BufferSlice{mem.SliceBuffer(head), b.body}}
	}

	// The side buffer holds all that is not a large column: head, metadata, and
	// between the columns the ends, bitmaps and runs.
	columns := b.columns()
	chunk := b.pool.Get(b.sideSize())
	side := appendMeta((*chunk)[:headRoom], b)
	payload := b.payloadSize()
	side = protowire.AppendTag(side, batchInline, protowire.BytesType)
	side = protowire.AppendVarint(side, uint64(payload))

	var tmp [headRoom]byte
	head := appendHead(tmp[:0], component, port, target)
	head = protowire.AppendTag(head, protowire.Number(KindBatch), protowire.BytesType)
	head = protowire.AppendVarint(head, uint64(len(side)-headRoom+payload))
	start := headRoom - copy(side[headRoom-len(head):], head)

	var cuts [len(columns)]int // where in side a column's data belongs
	pieces := 1
	for i, c := range columns {
		if c.Encoding == Absent {
			continue
		}
		if len(c.Data) >= inPlace {
			cuts[i] = len(side)
			pieces += 2
		} else {
			side = append(side, c.Data...)
		}
		if c.Encoding == PerRecord && i != timeColumn {
			side = appendEnds(side, c.Ends)
			side = append(side, c.Nulls...)
		}
	}
	side = appendRuns(side, b.runs)

	*chunk = side
	whole := mem.NewBuffer(chunk, b.pool)
	data := make(mem.BufferSlice, 0, pieces)
	for i, cut := range cuts {
		if cut == 0 {
			continue
		}
		if cut > start {
			data = append(data, whole.Slice(start, cut))
		}
		b.Hold()
		data = append(data, mem.NewBuffer(&columns[i].Data, (*lender)(b)))
		start = cut
	}
	if start < len(side) {
		data = append(data, whole.Slice(start, len(side)))
	}
	whole.Free()
	return Frame{Data: data}
}

// lender is a batch as the pool that a lent column goes back to.
type lender Batch

func (l *lender) Get(int) *[]byte { panic("wire: a batch lends only what it has") }
func (l *lender) Put(*[]byte)     { (*Batch)(l).Release() }

func (b *Batch) payloadSize() int {
	size := len(b.runs) * runBytes
	for i, c := range b.columns() {
		if c.Encoding == Absent {
			continue
		}
		size += len(c.Data)
		if c.Encoding == PerRecord && i != timeColumn {
			size += 4*len(c.Ends) + len(c.Nulls)
		}
	}
	return size
}

// sideSize is at least what Encode's side buffer needs.
func (b *Batch) sideSize() int {
	size := headRoom + 128 + b.payloadSize()
	for _, c := range b.columns() {
		if c.Encoding != Absent && len(c.Data) >= inPlace {
			size -= len(c.Data)
		}
	}
	for _, s := range b.splits {
		size += len(s) + 8
	}
	return size
}

func appendMeta(out []byte, b *Batch) []byte {
	out = appendUint(out, batchRecords, uint64(b.n))
	for i, c := range b.columns() {
		if c.Encoding == Absent {
			continue
		}
		var tmp [16]byte
		col := appendUint(tmp[:0], columnEncoding, uint64(c.Encoding))
		if len(c.Data) > 0 {
			col = appendUint(col, columnLength, uint64(len(c.Data)))
		}
		if c.Encoding == PerRecord && len(c.Nulls) > 0 {
			col = appendUint(col, columnNulls, 1)
		}
		out = protowire.AppendTag(out, protowire.Number(batchKey+i), protowire.BytesType)
		out = protowire.AppendBytes(out, col)
	}
	if len(b.runs) == 0 {
		return out
	}
	size := protowire.SizeTag(originRuns) + protowire.SizeVarint(uint64(len(b.runs)))
	for _, s := range b.splits {
		size += protowire.SizeTag(originSplits) + protowire.SizeBytes(len(s))
	}
	out = protowire.AppendTag(out, batchOrigin, protowire.BytesType)
	out = protowire.AppendVarint(out, uint64(size))
	for _, s := range b.splits {
		out = protowire.AppendTag(out, originSplits, protowire.BytesType)
		out = protowire.AppendString(out, s)
	}
	return appendUint(out, originRuns, uint64(len(b.runs)))
}

func appendUint(out []byte, field protowire.Number, v uint64) []byte {
	out = protowire.AppendTag(out, field, protowire.VarintType)
	return protowire.AppendVarint(out, v)
}

func appendEnds(out []byte, ends []uint32) []byte {
	at := len(out)
	out = append(out, make([]byte, 4*len(ends))...)
	for dst := out[at:]; len(ends) > 0 && len(dst) >= 4; ends, dst = ends[1:], dst[4:] {
		binary.LittleEndian.PutUint32(dst, ends[0])
	}
	return out
}

func appendRuns(out []byte, runs []Run) []byte {
	for _, r := range runs {
		out = binary.LittleEndian.AppendUint32(out, r.Split)
		out = binary.LittleEndian.AppendUint32(out, r.Count)
		out = binary.LittleEndian.AppendUint64(out, uint64(r.First))
		out = binary.LittleEndian.AppendUint64(out, uint64(r.Step))
	}
	return out
}
