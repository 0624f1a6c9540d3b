package kafka

import (
	"context"
	"fmt"

	"github.com/segmentio/kafka-go/compress"

	"github.com/weirstream/weir/plugins/internal/expression"
	"github.com/weirstream/weir/plugins/kafka/internal/client"
	"github.com/weirstream/weir/sdk"
)

// SinkConfig is the sink's configuration.
type SinkConfig struct {
	client.Config

	Topic     sdk.ConstOrExpr `weir:"topic,required" doc:"The topic, or an expression that gives one for each record."`
	Partition sdk.ConstOrExpr `weir:"partition" doc:"The partition, or an expression that gives one, from 0. Without it a record with a key goes where the Java client puts it, and those without a key are spread."`
	Guarantee string          `weir:"guarantee" default:"exactly_once" enum:"exactly_once,at_least_once" doc:"exactly_once writes transactions, which a consumer with isolation.level=read_committed sees once a checkpoint is complete. at_least_once writes at once; a failure repeats what followed the last checkpoint."`
	Create    *Create         `weir:"create" doc:"Creates topics that do not exist. Without it they are an error."`

	Formats

	Linger      int          `weir:"linger.ms" default:"0" min:"0" max:"60000" doc:"How long records wait for more before they are sent, in milliseconds. With 0 they are sent at once when nothing of their partition is on its way, and gathered otherwise."`
	BatchSize   sdk.ByteSize `weir:"batch.size" default:"1000000" min:"1" max:"100MiB" doc:"Bytes of records that are sent to a partition at once; a larger record goes alone."`
	BufferSize  sdk.ByteSize `weir:"buffer.memory" default:"32MiB" min:"1MiB" max:"48MiB" doc:"Bytes of records that wait to be sent or are on their way. When they are there, the sink takes no more."`
	Compression string       `weir:"compression.type" default:"none" enum:"none,gzip,snappy,lz4,zstd" doc:"How batches are compressed."`

	TransactionTimeout int `weir:"transaction.timeout.ms" default:"0" min:"0" max:"2147483647" doc:"After which time the broker gives up a transaction that is not committed, in milliseconds; its records are lost then. 0 is the longest that the broker allows (transaction.max.timeout.ms)."`
}

// Create says how a topic is made that does not exist.
type Create struct {
	Partitions  int               `weir:"partitions" default:"-1" min:"-1" doc:"How many; -1 leaves it to the broker."`
	Replication int               `weir:"replication" default:"-1" min:"-1" max:"32767" doc:"Replicas of each; -1 leaves it to the broker."`
	Configs     map[string]string `weir:"configs" doc:"Properties of the topic, by Kafka's own names, such as cleanup.policy."`
}

// Hint implements [sdk.Hinter].
func (c *SinkConfig) Hint(name string) string { return c.HintToSink(name) }

// Validate implements [sdk.Validator].
func (c *SinkConfig) Validate() []sdk.FieldError {
	faults := append(c.Faults(), c.faults(true)...)
	_, more := newRouter(c)
	return append(faults, more...)
}

// Capabilities implements [sdk.Claimer].
func (c *SinkConfig) Capabilities(caps *sdk.Capabilities) {
	caps.ExactlyOnce = c.Guarantee != "at_least_once"
}

// compression returns the codec; 0 is none.
func (c *SinkConfig) compression() compress.Compression {
	switch c.Compression {
	case "gzip":
		return compress.Gzip
	case "snappy":
		return compress.Snappy
	case "lz4":
		return compress.Lz4
	case "zstd":
		return compress.Zstd
	}
	return compress.None
}

// Sink returns the component.
func Sink() sdk.Component {
	return sdk.NewTwoPhaseSink("kafka", "Writes records to the topics of a Kafka cluster.", openWriter, newCommitter,
		sdk.Description(sinkDescription),
		sdk.Example("To one topic, exactly once",
			"bootstrap.servers: broker-1:9092,broker-2:9092\ntopic: out\n"),
		sdk.Example("By tenant, created when it is first written to",
			"bootstrap.servers: broker-1:9092\ntopic: {expr: '\"events-\" + json.tenant'}\n"+
				"create: {partitions: 6, replication: 3, configs: {retention.ms: \"604800000\"}}\n"+
				"compression.type: zstd\nguarantee: at_least_once\n"),
		sdk.Example("As Avro, with a schema that is registered",
			"bootstrap.servers: broker-1:9092\ntopic: orders\nformat: avro\n"+
				"avro: {schema: {type: record, name: Order, fields: [{name: id, type: long}, {name: note, type: [\"null\", string]}]}}\n"+
				"schema_registry: {url: \"http://registry:8081\"}\n"))
}

