package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// CreateTopic creates a topic, replicated as the cluster's own, and waits until
// every partition has a leader. config is by Kafka's own names.
func (c *Cluster) CreateTopic(ctx context.Context, name string, partitions int, config map[string]string) error {
	replicas := 1
	if len(c.Brokers) >= 3 {
		replicas = 3
	}
	return CreateTopic(ctx, c.Bootstrap(), name, partitions, replicas, config)
}

// CreateTopic creates a topic of a cluster that this process did not start.
func CreateTopic(ctx context.Context, servers, name string, partitions, replicas int, config map[string]string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	transport := &kafkago.Transport{}
	defer transport.CloseIdleConnections()
	client := &kafkago.Client{Addr: kafkago.TCP(splitServers(servers)...), Transport: transport}
	topic := kafkago.TopicConfig{Topic: name, NumPartitions: partitions, ReplicationFactor: replicas}
	for key, value := range config {
		topic.ConfigEntries = append(topic.ConfigEntries, kafkago.ConfigEntry{ConfigName: key, ConfigValue: value})
	}
	answer, err := client.CreateTopics(ctx, &kafkago.CreateTopicsRequest{Topics: []kafkago.TopicConfig{topic}})
	if err == nil {
		err = answer.Errors[name]
	}
	if err != nil {
		return fmt.Errorf("create topic %s: %w", name, err)
	}
	for {
		meta, err := client.Metadata(ctx, &kafkago.MetadataRequest{Topics: []string{name}})
		if err == nil && led(meta, partitions) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("topic %s has no leaders: %w", name, errors.Join(ctx.Err(), err))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// led says whether the first topic has that many partitions, each with a leader.
func led(meta *kafkago.MetadataResponse, partitions int) bool {
	if len(meta.Topics) != 1 || len(meta.Topics[0].Partitions) != partitions {
		return false
	}
	for _, p := range meta.Topics[0].Partitions {
		if p.Error != nil || p.Leader.Host == "" {
			return false
		}
	}
	return true
}
