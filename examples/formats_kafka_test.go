package examples_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/weirstream/weir/internal/testserver/kafkatest"
	"github.com/weirstream/weir/internal/testserver/registrytest"
)

// broker is an Apache Kafka that the tests share.
var broker kafkatest.Shared

const toAvroYAML = `
name: to-avro
nodes:
  stock:
    source: file
    on_error: {dead_letter: bad}
    config: {path: stock.csv, format: csv, csv: {delimiter: ";", types: {id: integer, price: number, stock: integer}}}
  there: {operator: expr, input: stock, config: {filter: (json.stock ?? 0) > 0, set: {article: upper(json.article)}}}
  topic:
    sink: kafka
    input: there
    on_error: {dead_letter: bad}
    config:
      bootstrap.servers: "%[1]s"
      topic: stock
      create: {partitions: 1}
      format: avro
      schema_registry: {url: "%[2]s"}
      avro:
        schema:
          type: record
          name: Stock
          fields:
            - {name: id, type: long}
            - {name: article, type: string}
            - {name: price, type: {type: bytes, logicalType: decimal, precision: 21, scale: 2}}
            - {name: stock, type: int}
            - {name: remarks, type: ["null", string]}
  bad: {sink: file, config: {path: ../../out/formats/bad.txt}}
`

const fromAvroYAML = `
name: from-avro
nodes:
  topic: {source: kafka, config: {bootstrap.servers: "%[1]s", topic: stock, end: latest, format: avro, schema_registry: {url: "%[2]s"}}}
  feed:  {sink: file, input: topic, config: {path: ../../out/formats/feed.jsonl, format: json}}
`

// TestFromCSVThroughAvroInKafkaToJSON: two pipelines, one behind the other. What
// cannot be read as CSV, and what the schema cannot hold exactly, is set aside whole;
// numbers keep every digit.
func TestFromCSVThroughAvroInKafkaToJSON(t *testing.T) {
	c, registry := broker.Get(t), registrytest.Start(t)
	l := newLab(t, "formats")
	stock := filepath.Join(l.root, "examples", "formats", "stock.csv")
	text, err := os.ReadFile(stock)
	if err == nil {
		err = os.WriteFile(stock, append(text, "10;Nail;0.005;100000;\n11;Nut;1e1;3;\n"...), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, yaml := range []string{toAvroYAML, fromAvroYAML} {
		if err := os.WriteFile(filepath.Join(l.root, l.pipeline()), fmt.Appendf(nil, yaml, c.Bootstrap(), registry.URL), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Log(l.run())
	}
	same(t, "feed.jsonl", l.lines("feed.jsonl"), []string{
		`{"id":1,"article":"SCREW M4","price":0.05,"stock":12000,"remarks":null}`,
		`{"id":2,"article":"BRACKET, \"SHORT\"","price":1.50,"stock":310,"remarks":"two lines:\nfirst, second"}`,
		`{"id":9007199254740993,"article":"ANGLE","price":1234567890123456789.99,"stock":1,"remarks":"a very long number"}`,
		`{"id":11,"article":"NUT","price":10.00,"stock":3,"remarks":null}`,
	})
	bad := l.lines("bad.txt") // of two nodes, side by side
	slices.Sort(bad)
	same(t, "bad.txt", bad, []string{
		"3;Washer;0,02;9000;\r", "5;Disk 5\" ;3.10;7;\r", "7;Chain;4.20;15\r",
		`{"id":10,"article":"NAIL","price":0.005,"stock":100000,"remarks":null}`,
	})
	if got := registry.Subjects(); len(got) != 1 || len(got["stock-value"]) != 1 {
		t.Errorf("subjects: %v", got)
	}
	l.noLeftovers()
}
