package policy

import (
	"testing"
	"time"
)

func TestTheLimitForgetsWhatLiesBehindItsWindow(t *testing.T) {
	l := Limit{Count: 10, Span: time.Minute}
	now := time.Unix(1_000_000, 0)
	for range 1000 {
		for range 10 {
			if l.Over(now) {
				t.Fatalf("over at %v", now)
			}
		}
		now = now.Add(time.Minute + 2*time.Second)
	}
	for range 10 {
		l.Over(now)
	}
	if !l.Over(now.Add(30 * time.Second)) {
		t.Error("eleven within half a minute are not too many")
	}
	unlimited := Limit{}
	if unlimited.Over(now) {
		t.Error("no limit")
	}
	ever := Limit{Count: 1}
	if ever.Over(now) || !ever.Over(now.Add(24*time.Hour)) {
		t.Error("without a window the limit counts from the opening")
	}
}
