//go:build linux

package faulttest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/host/engine"
	"github.com/weirstream/weir/internal/testserver/kafkatest"
)

// slowly is for runs that something happens to: a checkpoint into replicated topics
// takes its time where many brokers share a processor.
func slowly(parallelism int) settings { return settings{parallelism, "plugin", 20 * time.Second} }

// TestIntoKafkaWhateverDiesAtAnyStep: the host or a plugin, with transactions that are
// prepared and not committed. It tries some of the steps, each with one of the
// pipelines, and with as many rounds each with all.
func TestIntoKafkaWhateverDiesAtAnyStep(t *testing.T) {
	steps, rng := engine.Steps(), seeded(t)
	all := rng.Perm(len(steps) * len(kafkaCases))
	for _, i := range all[:min(rounds(t, 6), len(all))] {
		step, makeCase := steps[i/len(kafkaCases)], kafkaCases[i%len(kafkaCases)]
		what, victim := []action{killHost, killPlugin, stopPlugin}[rng.IntN(3)], rng.IntN(20)
		t.Run(fmt.Sprintf("%s, %d", step, i%len(kafkaCases)), func(t *testing.T) {
			t.Parallel()
			c := makeCase(t)
			l := c.open(t)
			c.set(l, slowly(2))
			if r := l.run(fault{Step: engine.StepRecorded, Nth: 2, Do: killHost}); !r.killed {
				t.Fatal("the host was not killed")
			}
			s := slowly(2)
			s.took /= 4
			c.set(l, s)
			l.healthTimeout = time.Second
			r := l.run(fault{Step: step, Nth: 1, Do: what, Plugin: victim})
			if len(r.faults) == 0 && !r.killed {
				t.Fatalf("the host did not come to step %q: %v", step, r.steps)
			}
			if !r.Finished {
				c.set(l, c.defaults())
				l.finish()
			}
			c.check(t)
			l.objectsAreNamed()
		})
	}
}

// TestTheKafkaSinkIsRescaledWithPendingTransactions: 2 to 5 to 1, each time killed
// where a record lists transactions that nobody has committed.
func TestTheKafkaSinkIsRescaledWithPendingTransactions(t *testing.T) {
	t.Parallel()
	c := kafkaSinkCase(t)
	l := c.open(t)
	for _, parallelism := range []int{2, 5, 1} {
		c.set(l, slowly(parallelism))
		if r := l.run(fault{Step: engine.StepRecorded, Nth: 2, Do: killHost}); !r.killed {
			t.Fatalf("the host was not killed: %s", r.Error)
		}
	}
	c.set(l, settings{5, "plugin", time.Second})
	l.finish()
	c.check(t)
}

// The tests below let hosts, plugins and brokers die, hang and come back at any time.
// They are not side by side: the brokers are everybody's.

// TestFromFilesToKafkaToFilesUnderRandomFaults: two pipelines, one behind the other,
// whose parallelism changes. The topic holds each record once, and so do the files.
func TestFromFilesToKafkaToFilesUnderRandomFaults(t *testing.T) {
	rng := seeded(t)
	for i := range rounds(t, 1) {
		rng := rand.New(rand.NewPCG(rng.Uint64(), 0))
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			first := kafkaSinkCase(t)
			throughTrouble(t, first.pipelineCase, rng)
			first.check(t)
			second := kafkaFilesCase(t, first.topic)
			l, rescaled := throughTrouble(t, second, rng)
			second.check(l, rescaled)
		})
	}
}

// TestFromKafkaToKafkaUnderRandomFaults: through an expression, and through windows by
// key whose results brute force gives too; with one task and with four, and with more
// rounds with changing ones.
func TestFromKafkaToKafkaUnderRandomFaults(t *testing.T) {
	rng := seeded(t)
	for i := range rounds(t, 1) {
		for _, makeCase := range []func(*testing.T) topicCase{kafkaExprCase, kafkaWindowCase} {
			for _, tasks := range []int{1, 4} {
				rng := rand.New(rand.NewPCG(rng.Uint64(), 0))
				c := makeCase(t)
				t.Run(fmt.Sprintf("%d %s, %d tasks", i, c.name, tasks), func(t *testing.T) {
					if i == 0 {
						c.parallelism = []int{tasks}
					}
					throughTrouble(t, c.pipelineCase, rng)
					c.check(t)
				})
			}
		}
	}
}

// throughTrouble runs a pipeline to its end although hosts, plugins and brokers fail.
// It changes the parallelism in between; rescaled says whether it did.
func throughTrouble(t *testing.T, c pipelineCase, rng *rand.Rand) (l *lab, rescaled bool) {
	t.Helper()
	l = c.open(t)
	l.healthTimeout = time.Second
	s := c.defaults()
	s.took = 3 * time.Second
	for range 1 + rng.IntN(3) {
		c.set(l, s)
		var faults []fault
		for range 1 + rng.IntN(3) {
			faults = append(faults, randomFault(rng))
		}
		host := l.start(faults...)
		done := make(chan []string)
		go func() { done <- troubleBrokers(kafka.Get(t), rand.New(rand.NewPCG(rng.Uint64(), 1)), time.Second) }()
		r := host.wait()
		trouble := <-done
		t.Logf("%+v %v; brokers: %s", s, faults, strings.Join(trouble, ", "))
		if r.Error != "" {
			t.Fatalf("%s\n%s", r.Error, tail(r.stderr, 40))
		}
		was := s.parallelism
		s.parallelism = c.parallelism[rng.IntN(len(c.parallelism))]
		s.isolation = c.isolation[rng.IntN(len(c.isolation))]
		rescaled = rescaled || s.parallelism != was
	}
	c.set(l, s)
	l.finish()
	return l, rescaled
}

// troubleBrokers kills, stops or pauses one broker after the other within some time,
// and brings each back, so that two of three are always there. The transaction
// coordinator and every partition's leader are among them.
func troubleBrokers(c *kafkatest.Cluster, rng *rand.Rand, within time.Duration) (done []string) {
	order := rng.Perm(len(c.Brokers))
	for _, i := range order[:1+rng.IntN(2)] {
		b := c.Brokers[i]
		time.Sleep(time.Duration(rng.Int64N(int64(within))))
		switch what := rng.IntN(4); what {
		case 0, 1:
			if what == 0 {
				b.Kill()
				done = append(done, fmt.Sprintf("killed %d", b.ID))
			} else {
				b.Stop()
				done = append(done, fmt.Sprintf("stopped %d", b.ID))
			}
			if err := b.Start(context.Background()); err != nil {
				return append(done, err.Error())
			}
		default:
			// Longer than its session with the controller, and than a request may take.
			pause := time.Duration(1+rng.IntN(5)) * time.Second
			done = append(done, fmt.Sprintf("paused %d for %v", b.ID, pause))
			if err := b.Pause(); err != nil {
				return append(done, err.Error())
			}
			time.Sleep(pause)
			if err := b.Resume(); err != nil {
				return append(done, err.Error())
			}
		}
	}
	return done
}
