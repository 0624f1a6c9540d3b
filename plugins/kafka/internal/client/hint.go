package client

import (
	"cmp"
	"strings"
)

// Hint implements [sdk.Hinter]: what to do instead of setting a property that
// other Kafka clients have.
func (c *Config) Hint(name string) string {
	if hint, ok := hints[name]; ok {
		return hint
	}
	for _, h := range prefixHints {
		if strings.HasPrefix(name, h.prefix) {
			return h.hint
		}
	}
	return ""
}

// HintToSource is Hint for a source: what producers alone have does nothing there.
func (c *Config) HintToSource(name string) string {
	if hint, ok := ofSinks[name]; ok {
		return cmp.Or(hint, "the sink has it: a source writes nothing")
	}
	return cmp.Or(ofSources[name], c.Hint(name))
}

// HintToSink is Hint for a sink: what consumers alone have does nothing there.
func (c *Config) HintToSink(name string) string {
	if hint, ok := ofSources[name]; ok {
		return cmp.Or(hint, "the source has it: a sink reads nothing")
	}
	return cmp.Or(ofSinks[name], c.Hint(name))
}

const (
	byCheckpoint = "a source's positions are kept in checkpoints, and with group.id committed to the group after each"
	byWeir       = "a source's partitions are spread over the node's tasks by Weir, not by the group's protocol: set parallelism"
	asBytes      = "keys and values are bytes to Kafka: say how values are read and written by format, or in an operator"
	always       = "a sink always writes idempotently, with acks=all"
	byPipeline   = "the pipeline retries, as its restart policy says"
	pem          = "give PEM: "
)

// ofSources are properties for reading alone; those without a hint are the source's
// own.
var ofSources = map[string]string{
	"topics": "", "topic_pattern": "", "group.id": "", "auto.offset.reset": "", "isolation.level": "",
	"start": "", "start_offsets": "", "end": "", "end_offsets": "", "out_of_range": "",
	"fetch.min.bytes": "", "fetch.max.wait.ms": "", "fetch.max.bytes": "", "max.partition.fetch.bytes": "",
	"buffer": "", "metadata.max.age.ms": "", "metadata_headers": "",

	"enable.auto.commit":            byCheckpoint,
	"auto.commit.interval.ms":       byCheckpoint,
	"partition.assignment.strategy": byWeir,
	"session.timeout.ms":            byWeir,
	"heartbeat.interval.ms":         byWeir,
	"max.poll.interval.ms":          byWeir,
	"max.poll.records":              "the size of a batch is the pipeline's batch.size",
	"group.instance.id":             byWeir,
	"group.protocol":                byWeir,
	"key.deserializer":              asBytes,
	"value.deserializer":            asBytes,
	"allow.auto.create.topics":      "a topic is never created by reading it",
	"client.rack":                   "records are always fetched from a partition's leader",
	"check.crcs":                    "the checksums of what is read are always checked",
	"exclude.internal.topics":       "topic_pattern leaves internal topics out",
}

// ofSinks are properties for writing alone, alike.
var ofSinks = map[string]string{
	"partition": "", "guarantee": "", "create": "", "linger.ms": "", "batch.size": "", "buffer.memory": "", "compression.type": "", "transaction.timeout.ms": "",

	"acks":                                  always,
	"enable.idempotence":                    always,
	"max.in.flight.requests.per.connection": always,
	"retries":                               byPipeline,
	"delivery.timeout.ms":                   byPipeline,
	"max.block.ms":                          "a sink that cannot write holds its input back; default.api.timeout.ms is how long it tries",
	"max.request.size":                      "a sink's requests are as large as batch.size and the broker allow",
	"transactional.id":                      "a sink makes transactional ids of its own, which the guarantee needs",
	"partitioner.class":                     "records with a key go where the Java client puts them; for anything else set partition",
	"key.serializer":                        asBytes,
	"value.serializer":                      asBytes,
}

var hints = map[string]string{
	"retry.backoff.ms":                  byPipeline,
	"retry.backoff.max.ms":              byPipeline,
	"reconnect.backoff.ms":              byPipeline,
	"reconnect.backoff.max.ms":          byPipeline,
	"interceptor.classes":               "there are no interceptors: put an operator before or behind",
	"metadata.broker.list":              "its name is bootstrap.servers",
	"bootstrap.server":                  "its name is bootstrap.servers",
	"brokers":                           "its name is bootstrap.servers",
	"sasl.mechanisms":                   "its name is sasl.mechanism",
	"ssl.ca.location":                   "its name is ssl.truststore.location",
	"ssl.ca.pem":                        "its name is ssl.truststore.certificates",
	"ssl.certificate.location":          pem + "ssl.keystore.location holds key and certificates, or set ssl.keystore.certificate.chain: ${file:...}",
	"ssl.key.location":                  pem + "ssl.keystore.location holds key and certificates, or set ssl.keystore.key: ${file:...}",
	"ssl.key.password":                  "a key is given without a password: decrypt it with openssl pkey, and protect the file",
	"ssl.keystore.password":             "PEM needs none",
	"ssl.truststore.password":           "PEM needs none",
	"sasl.login.callback.handler.class": "there are PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512",
}

var prefixHints = []struct{ prefix, hint string }{
	{"sasl.kerberos.", "Kerberos is not supported: there are PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512"},
	{"sasl.oauthbearer.", "OAuth is not supported: there are PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512"},
	{"producer.", "properties stand without a prefix"},
	{"consumer.", "properties stand without a prefix"},
}
