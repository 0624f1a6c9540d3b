package kafkatest

import (
	"context"
	"fmt"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

func TestABrokerKeepsItsRecordsOverAKillAndAPause(t *testing.T) {
	c := New(t, Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	topic := c.Topic(t, 1, nil)
	w := &kafkago.Writer{Addr: kafkago.TCP(c.Bootstrap()), Topic: topic, RequiredAcks: kafkago.RequireAll}
	defer w.Close()
	write := func(text string) {
		t.Helper()
		if err := w.WriteMessages(ctx, kafkago.Message{Value: []byte(text)}); err != nil {
			t.Fatal(err)
		}
	}
	write("before")
	c.Brokers[0].Kill()
	if err := c.Brokers[0].Start(ctx); err != nil {
		t.Fatal(err)
	}
	write("after")
	if err := c.Brokers[0].Pause(); err != nil {
		t.Fatal(err)
	}
	if err := c.Brokers[0].Resume(); err != nil {
		t.Fatal(err)
	}
	write("resumed")
	got, err := c.Console(ctx, Consume{Topic: topic, Max: 3})
	if err != nil || fmt.Sprint(got) != "[before after resumed]" {
		t.Fatalf("read %q, %v", got, err)
	}
}

func TestThreeBrokersServeWhenOneIsLost(t *testing.T) {
	c := New(t, Options{Brokers: 3})
	topic := c.Topic(t, 3, nil)
	c.Brokers[1].Kill()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	w := &kafkago.Writer{Addr: kafkago.TCP(splitServers(c.Bootstrap())...), Topic: topic, RequiredAcks: kafkago.RequireAll, MaxAttempts: 100}
	defer w.Close()
	for i := range 6 {
		if err := w.WriteMessages(ctx, kafkago.Message{Value: fmt.Append(nil, i)}); err != nil {
			t.Fatal(err)
		}
	}
}
