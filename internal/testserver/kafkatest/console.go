package kafkatest

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Consume is what Kafka's own console consumer is to read: a client that is not
// ours.
type Consume struct {
	Topic string
	// Committed leaves out what is not committed.
	Committed bool
	// Max ends it after so many records; 0 reads until nothing has come for Idle.
	Max int
	// Idle is 10 s where it is 0, and with Max two minutes: then it ends in time by
	// itself, on a machine that is not busy.
	Idle time.Duration
	// Properties are of its formatter, such as print.partition=true.
	Properties []string
}

// Console returns what the console consumer prints of a topic from its beginning,
// a line a record.
func (c *Cluster) Console(ctx context.Context, r Consume) ([]string, error) {
	if r.Idle == 0 {
		r.Idle = 10 * time.Second
		if r.Max > 0 {
			r.Idle = 2 * time.Minute
		}
	}
	args := []string{"--bootstrap-server", c.Bootstrap(), "--topic", r.Topic, "--from-beginning",
		"--timeout-ms", fmt.Sprint(r.Idle.Milliseconds())}
	if r.Committed {
		args = append(args, "--isolation-level", "read_committed")
	}
	if r.Max > 0 {
		args = append(args, "--max-messages", fmt.Sprint(r.Max))
	}
	for _, p := range r.Properties {
		args = append(args, "--formatter-property", p)
	}
	out, errs, err := c.installed.java(ctx, 5*time.Minute, "org.apache.kafka.tools.consumer.ConsoleConsumer", args...)
	if err != nil && !strings.Contains(errs, "TimeoutException") {
		return nil, fmt.Errorf("console consumer: %w\n%s%s", err, out, errs)
	}
	if out == "" {
		return nil, nil
	}
	return strings.Split(strings.TrimSuffix(out, "\n"), "\n"), nil
}

// Produce has Kafka's own console producer write values to a topic.
func (c *Cluster) Produce(ctx context.Context, topic, compression string, values []string) error {
	out, errs, err := c.installed.javaWith(ctx, 5*time.Minute, strings.NewReader(strings.Join(values, "\n")+"\n"), "org.apache.kafka.tools.ConsoleProducer",
		"--bootstrap-server", c.Bootstrap(), "--topic", topic, "--compression-codec", compression)
	if err != nil {
		return fmt.Errorf("console producer: %w\n%s%s", err, out, errs)
	}
	return nil
}

// Tool runs one of Kafka's own tools, by its class, and returns what it prints.
func (c *Cluster) Tool(ctx context.Context, class string, args ...string) (string, error) {
	out, errs, err := c.installed.java(ctx, 5*time.Minute, class, append([]string{"--bootstrap-server", c.Bootstrap()}, args...)...)
	if err != nil {
		return out, fmt.Errorf("%s: %w\n%s%s", class, err, out, errs)
	}
	return out, nil
}
