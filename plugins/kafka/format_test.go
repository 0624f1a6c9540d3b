package kafka

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/avro"

	"github.com/weirstream/weir/internal/testserver/kafkatest"
	"github.com/weirstream/weir/internal/testserver/registrytest"
	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/sdktest"
)

const orderSchema = `{"type":"record","name":"Order","fields":[{"name":"id","type":"long"},{"name":"amount","type":{"type":"bytes","logicalType":"decimal","precision":20,"scale":2},"default":"\u0000"}]}`

// inAvro are fields of a configuration that writes or reads Avro.
func inAvro(registry *registrytest.Server, more map[string]any) map[string]any {
	all := map[string]any{"format": "avro", "schema_registry": map[string]any{"url": registry.URL}}
	maps.Copy(all, more)
	return all
}

func errorsOf(failed []sdktest.Failed) (out []string) {
	for _, f := range failed {
		out = append(out, fmt.Sprintf("%s: %s", f.Value, f.Err))
	}
	return out
}

// What is written begins with the id of its schema, which is registered under the
// topic's name, and any Avro library reads the rest; it is read as it was. Tombstones,
// keys and headers are untouched.
func TestAvroThroughATopic(t *testing.T) {
	c, registry := broker.Get(t), registrytest.Start(t)
	topic := c.Topic(t, 1, nil)
	s := sdktest.NewSink(t, Sink(), reading(c, inAvro(registry, map[string]any{"topic": topic, "avro": map[string]any{"schema": json.RawMessage(orderSchema)}})))
	failed := s.Write(
		sdktest.Record{Key: []byte("k\xff"), Value: []byte(`{"amount": 12345678901234567.5, "id": 9007199254740993}`), Headers: []sdktest.Header{{Name: "h", Value: []byte("v")}}},
		sdktest.Record{Value: []byte(`{"id": "x"}`)},
		sdktest.Record{Key: []byte("k\xff")},
		sdktest.Record{Value: []byte(`{"id": 2}`)},
		sdktest.Record{Value: []byte(`{"id": 3, "amount": 0.001}`)},
	)
	cp, _ := s.Checkpoint()
	s.Commit(cp)
	same(t, errorsOf(failed),
		`{"id": "x"}: avro: id: the schema has long here, and the value is the string "x"`,
		`{"id": 3, "amount": 0.001}: avro: amount: 0.001 has more than 2 digits behind the point, which is all that the schema holds`)
	if subjects := registry.Subjects(); !slices.Equal(subjects[topic+"-value"], []int{1}) || len(subjects) != 1 {
		t.Errorf("subjects %v", subjects)
	}
	var got []kafkatest.Message
	patiently(t, func() error {
		if got = broker.Committed(t, topic); len(got) < 3 {
			return fmt.Errorf("%d records", len(got))
		}
		return nil
	})
	var order map[string]any
	rest, err := avro.MustParse(orderSchema).Decode(got[0].Value[5:], &order)
	if err != nil || len(rest) > 0 || order["id"] != int64(9007199254740993) || binary.BigEndian.Uint32(got[0].Value[1:]) != 1 || got[0].Value[0] != 0 {
		t.Errorf("%x is %v, %v", got[0].Value, order, err)
	}
	if got[1].Value != nil || string(got[0].Key) != "k\xff" {
		t.Errorf("a tombstone is %x, the key %x", got[1].Value, got[0].Key)
	}

	read := sdktest.NewSource(t, Source(), reading(c, inAvro(registry, map[string]any{"topic": topic, "end": "latest"}))).ReadAll()
	same(t, sdktest.ValuesOf(read), `{"id":9007199254740993,"amount":12345678901234567.50}`, "<null>", `{"id":2,"amount":0.00}`)
	if string(read[0].Key) != "k\xff" || len(read[0].Headers) != 1 {
		t.Errorf("%v", read[0])
	}
}

