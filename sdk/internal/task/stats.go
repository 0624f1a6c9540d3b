package task

import (
	"sync/atomic"

	"github.com/weirstream/weir/proto/wire"
)

// stats are a member's counters; the loop writes them, the reporter reads.
type stats struct {
	recordsIn, recordsOut, bytesIn, bytesOut atomic.Uint64
	skipped, deadLettered, retries           atomic.Uint64
	unconnected                              atomic.Uint64
	watermark                                atomic.Int64
	hasWatermark                             atomic.Bool
	holder                                   atomic.Pointer[string]
	samples                                  samples
}

func (s *stats) in(b *wire.Batch) {
	s.recordsIn.Add(uint64(b.Len()))
	s.bytesIn.Add(uint64(b.Size()))
}

func (s *stats) out(b *wire.Batch) {
	s.recordsOut.Add(uint64(b.Len()))
	s.bytesOut.Add(uint64(b.Size()))
}

// hold notes the split that holds the watermark back.
func (s *stats) hold(split string) {
	if p := s.holder.Load(); p == nil || *p != split {
		s.holder.Store(&split)
	}
}

func (s *stats) held() string {
	if p := s.holder.Load(); p != nil {
		return *p
	}
	return ""
}
