package format

import (
	"context"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weirstream/weir/internal/testserver/registrytest"
	"github.com/weirstream/weir/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const order = `{"type":"record","name":"shop.Order","fields":[{"name":"id","type":"long"},{"name":"note","type":["null","string"],"default":null}]}`

// configured is a configuration of a registry, as its defaults make it.
func configured(url string) *Registry {
	return &Registry{URL: url, Register: true, Timeout: 10 * time.Second, Cache: 1000}
}

func opened(t *testing.T, r *Registry) *Schemas {
	t.Helper()
	if faults := r.Validate(); len(faults) > 0 {
		t.Fatal(faults)
	}
	s, err := r.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// The whole way: what is written names a schema that is registered, and is read by
// it. The registry is asked once for each.
func TestValuesNameTheirSchema(t *testing.T) {
	server := registrytest.Start(t)
	server.Register("other", registrytest.Schema{Schema: `"int"`})
	s := opened(t, configured(server.URL))
	e := s.Encoder("orders/eu-value", parsed(t, order), false)
	var first []byte
	for i := range 3 {
		value := fmt.Sprintf(`{"id":%d}`, i)
		b, err := e.Encode(t.Context(), nil, []byte(value))
		if err != nil {
			t.Fatal(err)
		}
		if want := "0000000002" + hex.EncodeToString([]byte{byte(2 * i), 0}); hex.EncodeToString(b) != want {
			t.Errorf("%s is %x, want %s", value, b, want)
		}
		first = b
	}
	if got := server.Requests("POST /subjects/orders/eu-value/versions"); got != 1 {
		t.Errorf("registered %d times", got)
	}
	other := opened(t, configured(server.URL))
	d := other.Decoder(0)
	for range 3 {
		got, err := d.Decode(t.Context(), nil, first)
		if err != nil || string(got) != `{"id":2,"note":null}` {
			t.Errorf("%s, %v", got, err)
		}
		// Another schema in between, and back.
		if got, err := d.Decode(t.Context(), nil, []byte{0, 0, 0, 0, 1, 14}); err != nil || string(got) != "7" {
			t.Errorf("%s, %v", got, err)
		}
	}
	if got := server.Requests("GET /schemas/ids/2"); got != 1 {
		t.Errorf("asked %d times", got)
	}
}

// Without a schema the subject's newest is written with; with register: false one
// that the subject does not have is an error.
func TestSubjects(t *testing.T) {
	server := registrytest.Start(t)
	server.Register("t-value", registrytest.Schema{Schema: `"string"`})
	server.Register("t-value", registrytest.Schema{Schema: order})
	config := configured(server.URL)
	config.Register = false
	s := opened(t, config)

	if b, err := s.Encoder("t-value", nil, false).Encode(t.Context(), nil, []byte(`{"id":1,"note":"x"}`)); err != nil || hex.EncodeToString(b) != "000000000202020278" {
		t.Errorf("%x, %v", b, err)
	}
	// Another text of the same schema.
	if b, err := s.Encoder("t-value", parsed(t, strings.ReplaceAll(order, ",", " ,\n")), false).Encode(t.Context(), nil, []byte(`{"id":1}`)); err != nil || hex.EncodeToString(b) != "00000000020200" {
		t.Errorf("%x, %v", b, err)
	}
	for want, e := range map[string]*SubjectEncoder{
		"subject none: Subject 'none' not found.":                                               s.Encoder("none", nil, false),
		"the subject does not have the schema, and register is false: Subject 'none' not found": s.Encoder("none", parsed(t, order), false),
		"the subject does not have the schema, and register is false: Schema not found":         s.Encoder("t-value", parsed(t, `"int"`), false),
	} {
		_, err := e.Encode(t.Context(), nil, []byte(`1`))
		if err == nil || !strings.Contains(err.Error(), want) || class(err) != "fatal" {
			t.Errorf("%v (%s), want %s", err, class(err), want)
		}
	}
	config.Register = true
	server.Fault(registrytest.Refuse(409, 409, "Schema being registered is incompatible"))
	if err := s.Encoder("t-value", parsed(t, `"int"`), false).Ready(t.Context()); class(err) != "fatal" || !strings.Contains(err.Error(), "the schema does not go with those before it: Schema being registered is incompatible") {
		t.Errorf("%v", err)
	}
}

// class is what an error makes of a task.
func class(err error) string {
	switch {
	case err == nil:
		return "none"
	case !IsOutside(err):
		return "record"
	case isRetry(err):
		return "retry"
	}
	return "fatal"
}

func isRetry(err error) bool {
	// The SDK's classes have no names: Fatal wins over Retry, so that only one of
	// them changes when it is marked again.
	var o *outsideError
	return errors.As(err, &o) && fmt.Sprintf("%T", o.err) == fmt.Sprintf("%T", sdk.Retry(err, 0))
}

// A value that names no schema, or one that the registry does not know, is a failed
// record. A registry that is not there is not the record's fault.
func TestWhoseFaultItIs(t *testing.T) {
	server := registrytest.Start(t)
	proto := server.Register("p", registrytest.Schema{Schema: `{}`, Type: "PROTOBUF"})
	broken := server.Register("b", registrytest.Schema{Schema: `{"type":"lnog"}`})
	s := opened(t, configured(server.URL))
	d := s.Decoder(0)
	wire := func(id int) []byte { return []byte{0, 0, 0, 0, byte(id), 0} }
	for _, c := range []struct {
		in         []byte
		fault      http.HandlerFunc
		class, msg string
	}{
		{in: []byte("{}"), class: "record", msg: "the value has 2 bytes, too few for the id of a schema"},
		{in: []byte("hello"), class: "record", msg: "the value begins with byte 104 and not with 0"},
		{in: wire(77), class: "record", msg: "the schema registry does not know schema 77: Schema 77 not found"},
		{in: wire(proto), class: "record", msg: "is one of PROTOBUF and not of Avro"},
		{in: wire(broken), class: "record", msg: `unknown primitive "lnog"`},
		{in: wire(90), fault: registrytest.Refuse(500, 50001, "Error in the backend datastore"), class: "retry", msg: "status 500: Error in the backend datastore"},
		{in: wire(90), fault: registrytest.Refuse(429, 42901, "Too many requests"), class: "retry", msg: "status 429"},
		{in: wire(90), fault: registrytest.Refuse(403, 40301, "Forbidden"), class: "fatal", msg: "it does not let this user in (403)"},
		{in: wire(90), fault: http.NotFound, class: "fatal", msg: "there is no schema registry at that path (404)"},
		{in: wire(90), fault: func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, class: "fatal", msg: "answers something else than a schema registry"},
		{in: wire(90), fault: func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }, class: "retry", msg: "EOF"},
	} {
		server.Fault(c.fault)
		_, err := d.Decode(t.Context(), nil, c.in)
		if class(err) != c.class || !strings.Contains(err.Error(), c.msg) {
			t.Errorf("%x: %v (%s), want %s: %s", c.in, err, class(err), c.class, c.msg)
		}
	}
	server.Fault(nil)
	// What the registry does not know it is not asked for again at once.
	before := server.Requests("GET /schemas/ids/77")
	for range 3 {
		if _, err := d.Decode(t.Context(), nil, wire(77)); class(err) != "record" {
			t.Error(err)
		}
	}
	if now := server.Requests("GET /schemas/ids/77"); now != before {
		t.Errorf("asked again: %d, %d", before, now)
	}
	s.known[77].until = time.Now().Add(-time.Second)
	if _, err := d.Decode(t.Context(), nil, wire(77)); class(err) != "record" || server.Requests("GET /schemas/ids/77") != before+1 {
		t.Errorf("not asked again when the time has come: %v", err)
	}
}

// A registry that is down, or does not answer, costs no longer than the timeout.
func TestARegistryThatDoesNotAnswer(t *testing.T) {
	server := registrytest.Start(t)
	released := make(chan struct{})
	server.Fault(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-released:
		}
	})
	config := configured(server.URL)
	config.Timeout = 100 * time.Millisecond
	s := opened(t, config)
	if _, err := s.Decoder(0).Decode(t.Context(), nil, []byte{0, 0, 0, 0, 1, 0}); class(err) != "retry" || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v (%s)", err, class(err))
	}
	config.Timeout = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Decoder(0).Decode(ctx, nil, []byte{0, 0, 0, 0, 1, 0}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	close(released)
	// A port that nobody listens on; one that is there answers in its place.
	server.Fault(nil)
	server.Register("x", registrytest.Schema{Schema: `"int"`})
	down := opened(t, configured("http://127.0.0.1:1"))
	if err := down.Check(t.Context()); class(err) != "retry" || !strings.Contains(err.Error(), "http://127.0.0.1:1") {
		t.Errorf("%v (%s)", err, class(err))
	}
	both := opened(t, configured("http://127.0.0.1:1, "+server.URL))
	if got, err := both.Decoder(0).Decode(t.Context(), nil, []byte{0, 0, 0, 0, 1, 2}); err != nil || string(got) != "1" {
		t.Errorf("%s, %v", got, err)
	}
}

