package pipeline

import (
	"math/bits"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// parallelism settles how many tasks a node has, and the number of key groups.
func (l *loader) parallelism(fs map[string]field) {
	most := 1
	for _, d := range l.nodes {
		if d.capabilities.GetSingleTask() && d.parallelism > 1 {
			if d.parallelismAt.present() {
				l.fault(d.parallelismAt, CodeParallelism, "leave `parallelism` out or say 1", "%s needs parallelism 1 with this configuration", d.component.fullName())
			}
			d.parallelism = 1
		}
		most = max(most, d.parallelism)
	}
	if p := l.p; p.MaxParallelism == 0 {
		p.MaxParallelismChosen = true
		p.MaxParallelism = DefaultMaxParallelism(most)
		return
	}
	if limit := fs["max_parallelism"]; limit.present() {
		at := fs["parallelism"]
		if at.present() && l.p.Parallelism > l.p.MaxParallelism {
			l.fault(at, CodeParallelism, "lower it, or raise max_parallelism before the first checkpoint", "is above max_parallelism (%d)", l.p.MaxParallelism)
		}
		for _, d := range l.nodes {
			if d.parallelismAt.present() && d.parallelism > l.p.MaxParallelism {
				l.fault(d.parallelismAt, CodeParallelism, "lower it, or raise max_parallelism before the first checkpoint", "is above max_parallelism (%d)", l.p.MaxParallelism)
			}
		}
	}
}

// DefaultMaxParallelism is the number of key groups of a pipeline whose widest
// node has so many tasks, where its file does not say: room to grow by half,
// as a power of two between 128 and 32768. It is Apache Flink's rule.
func DefaultMaxParallelism(tasks int) int {
	return min(max(1<<bits.Len(uint(tasks+tasks/2-1)), 128), maxTasks)
}

// partitions settles how every link divides records over tasks: as the file
// says; else by key into keyed state; else forward at equal parallelism; else
// by turns.
func (l *loader) partitions() {
	for _, d := range l.nodes {
		for _, k := range d.in {
			if d.component != nil {
				l.partition(k)
			}
		}
	}
	for _, d := range l.nodes {
		l.rekeyed(d)
	}
}

func (l *loader) partition(k *link) {
	to := k.to
	var only pluginv1.Partition
	for _, p := range to.ports() {
		if p.GetName() == k.port {
			only = p.GetPartition()
		}
	}
	said := k.partitionAt.present() && k.partition != 0
	at := k.at
	if said {
		at = k.partitionAt
	}
	keyed := to.capabilities.GetKeyedState() && only != pluginv1.Partition_PARTITION_BROADCAST
	switch {
	case keyed && said && k.partition != pluginv1.Partition_PARTITION_KEY:
		l.fault(at, CodePartition, "leave it out or say key", "%s keeps state by key: records must come to it by key, not by %s",
			to.component.fullName(), PartitionName(k.partition))
		return
	case only != 0 && said && k.partition != only:
		l.fault(at, CodePartition, "", "port %q of %s takes only partition %s", k.port, to.component.fullName(), PartitionName(only))
		return
	case said:
	case keyed:
		k.partition = pluginv1.Partition_PARTITION_KEY
	case only != 0:
		k.partition = only
	case k.from.parallelism == to.parallelism:
		k.partition = pluginv1.Partition_PARTITION_FORWARD
	default:
		k.partition = pluginv1.Partition_PARTITION_REBALANCE
		if to.parallelism > 1 && !k.deadLetter() {
			l.warn(at, CodeOrder, "partition: key keeps the order within a key; partition: rebalance says that order does not matter",
				"records may overtake each other: %q has parallelism %d and %q has %d, so they go to its tasks by turns", k.from.name, k.from.parallelism, to.name, to.parallelism)
		}
	}
	if k.partition == pluginv1.Partition_PARTITION_FORWARD && k.from.parallelism != to.parallelism {
		l.fault(at, CodePartition, "use key or rebalance, or equal parallelism",
			"a forward edge needs equal parallelism: %q has %d tasks, %q has %d", k.from.name, k.from.parallelism, to.name, to.parallelism)
	}
}

// rekeyed warns where a node gives records another key and they go on forward:
// records of one key then lie in several tasks and are not ordered.
func (l *loader) rekeyed(d *draft) {
	if d.component == nil || d.kind != pluginv1.Kind_KIND_OPERATOR || d.parallelism < 2 ||
		!d.component.spec.GetCapabilities().GetPreservesKey() || d.capabilities.GetPreservesKey() {
		return
	}
	for _, k := range d.out {
		if !k.deadLetter() && k.partition == pluginv1.Partition_PARTITION_FORWARD {
			l.warn(k.at, CodeOrder, "partition: key brings them together",
				"%q sets the key, and records of one key stay spread over its %d tasks on this forward edge", d.name, d.parallelism)
		}
	}
}
