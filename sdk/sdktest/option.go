package sdktest

import (
	"time"

	"github.com/weirstream/weir/sdk"
)

// Option changes how a component is run.
type Option func(*settings)

type settings struct {
	owner       sdk.Owner
	index       int
	parallelism int
	maxRecord   int
	batch       int
	retries     int
	timeout     time.Duration
	guarantee   sdk.Guarantee
	// commitWithin is what a Probe is told.
	commitWithin time.Duration

	onDisk bool

	// clock is the processing time of all tasks.
	clock *clock

	// For benchmarks: memory is used again, and what the component sends is not
	// looked at.
	fast bool
}

func newSettings(options []Option) settings {
	s := settings{
		owner: sdk.Owner{
			Cluster: "test", Pipeline: "test", UID: "0123456789abcdef", Node: "node", Epoch: 1,
		},
		parallelism:  1,
		maxRecord:    8 << 20,
		batch:        256 << 10,
		timeout:      10 * time.Second,
		guarantee:    sdk.ExactlyOnce,
		clock:        newClock(),
		commitWithin: time.Minute,
	}
	for _, o := range options {
		o(&s)
	}
	return s
}

// As runs the component as this owner. The zero Epoch counts as 1.
func As(o sdk.Owner) Option {
	return func(s *settings) {
		s.owner = o
		s.owner.Epoch = max(o.Epoch, 1)
	}
}

// Task runs the component as task index of parallelism.
func Task(index, parallelism int) Option {
	return func(s *settings) { s.index, s.parallelism = index, parallelism }
}

// MaxRecord bounds a record, in bytes, instead of 8 MiB.
func MaxRecord(bytes int) Option { return func(s *settings) { s.maxRecord = bytes } }

// BatchSize sets the bytes at which a batch is full, instead of 256 KiB.
func BatchSize(bytes int) Option { return func(s *settings) { s.batch = bytes } }

// Retries repeats failed records, each after a millisecond, before they count as
// failed.
func Retries(n int) Option { return func(s *settings) { s.retries = n } }

// Timeout bounds each wait, instead of ten seconds.
func Timeout(d time.Duration) Option { return func(s *settings) { s.timeout = d } }

// CommitWithin is how long prepared output may wait for its commit, as [Probe] tells
// a sink, instead of a minute.
func CommitWithin(d time.Duration) Option { return func(s *settings) { s.commitWithin = d } }

// OnDisk keeps state by key on disk, for a component that says [sdk.DiskState].
func OnDisk() Option { return func(s *settings) { s.onDisk = true } }

// Guarantee sets what the pipeline asks for, instead of exactly once.
func Guarantee(g sdk.Guarantee) Option { return func(s *settings) { s.guarantee = g } }
