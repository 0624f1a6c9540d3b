// Package generator is a source that makes records up: the same ones for the
// same configuration, every time.
package generator

import (
	"context"
	"io"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/weirstream/weir/sdk"
)

// Config is the source's configuration.
type Config struct {
	Count  *int64       `weir:"count" min:"0" doc:"How many records to make in all; without it, no end."`
	Rate   float64      `weir:"rate" default:"0" min:"0" doc:"Records a second, over all splits; 0 is as fast as they are taken."`
	Size   sdk.ByteSize `weir:"size" default:"100" min:"1" max:"16MiB" doc:"Size of each value, reached by padding; a value that needs more is larger."`
	Keys   int64        `weir:"keys" default:"1000" min:"0" doc:"Number of different keys; 0 leaves the key null."`
	Seed   uint64       `weir:"seed" default:"1" doc:"Another seed gives other keys and padding."`
	Splits int          `weir:"splits" default:"1" min:"1" max:"1024" doc:"Number of splits: record n is in split n mod splits, and each split is in order. A split is read by one task, so parallelism beyond it is idle."`
	Time   string       `weir:"time" default:"sequence" enum:"sequence,now" doc:"The record's time: a millisecond after the one before (sequence), or when it was made (now). The value's ts is always the sequence's."`
}

// Capabilities implements [sdk.Claimer].
func (c *Config) Capabilities(caps *sdk.Capabilities) { caps.Bounded = c.Count != nil }

// Source returns the component.
func Source() sdk.Component {
	return sdk.NewSource("generator", "Makes up JSON records with seq, key, ts (ms) and pad, the same every time.",
		func(_ context.Context, cfg *Config, _ *sdk.Task) (*source, error) { return newSource(cfg), nil },
		sdk.Bounded(),
		sdk.Example("A million records of 100 bytes with 1,000 keys", "count: 1000000\nkeys: 1000\n"))
}

// split says which records: every Stride-th from First on.
type split struct {
	First  int64 `json:"first"`
	Stride int64 `json:"stride"`
}

// position is the next record, and how many of the split were made.
type position struct {
	Made int64 `json:"made"`
}

type source struct {
	cfg *Config
	pad []byte
	// Of the splits that were opened: records made, and to make.
	made, total atomic.Int64
}

// padBytes is the length of the text that padding is cut from.
const padBytes = 1 << 16

func newSource(cfg *Config) *source {
	s := &source{cfg: cfg, pad: make([]byte, padBytes+int(cfg.Size))}
	const letters = "abcdefghijklmnopqrstuvwxyz012345"
	random := rand.New(rand.NewPCG(cfg.Seed, 0))
	for i := range s.pad {
		s.pad[i] = letters[random.Uint32()%uint32(len(letters))]
	}
	return s
}

// Splits implements [sdk.Source].
func (s *source) Splits(context.Context) ([]sdk.Split[split], bool, error) {
	n := int64(s.cfg.Splits)
	out := make([]sdk.Split[split], n)
	for i := range n {
		out[i] = sdk.Split[split]{ID: strconv.FormatInt(i, 10), Data: split{First: i, Stride: n}}
	}
	return out, false, nil
}

// Open implements [sdk.Source].
func (s *source) Open(_ context.Context, sp sdk.Split[split], from *position) (sdk.Reader[position], error) {
	r := &reader{source: s, split: sp.Data, end: -1, rate: s.cfg.Rate / float64(s.cfg.Splits)}
	if s.cfg.Count != nil {
		// Records First, First+Stride, ... below Count.
		r.end = max(0, (*s.cfg.Count-sp.Data.First+sp.Data.Stride-1)/sp.Data.Stride)
	}
	if from != nil {
		r.made = from.Made
	}
	r.began, r.base = time.Now(), r.made
	s.made.Add(r.made)
	s.total.Add(max(0, r.end))
	return r, nil
}

// Progress implements [sdk.Progresser].
func (s *source) Progress() sdk.Progress {
	return sdk.Progress{Done: float64(s.made.Load()), Total: float64(s.total.Load()), Unit: "records", Lag: -1}
}

// Close implements [sdk.Source].
func (s *source) Close() error { return nil }

type reader struct {
	*source
	split split
	made  int64
	end   int64 // -1: none

	rate  float64 // of this split
	began time.Time
	base  int64 // made when it began
}

// epoch is the time of record 0.
var epoch = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()

// minPause keeps a fast split from waking for each record.
const minPause = 200 * time.Microsecond

// Read implements [sdk.Reader].
func (r *reader) Read(ctx context.Context, out *sdk.Collector) (position, error) {
	limit, err := r.due(ctx)
	if err != nil {
		return position{}, err
	}
	var now sdk.Time
	if r.cfg.Time == "now" {
		now = sdk.TimeOf(time.Now())
	}
	before := r.made
	for r.made < limit && !out.Full() {
		r.append(out, r.split.First+r.made*r.split.Stride, now)
		r.made++
	}
	r.source.made.Add(r.made - before)
	if r.made == r.end {
		return position{r.made}, io.EOF
	}
	return position{r.made}, nil
}

// due returns how many records of the split may have been made by now, and waits
// until that is more than there are.
func (r *reader) due(ctx context.Context) (int64, error) {
	end := r.end
	if end < 0 {
		end = 1<<63 - 1
	}
	if r.rate == 0 || r.made >= end {
		return end, ctx.Err()
	}
	for {
		if n := r.base + int64(time.Since(r.began).Seconds()*r.rate); n > r.made {
			return min(n, end), ctx.Err()
		}
		next := time.Duration(float64(r.made+1-r.base) / r.rate * float64(time.Second))
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(max(minPause, next-time.Since(r.began))):
		}
	}
}

// append makes record n.
func (r *reader) append(out *sdk.Collector, n int64, now sdk.Time) {
	h := mix(r.cfg.Seed, uint64(n))
	var keyBuf [24]byte
	var key []byte
	if r.cfg.Keys > 0 {
		key = strconv.AppendUint(append(keyBuf[:0], 'k'), h%uint64(r.cfg.Keys), 10)
	}
	ts := epoch + n
	if now.IsZero() {
		now = sdk.UnixMilli(ts)
	}
	v := out.AvailableBuffer()
	v = append(v, `{"seq":`...)
	v = strconv.AppendInt(v, n, 10)
	if key == nil {
		v = append(v, `,"key":null,"ts":`...)
	} else {
		v = append(v, `,"key":"`...)
		v = append(v, key...)
		v = append(v, `","ts":`...)
	}
	v = strconv.AppendInt(v, ts, 10)
	v = append(v, `,"pad":"`...)
	if fill := int(r.cfg.Size) - len(v) - 2; fill > 0 {
		at := (h >> 32) % padBytes
		v = append(v, r.pad[at:at+uint64(fill)]...)
	}
	v = append(v, `"}`...)
	out.Append(sdk.Row{Key: key, Value: v, Time: now, Origin: r.made})
}

// Close implements [sdk.Reader].
func (r *reader) Close() error { return nil }

// mix is the finaliser of splitmix64 (Steele, Lea and Flood, 2014) over seed and n.
func mix(seed, n uint64) uint64 {
	x := seed*0x9e3779b97f4a7c15 + n + 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
