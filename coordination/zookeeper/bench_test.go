package zookeeper

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/weirstream/weir/coordination"
	"github.com/weirstream/weir/internal/testserver/zookeepertest"
)

// Benchmarks run against an ensemble of three whose JVMs compile as in production:
//
//	go test -run '^$' -bench . -benchtime 2s ./coordination/zookeeper
var benched = zookeepertest.Shared{Options: zookeepertest.Options{Nodes: 3, Warm: true}}

// BenchmarkCommit is a check and a set of 100 bytes in one commit, by so many
// goroutines on one session.
func BenchmarkCommit(b *testing.B) {
	for _, inFlight := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("inflight=%d", inFlight), func(b *testing.B) {
			s := mustOpen(b, testConfig(benched.Get(b)))
			ctx := context.Background()
			data := make([]byte, 100)
			if err := s.Commit(ctx, coordination.Create("guard", nil)); err != nil {
				b.Fatal(err)
			}
			for i := range inFlight {
				if err := s.Commit(ctx, coordination.Create("rec/"+strconv.Itoa(i), data)); err != nil {
					b.Fatal(err)
				}
			}
			b.ResetTimer()
			var wg sync.WaitGroup
			for i := range inFlight {
				path := "rec/" + strconv.Itoa(i)
				wg.Go(func() {
					for n := i; n < b.N; n += inFlight {
						if err := s.Commit(ctx, coordination.Check("guard", 0), coordination.Set(path, data, coordination.AnyVersion)); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
		})
	}
}

// BenchmarkGet is a read of 100 bytes.
func BenchmarkGet(b *testing.B) {
	s := mustOpen(b, testConfig(benched.Get(b)))
	ctx := context.Background()
	if err := s.Commit(ctx, coordination.Create("a", make([]byte, 100))); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for range b.N {
		if _, err := s.Get(ctx, "a"); err != nil {
			b.Fatal(err)
		}
	}
}

// openMany opens sessions side by side.
func openMany(b *testing.B, c Config, count int) []*Store {
	b.Helper()
	stores := make([]*Store, count)
	var wg sync.WaitGroup
	for worker := range 16 {
		wg.Go(func() {
			for i := worker; i < count; i += 16 {
				s, err := Open(context.Background(), c)
				if err != nil {
					b.Error(err)
					return
				}
				stores[i] = s
			}
		})
	}
	wg.Wait()
	b.Cleanup(func() {
		for _, s := range stores {
			wg.Go(func() {
				if s != nil {
					_ = s.Close()
				}
			})
		}
		wg.Wait()
	})
	if b.Failed() {
		b.FailNow()
	}
	return stores
}

// BenchmarkWatchFanOut is one commit until the watch of each of so many sessions
// has delivered it.
func BenchmarkWatchFanOut(b *testing.B) {
	for _, count := range []int{100, 1000} {
		b.Run(fmt.Sprintf("sessions=%d", count), func(b *testing.B) {
			c := testConfig(benched.Get(b))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			began := time.Now()
			stores := openMany(b, c, count)
			opened := time.Since(began)
			runtime.ReadMemStats(&after)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			writer := stores[0]
			if err := writer.Commit(ctx, coordination.Create("a", nil)); err != nil {
				b.Fatal(err)
			}
			seen := make(chan int64, count)
			for _, s := range stores {
				changes := s.Watch(ctx, "a")
				go func() {
					for c := range changes {
						if c.Found {
							seen <- c.Record.Version
						}
					}
				}()
			}
			await := func(version int64) {
				for left := count; left > 0; {
					select {
					case v := <-seen:
						if v == version {
							left--
						}
					case <-time.After(time.Minute):
						b.Fatalf("%d watches have not delivered version %d", left, version)
					}
				}
			}
			await(0)
			b.ResetTimer()
			for i := range int64(b.N) {
				if err := writer.Commit(ctx, coordination.Set("a", nil, i)); err != nil {
					b.Fatal(err)
				}
				await(i + 1)
			}
			b.ReportMetric(opened.Seconds()*1000/float64(count), "ms/open")
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(count)/1024, "KiB/session")
		})
	}
}
