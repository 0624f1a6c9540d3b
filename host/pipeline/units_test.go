package pipeline

import (
	"testing"
	"time"
)

func TestSizesAreReadExactly(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "4096": 4096, "1B": 1, "1kB": 1000, "1KB": 1000, "256KiB": 256 << 10, "1.5 MiB": 3 << 19,
		"2gib": 2 << 30, "1TB": 1e12, "0.5KiB": 512,
	} {
		if got, err := ParseBytes(text); err != nil || got != want {
			t.Errorf("%q is %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "KiB", "1 2", "-1", "1KiBB", "0.3B", "1e3", "9999999999TiB", "1..2", "0x10", "1/2"} {
		if got, err := ParseBytes(text); err == nil {
			t.Errorf("%q is read as %d", text, got)
		}
	}
	for n, want := range map[int64]string{0: "0", 1000: "1000", 1024: "1KiB", 3 << 19: "1536KiB", 8 << 20: "8MiB", 1 << 30: "1GiB"} {
		if got := formatBytes(n); got != want {
			t.Errorf("%d is written %s, want %s", n, got, want)
		}
	}
}

func TestDurationsAreWrittenShort(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0s", time.Minute: "1m", time.Hour: "1h", 90 * time.Second: "1m30s", 100 * time.Hour: "100h", time.Hour + time.Second: "1h0m1s"} {
		if got := formatDuration(d); got != want {
			t.Errorf("%d is written %s, want %s", d, got, want)
		}
	}
}

func TestBackoffsAndRatesAreRead(t *testing.T) {
	for text, want := range map[string]Backoff{"1s": {time.Second, time.Second}, "1s..1m": {time.Second, time.Minute}, " 5ms .. 2h ": {5 * time.Millisecond, 2 * time.Hour}} {
		if got, err := parseBackoff(text); err != nil || got != want {
			t.Errorf("%q is %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "1", "1s..", "..1s", "1s-2s"} {
		if got, err := parseBackoff(text); err == nil {
			t.Errorf("%q is read as %v", text, got)
		}
	}
	for text, want := range map[string]time.Duration{"1000/1m": time.Minute, "1000/m": time.Minute, "1000 / 90s": 90 * time.Second} {
		if n, window, err := parseRate(text); err != nil || n != 1000 || window != want {
			t.Errorf("%q is %d in %v, %v", text, n, window, err)
		}
	}
	for _, text := range []string{"", "1000", "1000/", "/1m", "-1/1m", "1/1", "1/1m/1m", "1.5/1m"} {
		if n, window, err := parseRate(text); err == nil {
			t.Errorf("%q is read as %d in %v", text, n, window)
		}
	}
}

func TestTheTimeOfRetriesIsTheSumOfTheirWaits(t *testing.T) {
	for _, test := range []struct {
		attempts int
		b        Backoff
		want     time.Duration
	}{
		{1, Backoff{time.Second, time.Minute}, time.Second},
		{4, Backoff{time.Second, time.Minute}, 15 * time.Second},
		{4, Backoff{time.Second, 2 * time.Second}, 7 * time.Second},
		{3, Backoff{time.Second, time.Second}, 3 * time.Second},
	} {
		if got := retryTime(test.attempts, test.b); got != test.want {
			t.Errorf("%d attempts at %v: %v, want %v", test.attempts, test.b, got, test.want)
		}
	}
	if got := retryTime(maxRetries, Backoff{maxDuration, maxDuration}); got <= maxDuration {
		t.Errorf("a very long wait overflows to %v", got)
	}
}

func TestHintsNameWhatWasMeant(t *testing.T) {
	known := []string{"parallelism", "max_parallelism", "name", "nodes", "bootstrap.servers"}
	for name, want := range map[string]string{
		"paralelism": "parallelism", "nmae": "name", "max-parallelism": "max_parallelism", "NODES": "nodes",
		"bootstrap_servers": "bootstrap.servers", "node": "nodes", "zzz": "", "": "", "isolation": "",
	} {
		if got := Nearest(name, known); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
	if got := Suggest("x", []string{"aaa", "bbb"}); got != "known: aaa, bbb" {
		t.Errorf("hint %q", got)
	}
}
