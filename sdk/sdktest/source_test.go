package sdktest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/sdktest"
)

type linesConfig struct {
	Parts  []string `weir:"parts,required"`
	Chunk  int      `weir:"chunk" default:"2" min:"1"`
	Follow bool     `weir:"follow"`
	Wrong  string   `weir:"wrong"`
}

func (c *linesConfig) Capabilities(left *sdk.Capabilities) { left.Bounded = !c.Follow }

// lines is a source: each part, words divided by spaces, is a split.
type lines struct {
	cfg      *linesConfig
	observed map[string]linePos
}

type lineSplit struct {
	Part int `json:"part"`
}

type linePos struct {
	Word int `json:"word"`
}

func (s *lines) Splits(context.Context) ([]sdk.Split[lineSplit], bool, error) {
	var splits []sdk.Split[lineSplit]
	for i := range s.cfg.Parts {
		split := sdk.Split[lineSplit]{ID: fmt.Sprint("part-", i), Data: lineSplit{i}}
		if i > 0 && s.cfg.Wrong == "order" {
			split.After = []string{splits[0].ID}
		}
		splits = append(splits, split)
	}
	if s.cfg.Wrong == "order" { // listed the wrong way round, but each says what it waits for
		slices.Reverse(splits)
	}
	return splits, s.cfg.Follow, nil
}

func (s *lines) Open(_ context.Context, split sdk.Split[lineSplit], from *linePos) (sdk.Reader[linePos], error) {
	r := &lineReader{source: s, words: strings.Fields(s.cfg.Parts[split.Data.Part])}
	if from != nil {
		r.at = *from
		if s.cfg.Wrong == "resume" && r.at.Word > 1 {
			r.at.Word++
		}
	}
	return r, nil
}

func (s *lines) CheckpointCompleted(_ context.Context, at map[string]linePos) error {
	s.observed = at
	if at["part-0"].Word > 3 {
		return errors.New("too far")
	}
	return nil
}

func (s *lines) Close() error { return nil }

type lineReader struct {
	source  *lines
	words   []string
	at      linePos
	retried bool
}

func (r *lineReader) Read(ctx context.Context, out *sdk.Collector) (linePos, error) {
	if r.source.cfg.Wrong == "retry" && !r.retried {
		r.retried = true
		out.Append(sdk.Row{Value: []byte("dropped")})
		return r.at, sdk.Retry(errors.New("busy"), time.Millisecond)
	}
	r.retried = false
	for i := range r.source.cfg.Chunk {
		if r.at.Word == len(r.words) {
			if r.source.cfg.Follow {
				if i > 0 {
					return r.at, nil
				}
				<-ctx.Done()
				return r.at, ctx.Err()
			}
			return r.at, io.EOF
		}
		row := sdk.Row{Value: []byte(r.words[r.at.Word]), Origin: int64(r.at.Word)}
		switch {
		case r.source.cfg.Wrong == "error":
			return r.at, errors.New("unreadable")
		case r.words[r.at.Word] == "bad":
			out.FailRow(row, 100, errors.New("a bad word"))
		default:
			out.Append(row)
		}
		r.at.Word++
	}
	return r.at, nil
}

func (r *lineReader) Close() error { return nil }

func linesComponent() sdk.Component {
	return sdk.NewSource("lines", "Words of its configuration.",
		func(_ context.Context, cfg *linesConfig, _ *sdk.Task) (*lines, error) { return &lines{cfg: cfg}, nil },
		sdk.Bounded())
}

func TestReadAllReadsEverySplit(t *testing.T) {
	src := sdktest.NewSource(t, linesComponent(), `{"parts": ["a b c", "", "d"]}`)
	got := src.ReadAll()
	expect(t, got, "a", "b", "c", "d")
	if r := got[2]; r.Split != "part-0" || r.Ordinal != 2 {
		t.Errorf("origin: got %v", r)
	}
	if src.More() {
		t.Error("a bounded source says that there may be more")
	}
}

func TestReadAllKeepsTheOrderThatSplitsAskFor(t *testing.T) {
	src := sdktest.NewSource(t, linesComponent(), `{"parts": ["a", "b"], "wrong": "order"}`)
	expect(t, src.ReadAll(), "a", "b")
}

