package kafka

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/weirstream/weir/plugins/kafka/internal/client"
	"github.com/weirstream/weir/plugins/kafka/internal/fetch"
	"github.com/weirstream/weir/sdk"
)

// SourceConfig is the source's configuration.
type SourceConfig struct {
	client.Config

	Topic   string   `weir:"topic,required" xor:"topics" doc:"The topic to read."`
	Topics  []string `weir:"topics" xor:"topics" doc:"The topics to read."`
	Pattern string   `weir:"topic_pattern" xor:"topics" doc:"A regular expression (RE2): every topic whose whole name it matches is read, also those that are created later. Internal topics are left out."`

	GroupID   string `weir:"group.id" doc:"The consumer group to which positions are committed after each checkpoint, for other tools to see the lag; and where reading begins, see start."`
	AutoReset string `weir:"auto.offset.reset" default:"earliest" enum:"earliest,latest,none" doc:"Where reading begins in a partition of which the group has no position, or without a group: at the first record, behind the last, or not at all (an error). Unlike in Kafka's consumer it is earliest unless set, and does not say what becomes of a position that is out of range: see out_of_range."`
	Isolation string `weir:"isolation.level" default:"read_committed" enum:"read_committed,read_uncommitted" doc:"read_committed: only records of committed transactions, and those of none. Unlike in Kafka's consumer it is the default."`

	Start        string           `weir:"start" xor:"start" doc:"Where reading begins at the first start: group (the group's positions, else auto.offset.reset; the default), earliest, latest, or a time (RFC 3339): at the first record that is not older. Partitions found later are read from their first record."`
	StartOffsets map[string]int64 `weir:"start_offsets" min:"0" xor:"start" doc:"The offset to begin at, by partition (\"0\"), or by topic and partition (\"orders:0\"); the other partitions begin as without it."`
	End          string           `weir:"end" xor:"end" doc:"Makes the source bounded: latest (what is there at the first start) or a time (RFC 3339): up to the first record that is not older."`
	EndOffsets   map[string]int64 `weir:"end_offsets" min:"0" xor:"end" doc:"Makes the source bounded: the offset to end before, by partition or by topic and partition. Partitions that are not named are not read."`
	OutOfRange   string           `weir:"out_of_range" default:"fail" enum:"fail,earliest,latest" doc:"What becomes of a partition whose position is gone, since records were deleted or the log was cut back: the pipeline fails, or goes on at the first record, or behind the last, and says which offsets it missed. In a log that was cut back by an unclean election it goes on from there."`

	FetchMinBytes     int          `weir:"fetch.min.bytes" default:"1" min:"1" max:"1073741824" doc:"A broker waits for so many bytes before it answers."`
	FetchMaxWait      int          `weir:"fetch.max.wait.ms" default:"500" min:"1" max:"60000" doc:"A broker answers after so long at the latest, in milliseconds."`
	FetchMaxBytes     int          `weir:"fetch.max.bytes" default:"52428800" min:"1" max:"1073741824" doc:"The most that a broker returns at once."`
	PartitionMaxBytes int          `weir:"max.partition.fetch.bytes" default:"1048576" min:"1" max:"1073741824" doc:"The most that a broker returns of one partition at once; one larger batch comes all the same."`
	Buffer            sdk.ByteSize `weir:"buffer" default:"64MiB" min:"1MiB" max:"16GiB" doc:"How much a task keeps of what it has fetched and not yet handed on, over all partitions."`
	MetadataMaxAge    int          `weir:"metadata.max.age.ms" default:"30000" min:"10" max:"86400000" doc:"How often new partitions and topics are looked for, in milliseconds."`
	Formats

	MetadataHeaders bool `weir:"metadata_headers" default:"false" doc:"Adds the headers kafka.topic, kafka.partition and kafka.offset to each record, as text."`
}

// bounded reports whether each partition has an end.
func (c *SourceConfig) bounded() bool { return c.End != "" || len(c.EndOffsets) > 0 }

// fetching is what the configuration says of fetching.
func (c *SourceConfig) fetching() fetch.Options {
	return fetch.Options{
		Committed: c.committed(), MinBytes: c.FetchMinBytes, MaxBytes: c.FetchMaxBytes,
		PartitionMaxBytes: c.PartitionMaxBytes, MaxWait: time.Duration(c.FetchMaxWait) * time.Millisecond, Buffer: int(c.Buffer),
		RequestTimeout: c.RequestTimeoutDuration(), GoneAfter: c.APITimeoutDuration(),
	}
}

// committed reports whether only committed records are read.
func (c *SourceConfig) committed() bool { return c.Isolation == "read_committed" }

// Capabilities implements [sdk.Claimer].
func (c *SourceConfig) Capabilities(caps *sdk.Capabilities) { caps.Bounded = c.bounded() }

// named returns the topics that are read by name; nil where a pattern says.
func (c *SourceConfig) named() []string {
	if c.Topic != "" {
		return []string{c.Topic}
	}
	return c.Topics
}

// pattern matches a topic's whole name.
func (c *SourceConfig) pattern() (*regexp.Regexp, error) {
	return regexp.Compile("^(?:" + c.Pattern + ")$")
}

// Hint implements [sdk.Hinter].
func (c *SourceConfig) Hint(name string) string { return c.HintToSource(name) }

