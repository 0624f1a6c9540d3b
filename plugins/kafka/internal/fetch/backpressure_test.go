package fetch

import (
	"context"
	"testing"
	"time"

	"github.com/weirstream/weir/plugins/kafka/internal/client"
	"github.com/weirstream/weir/plugins/kafka/internal/recordbatch"
)

const testBroker = 1

// answerFrom is a broker's answer of one record batch a partition, of about so many
// bytes.
func answerFrom(t *testing.T, f *Fetcher, asked map[client.TopicPartition]asking, size int) *fetched {
	t.Helper()
	answer := f.buffers.get(0)
	for id := range asked {
		e := recordbatch.NewEncoder(0)
		e.Reset(size)
		e.Append(nil, make([]byte, size), nil, 0)
		set, err := e.Finish(recordbatch.Producer{ID: -1, Epoch: -1, Sequence: -1})
		if err != nil {
			t.Fatal(err)
		}
		answer.partitions = append(answer.partitions, fetchedPartition{topic: id.Topic, partition: id.Partition, highWater: 1 << 40, lastStable: 1 << 40, set: set[4:]}) // behind its size, which requests have
	}
	return answer
}

// TestWhatIsFetchedAheadIsBounded: nothing more is asked for where nobody takes it,
// however many partitions there are, and a full one keeps no other from its broker.
func TestWhatIsFetchedAheadIsBounded(t *testing.T) {
	for _, partitions := range []int{1, 4, 7} {
		const buffer = 1 << 20
		f := New(Options{Buffer: buffer, PartitionMaxBytes: 1 << 20, MaxBytes: 50 << 20, MaxWait: 500 * time.Millisecond}, nil)
		f.ctx, f.stop = context.WithCancel(t.Context())
		defer f.Close()
		var all []*Partition
		for n := range partitions {
			p := &Partition{
				TopicPartition: client.TopicPartition{Topic: "t", Partition: int32(n)}, to: -1, leader: testBroker, ready: make(chan struct{}, 1),
			}
			f.partitions[p.TopicPartition] = p
			all = append(all, p)
		}
		queued := func() (sum int) {
			for _, p := range all {
				sum += p.queued
			}
			return sum
		}
		// Brokers give as much as is asked for.
		fetchAll := func() (rounds int) {
			for ; ; rounds++ {
				request, asked, more := f.request(testBroker)
				if !more {
					t.Fatal("the broker is given up")
				}
				if request == nil {
					return rounds
				}
				size := int(request.Topics[0].Partitions[0].PartitionMaxBytes) - 100
				f.deliver(asked, answerFrom(t, f, asked, size))
				if rounds > 100 {
					t.Fatal("it never has enough")
				}
			}
		}
		fetchAll()
		full := queued()
		if full > buffer || full < buffer/3 {
			t.Errorf("%d partitions: %d bytes are kept, of %d", partitions, full, buffer)
		}
		// One that is read is asked for, alone, and soon.
		for more := true; more; {
			_, more = f.Take(all[0])
		}
		request, asked, _ := f.request(testBroker)
		if request == nil || len(asked) != 1 || len(request.Topics[0].Partitions) != 1 || request.Topics[0].Partitions[0].Partition != 0 {
			t.Fatalf("%d partitions: asked for %v", partitions, asked)
		}
		if wait := request.MaxWaitTime; partitions > 1 && wait > 20 {
			t.Errorf("%d partitions: the others may have room again, and the broker may wait %d ms", partitions, wait)
		}
		f.deliver(asked, answerFrom(t, f, asked, 100))
		fetchAll()
		if again := queued(); again > buffer {
			t.Errorf("%d partitions: %d bytes are kept again, of %d", partitions, again, buffer)
		}
	}
}