func TestASplitIsReadFromAPosition(t *testing.T) {
	src := sdktest.NewSource(t, linesComponent(), `{"parts": ["a b c d e"], "chunk": 1}`)
	split := src.Splits()[0]
	if want := (sdktest.Split{ID: "part-0", Data: json.RawMessage(`{"part":0}`)}); !reflect.DeepEqual(split, want) {
		t.Errorf("got %+v, want %+v", split, want)
	}
	expect(t, src.OpenAt(split, json.RawMessage(`{"word": 3}`)).Rest(), "d", "e")
}

func TestAFollowedSplitIsReadAsFarAsWanted(t *testing.T) {
	src := sdktest.NewSource(t, linesComponent(), `{"parts": ["a b c d e"], "follow": true}`)
	r := src.Open(src.Splits()[0])
	expect(t, r.Next(1), "a")
	expect(t, r.Next(4), "b", "c", "d", "e")
	if p, n := r.Position(); string(p) != fmt.Sprintf(`{"word":%d}`, n) {
		t.Errorf("position %s behind %d records", p, n)
	}
	if r.Ended() || !src.More() {
		t.Error("a followed split has ended")
	}
}

func TestCheckResumeFindsEachPositionSound(t *testing.T) {
	for _, wrong := range []string{"", "retry"} {
		sdktest.NewSource(t, linesComponent(), map[string]any{"parts": []string{"a b c d e", "", "f"}, "wrong": wrong}).CheckResume()
	}
}

func TestCheckResumeFindsAPositionThatIsNot(t *testing.T) {
	failures := recorded(t, func(t testing.TB) {
		sdktest.NewSource(t, linesComponent(), `{"parts": ["a b c d e"], "chunk": 1, "wrong": "resume"}`).CheckResume()
	})
	want := `split "part-0" resumed at {"word":2}, behind 2 records: record 0 is {"<null>": "d" from part-0#3}, not {"<null>": "c" from part-0#2}`
	if !strings.Contains(failures, want) || strings.Contains(failures, `{"word":1}`) {
		t.Errorf("got %s", failures)
	}
}

func TestSourceErrorsAndFailedInput(t *testing.T) {
	src := sdktest.NewSource(t, linesComponent(), `{"parts": ["a"], "wrong": "error"}`)
	if err := src.Open(src.Splits()[0]).Error(); !strings.Contains(err.Error(), `split "part-0": unreadable`) {
		t.Errorf("got %v", err)
	}
	src = sdktest.NewSource(t, linesComponent(), `{"parts": ["a bad b"]}`)
	r := src.Open(src.Splits()[0])
	expect(t, r.Rest(), "a", "b")
	failed := r.Failed()
	if len(failed) != 1 || failed[0].Err != "a bad word" || failed[0].Length != "100" || failed[0].Ordinal != 1 {
		t.Errorf("got %+v", failed)
	}
}

func TestASourceHearsOfCompletedCheckpoints(t *testing.T) {
	var opened []*lines
	c := sdk.NewSource("lines", "", func(_ context.Context, cfg *linesConfig, _ *sdk.Task) (*lines, error) {
		opened = append(opened, &lines{cfg: cfg})
		return opened[len(opened)-1], nil
	})
	src := sdktest.NewSource(t, c, `{"parts": ["a b c d"], "chunk": 1, "follow": true}`)
	r := src.OpenAt(src.Splits()[0], json.RawMessage(`{"word":2}`))
	r.Next(1)
	for records := 0; records < 2; _, records = r.Position() {
		time.Sleep(time.Millisecond)
	}
	if err := r.Complete(); err == nil || err.Error() != "too far" {
		t.Errorf("got %v", err)
	}
	// The first instance is that which lists splits.
	if got := opened[1].observed; got["part-0"].Word != 4 {
		t.Errorf("observed %v", got)
	}
}

func TestCapabilitiesAreWhatTheConfigurationLeaves(t *testing.T) {
	for config, bounded := range map[string]bool{`{"parts": ["a"]}`: true, `{"parts": ["a"], "follow": true}`: false} {
		got := sdktest.Check(t, linesComponent(), config)
		if got.Faults != nil || got.Capabilities.Bounded != bounded || !got.Capabilities.Replayable {
			t.Errorf("%s: got %+v", config, got)
		}
	}
}
