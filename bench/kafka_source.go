package main

import (
	"context"
	"fmt"
)

const kafkaDiscardYAML = `
name: kafka-discard
checkpoint: {interval: 5s}
nodes:
  in:  {source: kafka, config: {bootstrap.servers: "%s", topic: %s, end: latest}}
  out: {sink: discard, input: in}
`

// kafkaDiscard measures the source.
func kafkaDiscard(ctx context.Context, l *lab, name string, records uint64, runs int) (Result, error) {
	topic, err := l.filled(ctx, records)
	if err != nil {
		return Result{}, err
	}
	var all []Result
	for range runs {
		r, err := l.besideBroker(ctx, name, fmt.Sprintf(kafkaDiscardYAML, l.broker.Bootstrap(), topic), records)
		if err != nil {
			return Result{}, err
		}
		all = append(all, r)
	}
	return median(all), nil
}
