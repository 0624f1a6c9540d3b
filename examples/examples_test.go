package examples_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every folder with a pipeline has a test of its name, and its file says what it
// is and how it is run.
func TestEveryExampleIsValidAndExplained(t *testing.T) {
	files, err := filepath.Glob("*/pipeline.yaml")
	if err != nil || len(files) < 6 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	index, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if how := "#   go run ./cmd/weir run examples/" + filepath.ToSlash(file); !strings.Contains(string(text), how+"\n") {
			t.Errorf("%s does not say %q", file, how)
		}
		dir := filepath.Dir(file)
		if !strings.Contains(string(index), "["+dir+"]("+dir+"/") {
			t.Errorf("README.md does not name %s", dir)
		}
		l := newLab(t, dir)
		if out, err := l.command("validate", l.pipeline()).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}
}

func TestCopy(t *testing.T) {
	l := newLab(t, "copy")
	l.run()
	var want []string
	for _, month := range []string{"2026-04", "2026-05"} {
		want = append(want, linesOf(t, "copy/input/"+month+".csv")...)
	}
	got := l.lines("orders.csv")
	sameSet(t, "orders.csv", got, want)
	for _, month := range []string{",2026-04-", ",2026-05-"} {
		same(t, month, containing(got, month), containing(want, month))
	}
	// The last line of the input has no newline; those of the output have.
	text, err := os.ReadFile(l.out("orders.csv"))
	if err != nil || !strings.HasSuffix(string(text), "\n") {
		t.Errorf("the output ends in %q, %v", text[max(0, len(text)-10):], err)
	}
	l.noLeftovers()
}

func TestMask(t *testing.T) {
	type order struct {
		Customer struct{ Name, Email string }
		Card     *string
		Country  string
		Test     bool
	}
	l := newLab(t, "mask")
	l.run()
	byCountry := map[string][]string{}
	all := 0
	for _, line := range linesOf(t, "mask/orders.jsonl") {
		var o order
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Fatal(err)
		}
		if o.Test {
			continue
		}
		first, last, _ := strings.Cut(o.Customer.Name, " ")
		_, domain, _ := strings.Cut(o.Customer.Email, "@")
		change := []string{o.Customer.Name, first[:1] + ". " + last[:1] + ".", o.Customer.Email, "***@" + domain}
		if o.Card != nil {
			change = append(change, *o.Card, "************"+(*o.Card)[12:])
		}
		byCountry[o.Country] = append(byCountry[o.Country], strings.NewReplacer(change...).Replace(line))
		all++
	}
	// Orders of a country lie in one file, in order.
	got := 0
	for _, file := range l.files("") {
		for country, want := range byCountry {
			if lines := containing(linesOf(t, file), `"country":"`+country+`"`); len(lines) > 0 {
				same(t, country, lines, want)
				got += len(lines)
			}
		}
	}
	if files := len(l.files("")); got != all || files != 2 {
		t.Errorf("%d orders in %d files, want %d in 2", got, files, all)
	}
	l.noLeftovers()
}

func TestFanOut(t *testing.T) {
	l := newLab(t, "fan-out")
	l.run()
	in := linesOf(t, "fan-out/readings.jsonl")
	want := map[string][]string{"archive": in}
	for _, line := range in {
		var r struct {
			Sensor  string
			Celsius any
		}
		celsius, ok := 0.0, false
		if json.Unmarshal([]byte(line), &r) == nil {
			celsius, ok = r.Celsius.(float64)
		}
		boiler, alarm := strings.HasPrefix(r.Sensor, "boiler"), celsius > 85 || celsius < -10
		switch {
		case !ok:
			want["rejects.txt"] = append(want["rejects.txt"], line)
			continue
		case !boiler && !alarm:
			want["weather"] = append(want["weather"], line)
		}
		if boiler {
			want["boilers"] = append(want["boilers"], line)
		}
		if alarm {
			want["alarms"] = append(want["alarms"], line)
		}
	}
	for _, path := range []string{"archive", "boilers", "alarms", "weather", "rejects.txt"} {
		if len(want[path]) == 0 {
			t.Errorf("nothing is meant for %s: the example shows too little", path)
		}
		same(t, path, l.lines(path), want[path])
	}
	l.noLeftovers()
}

