package wire

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // the codec that Codec falls back to
	"google.golang.org/grpc/mem"
)

// Codec passes a [*Frame] through as it is and leaves every other message to
// protobuf. It carries protobuf's name, since go-plugin's own services (health,
// controller, stdio) share the connection.
//
// Sending a Frame hands its buffers over to gRPC; the sender's Frame is empty
// afterwards. A received Frame belongs to the receiver, who frees it.
type Codec struct{}

var _ encoding.CodecV2 = Codec{}

// Name implements [encoding.CodecV2].
func (Codec) Name() string { return "proto" }

// Marshal implements [encoding.CodecV2].
func (Codec) Marshal(v any) (mem.BufferSlice, error) {
	if f, ok := v.(*Frame); ok {
		data := f.Data
		f.Data = nil
		return data, nil
	}
	return protobuf().Marshal(v)
}

// Unmarshal implements [encoding.CodecV2].
func (Codec) Unmarshal(data mem.BufferSlice, v any) error {
	if f, ok := v.(*Frame); ok {
		if f.Data != nil {
			return fmt.Errorf("wire: receiving into a frame that still holds one")
		}
		data.Ref()
		f.Data = data
		return nil
	}
	return protobuf().Unmarshal(data, v)
}

func protobuf() encoding.CodecV2 { return encoding.GetCodecV2("proto") }