// Validate implements [sdk.Validator].
func (c *SourceConfig) Validate() []sdk.FieldError {
	faults := append(c.Faults(), c.faults(false)...)
	if c.Pattern != "" {
		if _, err := regexp.Compile(c.Pattern); err != nil {
			faults = append(faults, sdk.Faultf("topic_pattern", "is no regular expression: %v", err))
		}
	}
	switch c.Start {
	case "", "group", "earliest", "latest":
	default:
		if _, err := time.Parse(time.RFC3339Nano, c.Start); err != nil {
			faults = append(faults, sdk.Faultf("start", "%q: there are group, earliest, latest, and a time such as 2026-01-31T12:00:00Z", c.Start))
		}
	}
	if c.Start == "group" && c.GroupID == "" {
		faults = append(faults, sdk.Faultf("start", "group needs group.id"))
	}
	switch c.End {
	case "", "latest":
	default:
		if _, err := time.Parse(time.RFC3339Nano, c.End); err != nil {
			faults = append(faults, sdk.Faultf("end", "%q: there are latest, and a time such as 2026-01-31T12:00:00Z", c.End))
		}
	}
	faults = append(faults, c.offsetFaults("start_offsets", c.StartOffsets)...)
	return append(faults, c.offsetFaults("end_offsets", c.EndOffsets)...)
}

// offsetFaults checks the keys of offsets: "0" or "orders:0".
func (c *SourceConfig) offsetFaults(field string, offsets map[string]int64) (faults []sdk.FieldError) {
	for key := range offsets {
		_, number := strconv.ParseUint(key, 10, 31)
		_, both := client.ParseTopicPartition(key)
		switch {
		case number != nil && both != nil:
			faults = append(faults, sdk.Faultf(field, `%q names no partition: write "0", or "topic:0"`, key))
		case number == nil && c.Topic == "":
			faults = append(faults, sdk.Faultf(field, `%q does not say of which topic: write "topic:%s"`, key, key))
		}
	}
	return faults
}

// offsetOf looks a partition up in start_offsets or end_offsets.
func offsetOf(offsets map[string]int64, p client.TopicPartition) (int64, bool) {
	if o, ok := offsets[p.String()]; ok {
		return o, true
	}
	o, ok := offsets[strconv.Itoa(int(p.Partition))]
	return o, ok
}

// namesOffsetsOf returns an error where an offset is given for a partition that is
// not there: it would be waited for, or overlooked.
func (c *SourceConfig) namesOffsetsOf(found []located) error {
	known := map[string]bool{}
	for _, p := range found {
		known[p.String()] = true
		known[strconv.Itoa(int(p.Partition))] = true
	}
	for field, offsets := range map[string]map[string]int64{"start_offsets": c.StartOffsets, "end_offsets": c.EndOffsets} {
		for key := range offsets {
			if !known[key] {
				return fmt.Errorf("%s: there is no partition %q", field, key)
			}
		}
	}
	return nil
}

// Probe implements [sdk.Prober].
func (c *SourceConfig) Probe(ctx context.Context, _ sdk.Probe) []sdk.FieldError {
	cl, faults := c.Connect(ctx)
	if len(faults) > 0 {
		return faults
	}
	defer cl.Close()
	faults = append(c.Warnings(), c.probe(ctx)...)
	var found []located
	err := cl.Patiently(ctx, func() (err error) {
		found, err = c.list(ctx, cl)
		return err
	})
	switch {
	case err != nil:
		field := "topic"
		if c.Topic == "" {
			field = "topics"
		}
		if c.Pattern != "" {
			field = "topic_pattern"
		}
		return append(faults, sdk.Faultf(field, "%v", err))
	case len(found) == 0:
		faults = append(faults, sdk.Warnf("topic_pattern", "matches no topic at present"))
	}
	if err := c.namesOffsetsOf(found); err != nil {
		faults = append(faults, sdk.Faultf("", "%v", err))
	}
	if c.GroupID != "" {
		err := cl.Patiently(ctx, func() error {
			_, err := committed(ctx, cl, c.GroupID, found)
			return err
		})
		if err != nil {
			faults = append(faults, sdk.Faultf("group.id", "%v", err))
		}
	}
	return faults
}

// Source returns the component.
func Source() sdk.Component {
	return sdk.NewSource("kafka", "Reads the records of Kafka topics.", newSource,
		sdk.Bounded(),
		sdk.Description(`Properties have the names of Kafka's own clients. A record's key, value, headers
and timestamp are Kafka's; its origin is the partition (`+"`topic:number`"+`) and the offset. Partitions are spread over
the node's tasks, and looked for again every `+"`metadata.max.age.ms`"+`. Positions lie in the checkpoint; they are
committed to the group, if there is one, after the checkpoint has completed, and read from it at the first start alone.`),
		sdk.Example("A topic", "bootstrap.servers: localhost:9092\ntopic: orders\n"),
		sdk.Example("All topics of a kind, with a password over TLS", `bootstrap.servers: kafka-1:9093,kafka-2:9093
topic_pattern: orders\..*
group.id: weir-orders
security.protocol: SASL_SSL
sasl.mechanism: SCRAM-SHA-512
sasl.username: weir
sasl.password: ${KAFKA_PASSWORD}
ssl.truststore.location: /etc/kafka/ca.pem
`),
		sdk.Example("Avro of a schema registry, as JSON", `bootstrap.servers: localhost:9092
topic: orders
format: avro
schema_registry: {url: "http://localhost:8081"}
`),
		sdk.Example("What is there now, then the end", "bootstrap.servers: localhost:9092\ntopic: orders\nend: latest\n"))
}
