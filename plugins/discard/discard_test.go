package discard

import (
	"testing"

	"github.com/weirstream/weir/sdk/sdktest"
)

func TestEverythingIsTaken(t *testing.T) {
	s := sdktest.NewSink(t, Sink(), nil)
	if failed := s.Write(append(sdktest.Values("a", ""), sdktest.Record{})...); len(failed) > 0 {
		t.Errorf("failed: %v", failed)
	}
	c, failed := s.Checkpoint()
	if len(c.Committables) > 0 || len(c.WriterState) > 0 || len(failed) > 0 {
		t.Errorf("it keeps %v and %v", c.Committables, c.WriterState)
	}
	s.Restart(c).End()
}

func TestItSaysSo(t *testing.T) {
	c := sdktest.Check(t, Sink(), nil).Capabilities
	if !c.Discards || c.ExactlyOnce {
		t.Errorf("got %+v", c)
	}
	if faults := sdktest.Check(t, Sink(), `{"path": "x"}`).Faults; len(faults) != 1 {
		t.Errorf("got %v", faults)
	}
}
