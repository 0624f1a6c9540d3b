//go:build linux

package faulttest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// event is a line of the input of a pipeline that goes by event time.
type event struct {
	ID    int    `json:"id"`
	Key   string `json:"k"`
	At    int64  `json:"t"` // ms
	Value int64  `json:"v"`
}

func (e event) String() string {
	text, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// earlier orders events as the operators do that keep records.
func earlier(a, b event) int {
	return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.String(), b.String()))
}

// stream is input by event time: in files that follow each other, out of order by no
// more than bound ms over all of them.
type stream struct {
	pipelineCase
	files [][]event
	bound int64
}

// byKey has the events of each key in the order of their times.
func (s *stream) byKey() map[string][]event {
	out := map[string][]event{}
	for _, e := range slices.Concat(s.files...) {
		out[e.Key] = append(out[e.Key], e)
	}
	for _, mine := range out {
		slices.SortFunc(mine, earlier)
	}
	return out
}

// drawStream draws a pipeline: its input, what its nodes do, where they keep their
// state, and what its output must be.
func drawStream(rng *rand.Rand) *stream {
	s := &stream{bound: rng.Int64N(400)}
	const base = 1_700_000_000_000
	step, keys, id := 1+rng.Int64N(5), 1+rng.IntN(12), 0
	lines := 200 + rng.IntN(500)
	for range 2 + rng.IntN(4) {
		var file []event
		for range lines {
			file = append(file, event{id, fmt.Sprintf("k%d", rng.IntN(keys)), base + int64(id)*step - rng.Int64N(s.bound+1), rng.Int64N(1 << 30)})
			id++
		}
		s.files = append(s.files, file)
	}
	s.pipelineCase = pipelineCase{
		input:       input{files: len(s.files), lines: lines, splitSize: 4000 + rng.IntN(40_000)},
		parallelism: []int{1, 2, 3, 4}, isolation: allIsolations, sinks: map[string]sinkCase{},
	}
	var nodes strings.Builder
	fmt.Fprintf(&nodes, `
  in:   {source: a/file, config: {path: $DIR/in, split_size: $SPLIT}, event_time: {from: /t, unit: ms, out_of_orderness: %dms}}
  slow: {operator: a/slow, input: in, config: {rate: $RATE}}
  keys: {operator: a/expr, input: slow, config: {key: json.k}}
`, s.bound)
	for i, kind := range rng.Perm(len(streamNodes))[:1+rng.IntN(2)] {
		n := streamNodes[kind](rng, s, step)
		state := []string{"memory", "disk"}[rng.IntN(2)]
		fmt.Fprintf(&nodes, "%s  do%d:  {operator: b/%s, input: %s, state: %s, config: {%s}}\n", n.before, i, n.operator, n.input, state, n.config)
		fmt.Fprintf(&nodes, "  out%d: {sink: file, input: do%d, config: {path: $DIR/out%d/, roll: {size: %dKiB}}}\n", i, i, i, 2+rng.IntN(30))
		s.name += " " + n.operator
		s.sinks[fmt.Sprintf("out%d", i)] = sinkCase{func(input) expectation { return n.want }, inFiles}
	}
	s.nodes = nodes.String()
	return s
}

// streamNode is a node by event time, what stands before it, and what it makes of a
// stream.
type streamNode struct {
	before, input, operator, config string
	want                            expectation
}

// streamNodes draw one of each kind. Windows and times are some tens of records long.
var streamNodes = []func(rng *rand.Rand, s *stream, step int64) streamNode{
	func(rng *rand.Rand, s *stream, step int64) streamNode {
		slide := step * (5 + rng.Int64N(100))
		return sliding(s, slide, slide)
	},
	func(rng *rand.Rand, s *stream, step int64) streamNode {
		slide := step * (5 + rng.Int64N(50))
		return sliding(s, slide*(2+rng.Int64N(4)), slide)
	},
	func(rng *rand.Rand, s *stream, step int64) streamNode { return sessions(s, step*(1+rng.Int64N(30))) },
	func(rng *rand.Rand, s *stream, step int64) streamNode { return deduped(s, step*(1+rng.Int64N(100))) },
	func(rng *rand.Rand, s *stream, step int64) streamNode {
		return joined(s, step*rng.Int64N(20), []string{"inner", "left"}[rng.IntN(2)])
	},
}

