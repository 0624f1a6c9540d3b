package conformance

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/weirstream/weir/conformance/exchange"
	"github.com/weirstream/weir/conformance/rig"
	"github.com/weirstream/weir/conformance/spec"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
	"github.com/weirstream/weir/proto/wire"
)

// carries is what a record keeps on its way through the component's outside; an
// operator has none, and gets everything.
func (t *T) carries() spec.Carries {
	if t.Component.GetKind() == pluginv1.Kind_KIND_OPERATOR || t.entry.Feed == nil && t.entry.Read == nil {
		return spec.Carries{Key: true, Time: true, Headers: true, Null: true, Empty: true, Binary: true}
	}
	return t.entry.Carries
}

// fields are those of a record that are compared.
func (t *T) fields() exchange.Fields { return t.carries().Fields() }

// ordinary is the number of records of an ordinary case.
func (t *T) ordinary() int {
	if n := t.entry.Records.Count; n > 0 {
		return n
	}
	return 200
}

// Records makes n ordinary records, each told apart from all others by its value.
func (t *T) Records(n int) []exchange.Record {
	out := make([]exchange.Record, n)
	for i := range out {
		out[i] = t.record(t.Rand.IntN(120))
	}
	return out
}

// Sized makes n records with values of about that many bytes; smaller where
// conformance.yaml makes the values.
func (t *T) Sized(n, size int) []exchange.Record {
	out := make([]exchange.Record, n)
	for i := range out {
		out[i] = t.record(size)
	}
	return out
}

// record makes the next record, with filling in its value.
func (t *T) record(filling int) exchange.Record {
	t.number++
	n := strconv.Itoa(t.number)
	c, template := t.carries(), t.entry.Records
	r := exchange.Record{Time: wire.NoTime}
	if template.Value != nil {
		r.Value = []byte(strings.ReplaceAll(*template.Value, spec.NumberMark, n))
	} else {
		if m := int(template.MaxSize); m > 0 {
			filling = min(filling, m-16)
		}
		r.Value = append(fmt.Appendf(nil, "r%s ", n), t.text(max(0, filling))...)
	}
	if c.Key {
		switch {
		case template.Key != nil:
			r.Key = []byte(strings.ReplaceAll(*template.Key, spec.NumberMark, n))
		case t.number%10 != 9 || t.Left.GetKeyedState():
			r.Key = fmt.Appendf(nil, "k%d", t.number%17)
		}
	}
	if c.Time {
		r.Time = 1_790_000_000_000_000_000 + int64(t.number)*1_000_001
	}
	if c.Headers {
		for i := range t.number % 3 {
			r.Headers = append(r.Headers, exchange.Header{Name: fmt.Sprintf("h%d", i%2), Value: []byte(n)})
		}
	}
	return r
}

const letters = "abcdefghijklmnopqrstuvwxyz0123456789 -_ äöß€😀"

var alphabet = []rune(letters)

// text is UTF-8 on one line, of at most n bytes and nearly so many.
func (t *T) text(n int) []byte {
	out := make([]byte, 0, n)
	for {
		r := string(alphabet[t.Rand.IntN(len(alphabet))])
		if len(out)+len(r) > n {
			return out
		}
		out = append(out, r...)
	}
}

// Special makes records that are easily got wrong, as far as the component's
// outside carries them. They are told apart by their values too.
func (t *T) Special() []exchange.Record {
	c, template := t.carries(), t.entry.Records
	var out []exchange.Record
	add := func(change func(*exchange.Record)) {
		r := t.record(20)
		change(&r)
		out = append(out, r)
	}
	if template.Value == nil {
		if c.Empty {
			add(func(r *exchange.Record) { r.Value = []byte{} })
		}
		if c.Null {
			add(func(r *exchange.Record) { r.Value = nil })
		}
		if c.Binary {
			add(func(r *exchange.Record) { r.Value = []byte{0, 0xff, 0xfe, '\n', 0, 0x80} })
			add(func(r *exchange.Record) { r.Value = []byte("two\nlines\r\n") })
			every := make([]byte, 256)
			for i := range every {
				every[i] = byte(i)
			}
			add(func(r *exchange.Record) { r.Value = every })
		}
		add(func(r *exchange.Record) { r.Value = []byte(`quotes " ' \ and <tags> & more, ünïcödé  😀`) })
		add(func(r *exchange.Record) { r.Value = []byte("  blanks around ") })
	}
	if c.Key && template.Key == nil {
		if !t.Left.GetKeyedState() {
			add(func(r *exchange.Record) { r.Key = nil })
		}
		add(func(r *exchange.Record) { r.Key = []byte{} })
		if c.Binary {
			add(func(r *exchange.Record) { r.Key = []byte{0xff, 0, '\n'} })
		}
	}
	if c.Time {
		add(func(r *exchange.Record) { r.Time = wire.NoTime })
		add(func(r *exchange.Record) { r.Time = 0 })
		add(func(r *exchange.Record) { r.Time = -1 })
	}
	if c.Headers {
		add(func(r *exchange.Record) { r.Headers = nil })
		add(func(r *exchange.Record) {
			r.Headers = []exchange.Header{{Name: "b", Value: []byte("1")}, {Name: "a", Value: []byte{}}, {Name: "b", Value: []byte("2")}}
		})
		add(func(r *exchange.Record) {
			r.Headers = []exchange.Header{{Name: "null", Value: nil}, {Name: "ünï", Value: []byte("x")}}
		})
		if c.Binary {
			add(func(r *exchange.Record) { r.Headers = []exchange.Header{{Name: "bin", Value: []byte{0xff, 0}}} })
		}
	}
	return out
}

// MaxValue is the largest value that the host passes and the outside takes.
func (t *T) MaxValue() int {
	if m := t.entry.Records.MaxSize; m > 0 {
		return int(m)
	}
	return rig.MaxRecordBytes - 64<<10 // key, headers and the layout take room too
}

// plain drops where records come from.
func plain(all []rig.Received) []exchange.Record {
	out := make([]exchange.Record, len(all))
	for i, r := range all {
		out[i] = r.Record
	}
	return out
}