const sinkDescription = "Key, value, headers and timestamp of a record become those of the Kafka record; a null value is a " +
	"tombstone, and a record without a timestamp gets the time at which it is written. A broker deletes records by their " +
	"timestamps: those of older ones than the topic's retention.ms are gone soon after they are written. Batches are written " +
	"idempotently and acknowledged by all in-sync replicas.\n\n" +
	"With `exactly_once` each task writes one transaction a checkpoint, which is committed when the checkpoint is complete: " +
	"consumers need `isolation.level=read_committed`, and see records a checkpoint interval late. The transactional ids are " +
	"`weir-<uid>-<node>-<epoch>-<task>-<number>`: where the cluster has ACLs, the user needs Write and Describe on the prefix " +
	"`weir-`, and DescribeConfigs on the cluster for the checks at the start. A transaction that is older than its timeout when " +
	"it should be committed, because the pipeline was down for so long, is lost: the pipeline then fails and names the offsets.\n\n" +
	"A record that the broker refuses (too large, a time that the topic does not allow, no key in a compacted topic, a topic or " +
	"partition of an expression that does not exist) is a failed record."

// router decides where records go.
type router struct {
	topic         string // the constant one, or empty
	fixed         int    // the constant partition, or -1
	topicExpr     *expression.Program
	partitionExpr *expression.Program
	uses          expression.Uses
	env           expression.Env
}

func newRouter(c *SinkConfig) (*router, []sdk.FieldError) {
	r := &router{fixed: -1}
	var faults []sdk.FieldError
	program := func(e sdk.Expr) *expression.Program {
		p, f := expression.Compile(e, "")
		faults = append(faults, f...)
		if p != nil {
			r.uses = r.uses.And(p.Uses())
		}
		return p
	}
	if c.Topic.IsExpr() {
		r.topicExpr = program(c.Topic.Expr)
	} else if name, ok := c.Topic.Const.(string); !ok || name == "" {
		faults = append(faults, sdk.Faultf("topic", "is no name of a topic: %v", c.Topic.Const))
	} else {
		r.topic = name
	}
	switch n, ok := c.Partition.Const.(int64); {
	case c.Partition.IsExpr():
		r.partitionExpr = program(c.Partition.Expr)
	case ok && n >= 0 && n < 1<<31:
		r.fixed = int(n)
	case c.Partition.Const != nil:
		faults = append(faults, sdk.Faultf("partition", "is no number of a partition, from 0: %v", c.Partition.Const))
	}
	return r, faults
}

// computes reports whether an expression has to be evaluated for each record.
func (r *router) computes() bool { return r.topicExpr != nil || r.partitionExpr != nil }

// topicOf evaluates the topic of the record that env was filled from.
func (r *router) topicOf() (string, error) {
	if r.topicExpr == nil {
		return r.topic, nil
	}
	v, err := r.topicExpr.Run(&r.env)
	if err != nil {
		return "", fmt.Errorf("topic: %w", err)
	}
	if name, ok := v.(string); ok && name != "" {
		return name, nil
	}
	return "", fmt.Errorf("topic: the expression gave %v, which is no name", v)
}

// partitionOf evaluates the partition of a record; -1 where the key decides.
func (r *router) partitionOf(partitions int) (int, error) {
	n := r.fixed
	if r.partitionExpr != nil {
		v, err := r.partitionExpr.Run(&r.env)
		if err != nil {
			return 0, fmt.Errorf("partition: %w", err)
		}
		var ok bool
		if n, ok = v.(int); !ok || n < 0 {
			return 0, fmt.Errorf("partition: the expression gave %v, which is no number of a partition", v)
		}
	}
	if n >= partitions {
		return 0, fmt.Errorf("there is no partition %d: there are %d, from 0", n, partitions)
	}
	return n, nil
}

func openWriter(ctx context.Context, cfg *SinkConfig, t *sdk.Task) (*writer, error) {
	c, err := client.New(&cfg.Config, client.NoTopics...)
	if err != nil {
		return nil, sdk.Fatal(err)
	}
	w, err := newWriter(ctx, cfg, t, c)
	if err != nil {
		c.Close()
		return nil, err
	}
	return w, nil
}
