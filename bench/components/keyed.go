package components

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"strconv"

	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/diskstate"
)

// KeysConfig says how many keys there are.
type KeysConfig struct {
	Keys uint32 `weir:"keys,required" min:"1" doc:"How many different keys."`
}

// Keys sets key and time from the number at the beginning of a line, at a fixed
// offset: keys come in an order that no cache foresees, times a microsecond apart.
func Keys() sdk.Component {
	return sdk.NewOperator("keys", "Sets key and time from the number at the beginning of a line.",
		func(_ context.Context, c *KeysConfig, _ *sdk.Task) (keys, error) { return keys{c.Keys}, nil },
		sdk.PreservesOrder())
}

type keys struct{ n uint32 }

// numberDigits is the length of the number in a line of input.
const numberDigits = 12

func (k keys) Process(_ context.Context, in *sdk.Batch, out *sdk.Collector) error {
	var raw [4]byte
	var key [8]byte
	for r := range in.All() {
		line := r.Value()
		n := uint64(0)
		for _, c := range line[:numberDigits] {
			n = n*10 + uint64(c-'0')
		}
		binary.BigEndian.PutUint32(raw[:], uint32(n)*0x9e3779b1%k.n)
		hex.Encode(key[:], raw[:])
		out.EmitRow(r, sdk.Row{Key: key[:], Value: line, Time: sdk.UnixNano(int64(n) * 1000), Headers: r.Headers()})
	}
	return nil
}

func (keys) Close() error { return nil }

// CountConfig says how large the state of a key is.
type CountConfig struct {
	Pad int `weir:"pad" default:"0" min:"0" doc:"Bytes of state a key beside its count."`
}

// Count counts by key and sends the count of each record.
func Count() sdk.Component {
	return sdk.NewKeyedOperator("count", "Counts by key.",
		func(_ context.Context, cfg *CountConfig, t *sdk.Task) (*count, error) {
			if cfg.Pad > 0 {
				return &count{padded: sdk.Value[[]byte](t, "padded"), pad: make([]byte, 8+cfg.Pad)}, nil
			}
			return &count{n: sdk.Value[int64](t, "count")}, nil
		}, sdk.PreservesOrder(), sdk.PreservesKey(), sdk.DiskState(diskstate.Pebble()))
}

// count has one of two states.
type count struct {
	n      *sdk.ValueState[int64]
	padded *sdk.ValueState[[]byte]
	pad    []byte // a value on its way
	random uint64
}

// next counts once more.
func (c *count) next() int64 {
	if c.padded == nil {
		n, _ := c.n.Get()
		c.n.Set(n + 1)
		return n + 1
	}
	n := uint64(1)
	if v, ok := c.padded.Get(); ok {
		n += binary.LittleEndian.Uint64(v)
	}
	binary.LittleEndian.PutUint64(c.pad, n)
	c.random = c.random*6364136223846793005 + n // so that it does not compress
	for at := 8; at+8 <= len(c.pad); at += 8 {
		c.random = c.random*6364136223846793005 + 1442695040888963407
		binary.LittleEndian.PutUint64(c.pad[at:], c.random)
	}
	c.padded.Set(c.pad)
	return int64(n)
}

func (c *count) ProcessKeyed(_ context.Context, r sdk.Record, out *sdk.Collector) error {
	n := c.next()
	out.Emit(r, strconv.AppendInt(out.AvailableBuffer(), n+1, 10))
	return nil
}

func (c *count) Close() error { return nil }