func TestASchemaThatRefersToOthers(t *testing.T) {
	server := registrytest.Start(t)
	server.Register("money", registrytest.Schema{Schema: `{"type":"record","name":"shop.Money","fields":[{"name":"amount","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2},"default":"\u0000"}]}`})
	server.Register("line", registrytest.Schema{
		Schema:     `{"type":"record","name":"shop.Line","fields":[{"name":"price","type":"Money"}]}`,
		References: []registrytest.Reference{{Name: "shop.Money", Subject: "money", Version: 1}},
	})
	id := server.Register("order", registrytest.Schema{
		Schema: `{"type":"record","name":"shop.Order","fields":[{"name":"lines","type":{"type":"array","items":"Line"}},{"name":"total","type":"shop.Money","default":{"amount":"\u0001"}}]}`,
		References: []registrytest.Reference{
			{Name: "shop.Line", Subject: "line", Version: 1}, {Name: "shop.Money", Subject: "money", Version: 1},
		},
	})
	s := opened(t, configured(server.URL))
	e := s.Encoder("order", nil, false)
	b, err := e.Encode(t.Context(), nil, []byte(`{"lines":[{"price":{"amount":1.5}},{"price":{}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Decoder(0).Decode(t.Context(), nil, b)
	if want := `{"lines":[{"price":{"amount":1.50}},{"price":{"amount":0.00}}],"total":{"amount":0.01}}`; err != nil || string(got) != want || b[4] != byte(id) {
		t.Errorf("%x is %s (%v), want %s", b, got, err, want)
	}
	missing := server.Register("missing", registrytest.Schema{Schema: `"X"`, References: []registrytest.Reference{{Name: "X", Subject: "x", Version: 9}}})
	if _, err := s.Decoder(0).Decode(t.Context(), nil, []byte{0, 0, 0, 0, byte(missing), 0}); class(err) != "record" || !strings.Contains(err.Error(), "version 9 of subject x, which it refers to: Subject 'x' not found.") {
		t.Errorf("%v", err)
	}
}

func TestTheCacheIsBounded(t *testing.T) {
	server := registrytest.Start(t)
	for i := range 10 {
		server.Register("s", registrytest.Schema{Schema: fmt.Sprintf(`{"type":"fixed","name":"F","size":%d}`, i+1)})
	}
	config := configured(server.URL)
	config.Cache = 3
	s := opened(t, config)
	for id := range 10 {
		if _, err := s.byID(t.Context(), uint32(id+1)); err != nil {
			t.Fatal(err)
		}
		if len(s.known) > 3 {
			t.Fatalf("%d schemas are kept", len(s.known))
		}
	}
}

func TestWhoMayAsk(t *testing.T) {
	server := registrytest.Start(t)
	server.Require("weir", "pass:word")
	config := configured(server.URL)
	if err := opened(t, config).Check(t.Context()); class(err) != "fatal" || !strings.Contains(err.Error(), "(401)") {
		t.Errorf("without a user: %v", err)
	}
	config.Username, config.Password = "weir", sdk.NewSecret("wrong-one")
	if err := opened(t, config).Check(t.Context()); class(err) != "fatal" || strings.Contains(err.Error(), "wrong-one") {
		t.Errorf("a wrong password: %v", err)
	}
	config.Password = sdk.NewSecret("pass:word")
	if err := opened(t, config).Check(t.Context()); err != nil {
		t.Errorf("the right one: %v", err)
	}
}

func TestRegistryOverTLS(t *testing.T) {
	server, certificate := registrytest.StartTLS(t)
	server.Fault(nil)
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}), 0o644); err != nil {
		t.Fatal(err)
	}
	config := configured(server.URL)
	if err := opened(t, config).Check(t.Context()); class(err) != "fatal" || !strings.Contains(err.Error(), "certificate signed by unknown authority") {
		t.Errorf("an unknown authority: %v", err)
	}
	config.CAFile = file
	if err := opened(t, config).Check(t.Context()); err != nil {
		t.Errorf("a known one: %v", err)
	}
	config.ServerName = "elsewhere.test"
	if err := opened(t, config).Check(t.Context()); class(err) != "fatal" || !strings.Contains(err.Error(), "elsewhere.test") {
		t.Errorf("a certificate of another name: %v", err)
	}
	config.CAFile = file + "x"
	if _, err := config.Open(); err == nil || !strings.Contains(err.Error(), "ca_file: ") {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestFaultsInRegistry(t *testing.T) {
	for want, r := range map[string]Registry{
		"url: is no URL such as http://localhost:8081":                                   {URL: "localhost:8081"},
		"url: holds a user: set username and password instead, which no message repeats": {URL: "http://u:p@localhost"},
		"username: username and password go together":                                    {URL: "http://h", Username: "u"},
		"token: excludes username and password":                                          {URL: "http://h", Username: "u", Password: sdk.NewSecret("p"), Token: sdk.NewSecret("t")},
		"cert_file: cert_file and key_file go together":                                  {URL: "https://h", CertFile: "c"},
		"ca_file: has no effect: the url does not begin with https":                      {URL: "http://h", CAFile: "c"},
	} {
		if faults := r.Validate(); len(faults) != 1 || faults[0].Error() != want {
			t.Errorf("%+v: %v, want %s", r, faults, want)
		}
	}
}
