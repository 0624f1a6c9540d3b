package generator

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/sdktest"
)

func TestRecordsAreTheSameEveryTime(t *testing.T) {
	// Values that other programs rely on: they must never change.
	got := sdktest.NewSource(t, Source(), `{"count": 3, "size": 64, "keys": 10}`).ReadAll()
	want := []string{
		`k0|{"seq":0,"key":"k0","ts":1704067200000,"pad":"1zp4kjidznimhe0d"}|1704067200000`,
		`k9|{"seq":1,"key":"k9","ts":1704067200001,"pad":"l1ytqy45s30qlw13"}|1704067200001`,
		`k6|{"seq":2,"key":"k6","ts":1704067200002,"pad":"bikfuxdl5jq5ijyy"}|1704067200002`,
	}
	var lines []string
	for _, r := range got {
		lines = append(lines, fmt.Sprintf("%s|%s|%d", r.Key, r.Value, r.Time.UnixMilli()))
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got  %q\nwant %q", lines, want)
	}
}

type value struct {
	Seq int64
	Key *string
	Ts  int64
	Pad string
}

func TestConfigurations(t *testing.T) {
	for _, c := range []struct {
		name, config string
		records      int
		check        func(t *testing.T, n int, r sdktest.Record, v value)
	}{
		{"none", `{"count": 0}`, 0, nil},
		{"defaults", `{"count": 500}`, 500, func(t *testing.T, n int, r sdktest.Record, v value) {
			if len(r.Value) != 100 || v.Key == nil || *v.Key != string(r.Key) || v.Seq != int64(n) || v.Ts != epoch+int64(n) || r.Time != sdk.UnixMilli(v.Ts) {
				t.Errorf("record %d is %s", n, r)
			}
		}},
		{"size", `{"count": 50, "size": 1000}`, 50, func(t *testing.T, _ int, r sdktest.Record, _ value) {
			if len(r.Value) != 1000 {
				t.Errorf("%d bytes", len(r.Value))
			}
		}},
		{"a size that is too small", `{"count": 50, "size": 1}`, 50, func(t *testing.T, n int, r sdktest.Record, v value) {
			if v.Seq != int64(n) || v.Pad != "" {
				t.Errorf("record %d is %s", n, r)
			}
		}},
		{"no keys", `{"count": 50, "keys": 0}`, 50, func(t *testing.T, _ int, r sdktest.Record, v value) {
			if r.Key != nil || v.Key != nil {
				t.Errorf("a key: %s", r)
			}
		}},
		{"one key", `{"count": 50, "keys": 1}`, 50, func(t *testing.T, _ int, r sdktest.Record, _ value) {
			if string(r.Key) != "k0" {
				t.Errorf("the key is %q", r.Key)
			}
		}},
		{"now", `{"count": 5, "time": "now"}`, 5, func(t *testing.T, n int, r sdktest.Record, v value) {
			if ago := time.Now().UnixMilli() - r.Time.UnixMilli(); ago < 0 || ago > 60_000 || v.Ts != epoch+int64(n) {
				t.Errorf("made %d ms ago: %s", ago, r)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := sdktest.NewSource(t, Source(), c.config).ReadAll()
			if len(got) != c.records {
				t.Fatalf("%d records, not %d", len(got), c.records)
			}
			for n, r := range got {
				var v value
				if err := json.Unmarshal(r.Value, &v); err != nil {
					t.Fatalf("%v: %s", err, r.Value)
				}
				c.check(t, n, r, v)
			}
		})
	}
}

// The records are the same whatever the number of splits, and each split has its
// own in order.
func TestSplitsShareTheRecords(t *testing.T) {
	all := values(sdktest.NewSource(t, Source(), `{"count": 1001}`).ReadAll())
	for _, splits := range []int{2, 3, 1024} {
		s := sdktest.NewSource(t, Source(), map[string]any{"count": 1001, "splits": splits})
		list := s.Splits()
		if len(list) != splits || s.More() {
			t.Fatalf("%d splits, not %d", len(list), splits)
		}
		if splits == 1024 {
			list = list[1000:1003] // the last one is beyond the count
		}
		for _, split := range list {
			var want []string
			var first int
			fmt.Sscan(split.ID, &first)
			for n := first; n < 1001; n += splits {
				want = append(want, all[n])
			}
			if got := values(s.Read(split)); !slices.Equal(got, want) {
				t.Errorf("split %s of %d: %d records, want %d", split.ID, splits, len(got), len(want))
			}
		}
	}
}

func TestSeedsDiffer(t *testing.T) {
	one := values(sdktest.NewSource(t, Source(), `{"count": 100}`).ReadAll())
	same := values(sdktest.NewSource(t, Source(), `{"count": 100, "seed": 1}`).ReadAll())
	two := values(sdktest.NewSource(t, Source(), `{"count": 100, "seed": 2}`).ReadAll())
	if !slices.Equal(one, same) {
		t.Error("the default seed is not 1")
	}
	for n := range one {
		if one[n] == two[n] {
			t.Errorf("record %d is the same with another seed", n)
		}
	}
}

func TestReadingGoesOnFromEveryPosition(t *testing.T) {
	sdktest.NewSource(t, Source(), `{"count": 400, "splits": 2}`, sdktest.BatchSize(4<<10)).CheckResume()
}

// A rate is kept on the average from the beginning; nothing is asserted about an
// instant.
func TestARateIsNotExceeded(t *testing.T) {
	began := time.Now()
	got := sdktest.NewSource(t, Source(), `{"count": 100, "rate": 400}`).ReadAll()
	if took := time.Since(began); took < 200*time.Millisecond || len(got) != 100 {
		t.Errorf("%d records in %s", len(got), took)
	}
}

func TestBoundedOnlyWithACount(t *testing.T) {
	if c := sdktest.Check(t, Source(), `{"count": 1}`).Capabilities; !c.Bounded || !c.Replayable {
		t.Errorf("got %+v", c)
	}
	if c := sdktest.Check(t, Source(), `{}`).Capabilities; c.Bounded || !c.Replayable {
		t.Errorf("got %+v", c)
	}
}

func TestWithoutACountItGoesOn(t *testing.T) {
	s := sdktest.NewSource(t, Source(), `{}`)
	r := s.Open(s.Splits()[0])
	if got := r.Next(5000); len(got) != 5000 || r.Ended() {
		t.Errorf("%d records, ended %v", len(got), r.Ended())
	}
	r.Close()
}

func TestProgressCountsFromThePosition(t *testing.T) {
	count := int64(100)
	s := newSource(&Config{Count: &count, Size: 100, Splits: 2})
	for i, from := range []*position{nil, {Made: 20}} {
		if _, err := s.Open(t.Context(), sdk.Split[split]{Data: split{First: int64(i), Stride: 2}}, from); err != nil {
			t.Fatal(err)
		}
	}
	if p := s.Progress(); p.Done != 20 || p.Total != 100 || p.Unit != "records" || p.Lag != -1 {
		t.Errorf("got %+v", p)
	}
	endless := newSource(&Config{Size: 100, Splits: 1})
	if _, err := endless.Open(t.Context(), sdk.Split[split]{Data: split{Stride: 1}}, nil); err != nil {
		t.Fatal(err)
	}
	if p := endless.Progress(); p.Total != 0 {
		t.Errorf("without an end: %+v", p)
	}
}

func values(records []sdktest.Record) []string { return sdktest.ValuesOf(records) }
