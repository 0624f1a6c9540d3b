package policy

import (
	"slices"
	"strconv"
	"time"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// Headers that a failed record carries beside its own.
const (
	HeaderError         = "weir.error"
	HeaderComponent     = "weir.component" // the node
	HeaderOriginSplit   = "weir.origin.split"
	HeaderOriginOrdinal = "weir.origin.ordinal"
	// HeaderLength is the whole length of a record of which only the beginning is
	// left.
	HeaderLength = "weir.length"
)

// AppendHeaders appends what a failed record carries of its failure, and of its origin
// where it has one.
func AppendHeaders(h wire.Headers, cause, node, split string, ordinal int64) wire.Headers {
	h = wire.AppendHeader(h, HeaderError, []byte(cause))
	h = wire.AppendHeader(h, HeaderComponent, []byte(node))
	if split != "" {
		h = wire.AppendHeader(h, HeaderOriginSplit, []byte(split))
		h = wire.AppendHeader(h, HeaderOriginOrdinal, strconv.AppendInt(nil, ordinal, 10))
	}
	return h
}

// MaxSamples is how many failed records a report shows, the newest of them, and
// SampleBytes how much of the key and the value of each.
const (
	MaxSamples  = 5
	SampleBytes = 256
)

// Sample is a failed record as a report shows it.
func Sample(now time.Time, records *wire.Batch, i int, cause string) *pluginv1.FailureSample {
	split, ordinal := records.Origin(i)
	return &pluginv1.FailureSample{
		TimeUnixNano: now.UnixNano(), Error: cause, Split: split, Ordinal: ordinal,
		Key: head(records.Key(i)), Value: head(records.Value(i)),
	}
}

func head(b []byte) []byte { return slices.Clone(b[:min(len(b), SampleBytes)]) }