func TestAccessLog(t *testing.T) {
	l := newLab(t, "access-log")
	summary := l.run()
	for _, s := range []string{"access-log finished in", "40,000 records read", "12 dead letters", "exactly once: good, failed, slow, unreadable"} {
		if !strings.Contains(summary, s) {
			t.Errorf("the summary does not say %q:\n%s", s, summary)
		}
	}
	want := map[string][]string{}
	for _, line := range linesOf(t, "access-log/access.log.gz") {
		var r struct {
			IP, Path string
			Status   int
			Ms       int
			Agent    string
		}
		if json.Unmarshal([]byte(line), &r) != nil {
			want["unreadable"] = append(want["unreadable"], line)
			continue
		}
		if r.Path == "/healthz" {
			continue
		}
		network := r.IP[:strings.LastIndexByte(r.IP, '.')]
		line = strings.NewReplacer(`"`+r.IP+`"`, `"`+network+`.0"`, fmt.Sprintf(`,"agent":"%s"`, r.Agent), "").Replace(line)
		if r.Status < 500 && r.Ms < 1000 {
			want["good"] = append(want["good"], line)
		}
		if r.Status >= 500 {
			want["failed"] = append(want["failed"], line)
		}
		if r.Ms >= 1000 {
			want["slow"] = append(want["slow"], line)
		}
	}
	for _, path := range []string{"good", "failed", "slow", "unreadable"} {
		same(t, path, l.lines(path), want[path])
	}
	l.noLeftovers()
	if again := l.run(); !strings.Contains(again, "access-log finished at") {
		t.Errorf("run again, it says:\n%s", again)
	}
}

func TestGenerator(t *testing.T) {
	l := newLab(t, "generator", "COUNT=200000", "RATE=0")
	l.run()
	if files := l.checkGenerated(200_000); files < 4 {
		t.Errorf("%d files: nothing was rolled", files)
	}
	l.noLeftovers()
}

// checkGenerated checks that each record of the generator is there once, and those
// of each of its two splits in order. It returns the number of files.
func (l *lab) checkGenerated(count int) int {
	l.t.Helper()
	seen := make([]bool, count)
	n := 0
	files := l.files("")
	var last [2]int // of each split
	for _, file := range files {
		if !strings.HasSuffix(file, ".jsonl.zst") {
			l.t.Errorf("what is %s?", file)
		}
		for _, line := range linesOf(l.t, file) {
			var r struct {
				Seq *int
				Ts  int64
				Key string
				Pad string
			}
			if err := json.Unmarshal([]byte(line), &r); err != nil || r.Seq == nil {
				l.t.Fatalf("%s: %q: %v", file, line, err)
			}
			if *r.Seq < 0 || *r.Seq >= count || seen[*r.Seq] {
				l.t.Fatalf("record %d is there twice, or was never made", *r.Seq)
			}
			if len(line) != 120 || r.Ts != 1704067200000+int64(*r.Seq) || !strings.HasPrefix(r.Key, "k") {
				l.t.Fatalf("record %d is %q", *r.Seq, line)
			}
			split := *r.Seq % 2
			if *r.Seq < last[split] {
				l.t.Fatalf("record %d of split %d comes behind %d", *r.Seq, split, last[split])
			}
			last[split], seen[*r.Seq] = *r.Seq, true
			n++
		}
	}
	if n != count {
		l.t.Errorf("%d records, not %d", n, count)
	}
	return len(files)
}

func containing(lines []string, part string) []string {
	var some []string
	for _, l := range lines {
		if strings.Contains(l, part) {
			some = append(some, l)
		}
	}
	return some
}

// TestTheCasesOfPipelines runs the test cases that lie beside the examples.
func TestTheCasesOfPipelines(t *testing.T) {
	l := newLab(t, "access-log")
	out, err := l.command("test", "examples").CombinedOutput()
	if err != nil || !strings.Contains(string(out), " passed, 0 failed") {
		t.Errorf("%v\n%s", err, out)
	}
}