// A value that cannot be read fails alone, with its offset; reading goes on, also
// from each position.
func TestValuesThatAreNotOfTheFormatFail(t *testing.T) {
	c, registry := broker.Get(t), registrytest.Start(t)
	topic := c.Topic(t, 1, nil)
	registry.Register("ints", registrytest.Schema{Schema: `"int"`})
	wire := func(id, v byte) []byte { return []byte{0, 0, 0, 0, id, v} }
	for _, compression := range []kafkago.Compression{0, kafkago.Lz4} {
		writeMessages(t, c, topic, 0, compression,
			kafkago.Message{Value: wire(1, 2)}, kafkago.Message{Value: []byte("{}")}, kafkago.Message{Value: wire(9, 2)}, kafkago.Message{Value: wire(1, 0x80)},
			kafkago.Message{}, kafkago.Message{Value: wire(1, 4)})
	}
	config := reading(c, inAvro(registry, map[string]any{"topic": topic, "end": "latest"}))
	s := sdktest.NewSource(t, Source(), config, sdktest.BatchSize(1))
	r := s.Open(s.Splits()[0])
	same(t, sdktest.ValuesOf(r.Rest()), "1", "<null>", "2", "1", "<null>", "2")
	var failed []string
	for _, f := range r.Failed() {
		err, _, _ := strings.Cut(f.Err, ":")
		failed = append(failed, fmt.Sprintf("%d %s", f.Ordinal, err))
	}
	var want []string
	for _, base := range []int{0, 6} {
		want = append(want, fmt.Sprintf("%d the value has 2 bytes, too few for the id of a schema", base+1),
			fmt.Sprintf("%d the schema registry does not know schema 9", base+2), fmt.Sprintf("%d avro", base+3))
	}
	same(t, failed, want...)
	sdktest.NewSource(t, Source(), config, sdktest.BatchSize(1)).CheckResume()

	for format, c := range map[string]struct {
		config map[string]any
		want   []string
	}{
		"json": {nil, []string{`{}`, "<null>"}},
		"csv":  {map[string]any{"csv": map[string]any{"columns": []string{"a"}, "types": map[string]string{"a": "json"}}}, []string{`{"a":{}}`, "<null>"}},
		"avro": {map[string]any{"avro": map[string]any{"schema": "bytes"}}, []string{"<null>"}},
	} {
		fields := map[string]any{"topic": topic, "end": "latest", "format": format}
		maps.Copy(fields, c.config)
		var got []string
		for _, v := range sdktest.ValuesOf(sdktest.NewSource(t, Source(), reading(broker.Get(t), fields)).ReadAll()) {
			if !slices.Contains(got, v) && !strings.HasPrefix(v, `"`) {
				got = append(got, v)
			}
		}
		same(t, got, c.want...)
	}
}

// A schema registry that does not answer holds reading and writing up, and nothing
// is lost, doubled or failed by it.
func TestASchemaRegistryThatIsDownForAWhile(t *testing.T) {
	c, registry := broker.Get(t), registrytest.Start(t)
	topic := c.Topic(t, 1, nil)
	s := sdktest.NewSink(t, Sink(), reading(c, inAvro(registry, map[string]any{
		"topic": map[string]any{"expr": `"` + topic + `"`}, "avro": map[string]any{"schema": json.RawMessage(orderSchema)},
	})), sdktest.Retries(20))
	down := func() {
		var asked atomic.Int32
		registry.Fault(func(w http.ResponseWriter, r *http.Request) {
			if asked.Add(1) == 3 {
				registry.Fault(nil)
			}
			registrytest.Refuse(503, 50301, "Service Unavailable")(w, r)
		})
	}
	down()
	failed := s.Write(sdktest.Values(`{"id": 1}`, `{"id": null}`, `{"id": 2}`)...)
	cp, _ := s.Checkpoint()
	s.Commit(cp)
	same(t, errorsOf(failed), `{"id": null}: avro: id: the schema has long here, and the value is null`)
	patiently(t, func() error {
		if got := broker.Committed(t, topic); len(got) != 2 {
			return fmt.Errorf("%d records", len(got))
		}
		return nil
	})

	// Others, of a schema that is asked for amid the batch.
	registry.Register("ints", registrytest.Schema{Schema: `"int"`})
	writeMessages(t, c, topic, 0, kafkago.Gzip, kafkago.Message{Value: []byte{0, 0, 0, 0, 2, 2}}, kafkago.Message{Value: []byte{0, 0, 0, 0, 2, 4}})
	source := sdktest.NewSource(t, Source(), reading(c, inAvro(registry, map[string]any{"topic": topic, "end": "latest"})), sdktest.Retries(20))
	splits := source.Splits()
	down()
	same(t, sdktest.ValuesOf(source.Read(splits[0])), `{"id":1,"amount":0.00}`, `{"id":2,"amount":0.00}`, "1", "2")
}

// Failed records leave no gap and do not move the others, however partitions are
// chosen.
func TestRecordsThatCannotBeEncodedFailAlone(t *testing.T) {
	c := broker.Get(t)
	for name, more := range map[string]map[string]any{
		"fixed": {"partition": 1}, "keyed": {"key": true}, "spread": {}, "computed": {"partition": map[string]any{"expr": "json.a % 3"}},
	} {
		for _, bad := range []string{"some", "none", "all"} {
			topic := c.Topic(t, 3, nil)
			config := map[string]any{"topic": topic, "format": "csv", "csv": map[string]any{"columns": []string{"a"}}, "guarantee": "at_least_once"}
			maps.Copy(config, more)
			delete(config, "key")
			s := sdktest.NewSink(t, Sink(), reading(c, config), sdktest.Guarantee(sdk.AtLeastOnce))
			var records []sdktest.Record
			var want, fail []string
			for i := range 60 {
				r := sdktest.Record{Value: fmt.Appendf(nil, `{"a":%d}`, i)}
				if more["key"] != nil && i%4 > 0 {
					r.Key = fmt.Appendf(nil, "%d", i%7)
				}
				if bad == "all" || bad == "some" && i%5 == 2 {
					r.Value = fmt.Appendf(nil, `{"a":%d,"b":%d}`, i, i)
					fail = append(fail, string(r.Value)+`: the field "b" is no column: add it to columns, or set unknown_fields: drop`)
				} else {
					want = append(want, fmt.Sprint(i))
				}
				records = append(records, r)
			}
			failed := s.Write(records...)
			s.Checkpoint()
			same(t, errorsOf(failed), fail...)
			var got []kafkatest.Message
			patiently(t, func() error {
				if got = broker.Committed(t, topic); len(got) < len(want) {
					return fmt.Errorf("%d records", len(got))
				}
				return nil
			})
			last := map[string]int{}
			var all []string
			for _, m := range got {
				var n int
				if _, err := fmt.Sscan(string(m.Value), &n); err != nil {
					t.Fatal(err)
				}
				all = append(all, string(m.Value))
				if more["key"] != nil && n%4 > 0 && (string(m.Key) != fmt.Sprint(n%7) || m.Partition != partitionOf(m.Key, 3)) ||
					name == "computed" && m.Partition != n%3 || name == "fixed" && m.Partition != 1 {
					t.Errorf("%s, %s: %d has key %s and is in partition %d", name, bad, n, m.Key, m.Partition)
				}
				place := fmt.Sprint(m.Partition, string(m.Key))
				if before, ok := last[place]; ok && before > n {
					t.Errorf("%s, %s: %d follows %d", name, bad, n, before)
				}
				last[place] = n
			}
			slices.Sort(all)
			slices.Sort(want)
			same(t, all, want...)
		}
	}
}