const sums = "aggregates: {a: count(), b: sum(json.v), c: collect(json.id)}"

// window is what a window node says of a window.
func (e expectation) window(key string, start, end int64, in []event) {
	var sum int64
	var ids []int
	for _, x := range in {
		sum, ids = sum+x.Value, append(ids, x.ID)
	}
	text := strings.ReplaceAll(fmt.Sprint(ids), " ", ",")
	e[fmt.Sprintf(`{"key":%q,"start":%d,"end":%d,"a":%d,"b":%d,"c":%s}`, key, start, end, len(in), sum, text)] = place{"key " + key, int(end)}
}

// sliding puts each event into the windows that hold its time.
func sliding(s *stream, size, slide int64) streamNode {
	want := expectation{}
	for key, mine := range s.byKey() {
		windows := map[int64][]event{}
		for _, e := range mine {
			for start := e.At - e.At%slide; start > e.At-size; start -= slide {
				windows[start] = append(windows[start], e)
			}
		}
		for start, in := range windows {
			want.window(key, start, start+size, in)
		}
	}
	config := fmt.Sprintf("size: %dms, slide: %dms, %s", size, slide, sums)
	if size == slide {
		config = fmt.Sprintf("size: %dms, %s", size, sums)
	}
	return streamNode{"", "keys", "window", config, want}
}

// sessions end where a key has no event for a gap.
func sessions(s *stream, gap int64) streamNode {
	want := expectation{}
	for key, mine := range s.byKey() {
		for len(mine) > 0 {
			n := 1
			for n < len(mine) && mine[n].At-mine[n-1].At < gap {
				n++
			}
			want.window(key, mine[0].At, mine[n-1].At+gap, mine[:n])
			mine = mine[n:]
		}
	}
	return streamNode{"", "keys", "window", fmt.Sprintf("gap: %dms, %s", gap, sums), want}
}

// deduped lets an event through when none of its key was within the time before.
func deduped(s *stream, within int64) streamNode {
	want := expectation{}
	for key, mine := range s.byKey() {
		last := mine[0].At - within
		for _, e := range mine {
			if e.At >= last+within {
				last = e.At
				want[e.String()] = place{"key " + key, int(e.At)}
			}
		}
	}
	return streamNode{"", "keys", "dedup", fmt.Sprintf("within: %dms, time: event", within), want}
}

// joined pairs each event with the odd ones of its key that are within the time.
func joined(s *stream, within int64, kind string) streamNode {
	want := expectation{}
	for key, mine := range s.byKey() {
		for _, l := range mine {
			alone := true
			for _, r := range mine {
				if r.Value%2 == 1 && max(l.At, r.At)-min(l.At, r.At) <= within {
					alone = false
					want[fmt.Sprintf(`{"key":%q,"left":%s,"right":%s}`, key, l, r)] = place{fmt.Sprint(l.ID, r.ID), 0}
				}
			}
			if alone && kind == "left" {
				want[fmt.Sprintf(`{"key":%q,"left":%s,"right":null}`, key, l)] = place{fmt.Sprint(l.ID), 0}
			}
		}
	}
	odd := "  odd:  {operator: a/expr, input: slow, config: {key: json.k, filter: json.v % 2 == 1}}\n"
	return streamNode{odd, "{left: keys, right: odd}", "join", fmt.Sprintf("within: %dms, type: %s", within, kind), want}
}

// TestRandomPipelinesByEventTime: windows, sessions, joins and deduplication, drawn with
// their input, in memory and on disk, come to what brute force makes of the whole input,
// although anything dies at any time and parallelism and isolation change.
func TestRandomPipelinesByEventTime(t *testing.T) {
	rng := seeded(t)
	for i := range rounds(t, 20) {
		rng := rand.New(rand.NewPCG(rng.Uint64(), 0))
		s := drawStream(rng)
		t.Run(fmt.Sprint(i, s.name), func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			for f, file := range s.files {
				var text strings.Builder
				for _, e := range file {
					fmt.Fprintln(&text, e)
				}
				if err := os.WriteFile(l.path("in", fmt.Sprintf("%02d.log", f)), []byte(text.String()), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			rescaled := changing(l, s.pipelineCase, 700*time.Millisecond, 2200*time.Millisecond, rng)
			s.check(l, rescaled)
			if t.Failed() {
				t.Log(s.nodes)
			}
		})
	}
}
