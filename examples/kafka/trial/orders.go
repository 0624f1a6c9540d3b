package main

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// orders are made-up ones. Every tenth is a test. The country is the key, so that
// those of one are in one partition, in order.
func orders(count int) []*kgo.Record {
	countries := []string{"DE", "FR", "GB", "IT", "JP", "PE", "US"}
	first := time.UnixMilli(1764300000000)
	all := make([]*kgo.Record, count)
	for i := range all {
		country := countries[i*i%len(countries)]
		all[i] = &kgo.Record{
			Key:       []byte(country),
			Value:     fmt.Appendf(nil, `{"id":%d,"country":%q,"amount":%d.%02d,"card":"%s","test":%t}`, i, country, i%500, i%100, card(i), i%10 == 9),
			Headers:   []kgo.RecordHeader{{Key: "trace", Value: fmt.Appendf(nil, "t-%d", i)}},
			Timestamp: first.Add(time.Duration(i) * time.Millisecond),
		}
	}
	return all
}

func card(i int) string { return fmt.Sprintf("4000%012d", int64(i)*7919%1_000_000_000_000) }

// masked are orders as the pipeline leaves them.
func masked(orders []*kgo.Record) (out []*kgo.Record) {
	for i, r := range orders {
		if i%10 == 9 {
			continue
		}
		number := card(i)
		out = append(out, &kgo.Record{
			Key:       r.Key,
			Value:     []byte(strings.Replace(string(r.Value), number, strings.Repeat("*", 12)+number[12:], 1)),
			Headers:   append(r.Headers, kgo.RecordHeader{Key: "masked", Value: []byte("card")}),
			Timestamp: r.Timestamp,
		})
	}
	return out
}

// compare compares record by record, those of each key in order: got are the
// partitions one behind the other.
func compare(got, want []*kgo.Record) error {
	wanted := map[string][]*kgo.Record{}
	for _, r := range want {
		wanted[string(r.Key)] = append(wanted[string(r.Key)], r)
	}
	for _, r := range got {
		at := fmt.Sprintf("partition %d, offset %d: %s", r.Partition, r.Offset, text(r))
		due := wanted[string(r.Key)]
		if len(due) == 0 {
			return fmt.Errorf("%s: nothing more should come", at)
		}
		if text(r) != text(due[0]) {
			return fmt.Errorf("%s: due is %s", at, text(due[0]))
		}
		wanted[string(r.Key)] = due[1:]
	}
	if len(got) != len(want) {
		return fmt.Errorf("there are %d records, not %d", len(got), len(want))
	}
	return nil
}

// text is all of a record that matters.
func text(r *kgo.Record) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %q=%s", r.Timestamp.UTC().Format("15:04:05.000"), r.Key, r.Value)
	for _, h := range r.Headers {
		fmt.Fprintf(&b, " %s=%q", h.Key, h.Value)
	}
	return b.String()
}
