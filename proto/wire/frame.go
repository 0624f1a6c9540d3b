package wire

import (
	"errors"
	"fmt"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// Frame is one pluginv1.Frame as it travels: encoded, and only as far unpacked as
// [Frame.Header] reads. It is owned by one goroutine at a time. The buffers are
// counted: whoever holds a Frame frees it, or sends it, once.
type Frame struct {
	Data mem.BufferSlice
}

// Kind is the kind of a frame: the field number of its oneof member.
type Kind uint32

// The kinds of frames; see frame.proto.
const (
	KindAttach       Kind = 4
	KindBatch        Kind = 5
	KindWatermark    Kind = 6
	KindBarrier      Kind = 7
	KindAssign       Kind = 8
	KindNoMoreSplits Kind = 9
	KindSplitOpened  Kind = 10
	KindSplitEnded   Kind = 11
	KindIdle         Kind = 12
)

// Header is what stands in front of a frame's body.
type Header struct {
	Component, Port uint32
	// Target is the receiving task's index plus 1, or 0.
	Target uint32
	Kind   Kind
	// Records is the number of records of a batch.
	Records uint32

	headLen int // bytes of component, port and target
	bodyLen int // bytes of the body without tag and length
	bodyAt  int // where the body's bytes begin
}

// BodyLen is the size of the body (of the encoded Batch, say) in bytes.
func (h Header) BodyLen() int { return h.bodyLen }

// ErrMalformed is wrapped by every error about bytes that do not keep the contract.
var ErrMalformed = errors.New("malformed frame")

const (
	fieldComponent = 1
	fieldPort      = 2
	fieldTarget    = 3

	// peekBytes covers the three header fields, the body's tag and length, and
	// the batch's record count.
	peekBytes = 48
)

// Free drops the frame's buffers. It may be called again.
func (f *Frame) Free() {
	f.Data.Free()
	f.Data = nil
}

// Len is the encoded size in bytes.
func (f *Frame) Len() int { return f.Data.Len() }

// Clone returns a second frame over the same bytes, for a second receiver.
func (f *Frame) Clone() Frame {
	data := make(mem.BufferSlice, len(f.Data))
	copy(data, f.Data)
	data.Ref()
	return Frame{Data: data}
}

// Header reads the frame's header and checks that exactly one body follows it.
func (f *Frame) Header() (Header, error) {
	total := f.Data.Len()
	var scratch [peekBytes]byte
	b := f.peek(&scratch)
	var h Header
	at := 0
	for {
		num, typ, n := protowire.ConsumeTag(b[at:])
		if n < 0 {
			return h, fmt.Errorf("%w: no tag at byte %d of %d", ErrMalformed, at, total)
		}
		if typ == protowire.BytesType && num > fieldTarget {
			size, m := protowire.ConsumeVarint(b[at+n:])
			if m < 0 || uint64(total) != uint64(at+n+m)+size {
				return h, fmt.Errorf("%w: a body of %d bytes at byte %d in a frame of %d", ErrMalformed, size, at, total)
			}
			h.Kind, h.headLen, h.bodyAt, h.bodyLen = Kind(num), at, at+n+m, int(size)
			break
		}
		v, m := protowire.ConsumeVarint(b[at+n:])
		if typ != protowire.VarintType || m < 0 || v > 1<<31 {
			return h, fmt.Errorf("%w: field %d in front of the body", ErrMalformed, num)
		}
		switch num {
		case fieldComponent:
			h.Component = uint32(v)
		case fieldPort:
			h.Port = uint32(v)
		case fieldTarget:
			h.Target = uint32(v)
		}
		at += n + m
	}
	if h.Kind != KindBatch {
		return h, nil
	}
	num, typ, n := protowire.ConsumeTag(b[h.bodyAt:])
	if n < 0 || num != 1 || typ != protowire.VarintType {
		return h, fmt.Errorf("%w: a batch does not begin with its record count", ErrMalformed)
	}
	records, m := protowire.ConsumeVarint(b[h.bodyAt+n:])
	// A record may cost nothing at all (every column absent or constant), so the
	// count has a bound of its own.
	if m < 0 || records == 0 || records > MaxRecords {
		return h, fmt.Errorf("%w: a batch of %d records", ErrMalformed, records)
	}
	h.Records = uint32(records)
	return h, nil
}

// MaxRecords is the largest number of records in a batch.
const MaxRecords = 1 << 22

// peek returns the first bytes of the frame, up to peekBytes.
func (f *Frame) peek(scratch *[peekBytes]byte) []byte {
	if len(f.Data) > 0 {
		if first := f.Data[0].ReadOnlyData(); len(first) >= peekBytes || len(f.Data) == 1 {
			return first[:min(len(first), peekBytes)]
		}
	}
	n := 0
	for _, b := range f.Data {
		n += copy(scratch[n:], b.ReadOnlyData())
	}
	return scratch[:n]
}

// Rewrite puts a new component, port and target in front of the frame's body,
// which stays where it is. h is the frame's own header, as Header returned it.
func (f *Frame) Rewrite(h Header, component, port, target uint32) {
	if h.Component == component && h.Port == port && h.Target == target {
		return
	}
	drop := h.headLen
	data := make(mem.BufferSlice, 0, len(f.Data)+1)
	if head := appendHead(nil, component, port, target); len(head) > 0 {
		data = append(data, mem.SliceBuffer(head))
	}
	for _, b := range f.Data {
		switch n := b.Len(); {
		case drop >= n:
			drop -= n
			b.Free()
		case drop > 0:
			data = append(data, b.Slice(drop, n))
			b.Free()
			drop = 0
		default:
			data = append(data, b)
		}
	}
	f.Data = data
}

func appendHead(b []byte, component, port, target uint32) []byte {
	for num, v := range [...]uint32{fieldComponent: component, fieldPort: port, fieldTarget: target} {
		if v != 0 {
			b = protowire.AppendTag(b, protowire.Number(num), protowire.VarintType)
			b = protowire.AppendVarint(b, uint64(v))
		}
	}
	return b
}

// Body returns the body's bytes in one piece: the first buffer's own where it
// holds them all, a copy from pool otherwise. The caller frees the result and
// still owns f.
func (f *Frame) Body(h Header, pool mem.BufferPool) mem.Buffer {
	if len(f.Data) == 1 {
		return f.Data[0].Slice(h.bodyAt, h.bodyAt+h.bodyLen)
	}
	whole := f.Data.MaterializeToBuffer(pool)
	body := whole.Slice(h.bodyAt, h.bodyAt+h.bodyLen)
	whole.Free()
	return body
}

// Message unmarshals a frame that is not a batch.
func (f *Frame) Message() (*pluginv1.Frame, error) {
	m := new(pluginv1.Frame)
	if err := proto.Unmarshal(f.Data.Materialize(), m); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return m, nil
}

// FrameOf marshals a frame that is not a batch. The order of fields that the
// contract asks for is protobuf-go's own: by number.
func FrameOf(m *pluginv1.Frame) (Frame, error) {
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return Frame{}, fmt.Errorf("wire: %w", err)
	}
	return Frame{Data: mem.BufferSlice{mem.SliceBuffer(data)}}, nil
}