func TestFaultsOfFormats(t *testing.T) {
	base := map[string]any{"bootstrap.servers": "h:1", "topic": "t"}
	registry := map[string]any{"url": "http://h"}
	schema := func(s string) map[string]any { return map[string]any{"schema": json.RawMessage(s)} }
	for _, c := range []struct {
		fields       map[string]any
		source, sink string
	}{
		{map[string]any{"format": "xml"}, `format: must be one of`, `format: must be one of`},
		{map[string]any{"csv": map[string]any{}}, `csv: has no effect: format is raw; set format: csv`, `csv: has no effect: format is raw; set format: csv`},
		{map[string]any{"format": "csv"}, `csv.columns: is required`, `csv.columns: is required`},
		{map[string]any{"format": "avro"}, `avro.schema: is required without schema_registry`, `avro.schema: is required without schema_registry`},
		{map[string]any{"format": "avro", "avro": schema(`{"type":"record","name":"R","fields":[{"name":"a","type":"lnog"}]}`)}, `avro.schema.fields[0].type: unknown type "lnog"`, `avro.schema.fields[0].type: unknown type "lnog"`},
		{map[string]any{"format": "avro", "schema_registry": registry, "avro": schema(`"int"`)}, `avro: has no effect: each value names its schema`, ``},
		{map[string]any{"format": "avro", "schema_registry": map[string]any{"url": "h:1"}}, `schema_registry.url: is no URL`, `schema_registry.url: is no URL`},
		{map[string]any{"format": "avro", "schema_registry": registry}, ``, ``},
		{map[string]any{"format": "json", "schema_registry": registry}, `schema_registry: has no effect: format is json; set format: avro`, `schema_registry: has no effect`},
		{map[string]any{"format": "avro", "avro": map[string]any{"schema": "int", "schema_file": "x"}}, `avro.schema_file: excludes "schema"`, `avro.schema_file: excludes "schema"`},
	} {
		config := maps.Clone(base)
		maps.Copy(config, c.fields)
		for component, want := range map[string]string{"source": c.source, "sink": c.sink} {
			faults := sdktest.Check(t, map[string]func() sdk.Component{"source": Source, "sink": Sink}[component](), config).Faults
			if want == "" && len(faults) > 0 || want != "" && (len(faults) != 1 || !strings.HasPrefix(faults[0].Error(), want)) {
				t.Errorf("%s, %v: %v, want %s", component, c.fields, faults, want)
			}
		}
	}
}

// validate --connect and a start say what is wrong with the schema registry.
func TestASchemaRegistryThatIsNotThere(t *testing.T) {
	c := broker.Get(t)
	topic := c.Topic(t, 1, nil)
	config := reading(c, map[string]any{"topic": topic, "format": "avro", "schema_registry": map[string]any{"url": "http://127.0.0.1:1"}})
	for _, component := range []sdk.Component{Source(), Sink()} {
		faults := sdktest.Probe(t.Context(), t, component, config)
		if len(faults) != 1 || faults[0].Field != "schema_registry.url" || !strings.Contains(faults[0].Message, "schema registry http://127.0.0.1:1: ") {
			t.Errorf("%v", faults)
		}
	}
	if err := sdktest.OpenError(t, Sink(), config); err == nil || !strings.Contains(err.Error(), "schema registry http://127.0.0.1:1: ") {
		t.Errorf("%v", err)
	}
	registry := registrytest.Start(t)
	config["schema_registry"] = map[string]any{"url": registry.URL}
	if err := sdktest.OpenError(t, Sink(), config); err == nil || !strings.Contains(err.Error(), "subject "+topic+"-value: Subject '"+topic+"-value' not found.") {
		t.Errorf("%v", err)
	}
}
