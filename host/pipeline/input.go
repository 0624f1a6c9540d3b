package pipeline

import (
	"strings"

	"github.com/weirstream/weir/host/yamlfile"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// connection is one entry of a node's input, as the file has it.
type connection struct {
	at           field // the text "node.output"
	node, output string
	port         string // empty where the file names none
	portAt       field
	partition    pluginv1.Partition
	partitionAt  field
}

// inputs reads a node's input in any of its forms: a name, a list, an object
// with from and partition, or a map from port to one of these.
func (l *loader) inputs(f field) []connection {
	if f.Kind != yamlfile.Map || f.Get("from") != nil || f.Get("partition") != nil {
		return l.onePort(f)
	}
	var all []connection
	for _, e := range l.entries(f) {
		for _, c := range l.onePort(e) {
			c.port, c.portAt = e.name, e
			all = append(all, c)
		}
	}
	if len(f.Entries) == 0 {
		l.fault(f, CodeMissingInput, "write a node's name, or a list of them", "names no node")
	}
	return all
}

// onePort reads what goes into one port.
func (l *loader) onePort(f field) []connection {
	switch {
	case f.Failed:
		return nil
	case f.Kind == yamlfile.List:
		if len(f.Items) == 0 {
			l.fault(f, CodeMissingInput, "write a node's name, or a list of them", "names no node")
		}
		var all []connection
		for i := range f.Items {
			if item := f.item(i); item.Kind == yamlfile.List {
				l.wrongType(item, "a node's name or {from: ..., partition: ...}")
			} else {
				all = append(all, l.onePort(item)...)
			}
		}
		return all
	case f.Kind == yamlfile.Map:
		return l.partitioned(f)
	}
	s, ok := l.text(f)
	if !ok {
		return nil
	}
	c := connection{at: f, output: OutputMain}
	name, output, dotted := strings.Cut(s, ".")
	c.node = name
	if dotted {
		c.output = output
	}
	if c.node == "" || c.output == "" {
		l.fault(f, CodeValue, "", "must be NODE or NODE.OUTPUT, not %s", shown(f.Value))
		return nil
	}
	return []connection{c}
}

var partitionNames = map[string]pluginv1.Partition{
	"forward":   pluginv1.Partition_PARTITION_FORWARD,
	"key":       pluginv1.Partition_PARTITION_KEY,
	"rebalance": pluginv1.Partition_PARTITION_REBALANCE,
	"broadcast": pluginv1.Partition_PARTITION_BROADCAST,
}

// PartitionName is the word that the file uses for a partition.
func PartitionName(p pluginv1.Partition) string {
	for name, v := range partitionNames {
		if v == p {
			return name
		}
	}
	return "unspecified"
}

// partitioned reads {from: ..., partition: ...}.
func (l *loader) partitioned(f field) []connection {
	fs := l.fields(f, "from", "partition")
	from, part := fs["from"], fs["partition"]
	if !from.present() {
		if !l.missing(f, fs, "from") {
			return nil
		}
		l.fault(f, CodeRequired, "", "`from` is missing: the node that the records come from")
		return nil
	}
	var partition pluginv1.Partition
	if part.present() {
		s, _ := l.oneOf(part, "forward", "key", "rebalance", "broadcast")
		partition = partitionNames[s]
	}
	if from.Kind == yamlfile.Map {
		l.wrongType(from, "a node's name or a list of them")
		return nil
	}
	all := l.onePort(from)
	for i := range all {
		if all[i].partition == pluginv1.Partition_PARTITION_UNSPECIFIED {
			all[i].partition, all[i].partitionAt = partition, part
		}
	}
	return all
}
