package checkpoint_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/weirstream/weir/checkpoint"
	"github.com/weirstream/weir/checkpoint/storage"
)

func TestTheNewestRecordsAreRetained(t *testing.T) {
	d := newDesk(t)
	for n := 1; n <= 5; n++ {
		d.complete(nil)
		d.must(d.Retain(t.Context(), d.st, 3))
		if want := min(n, 3) * 2; d.objects() != want { // a manifest and an object each
			t.Errorf("after %d: %d objects, want %d", n, d.objects(), want)
		}
	}
	if got := d.numbers(); got != "5 4 3" {
		t.Errorf("retained: %s", got)
	}
	d.must(d.Retain(t.Context(), d.st, 0)) // the newest always
	if got := d.numbers(); got != "5" {
		t.Errorf("retained: %s", got)
	}
}

func TestARecordStaysUntilItsSavepointIsStored(t *testing.T) {
	d := newDesk(t)
	r := d.complete(func(r *checkpoint.Record) { r.Savepoint = "s" }, "f")
	d.complete(nil)
	d.must(d.Retain(t.Context(), d.st, 1))
	if got := d.numbers(); got != "2 1" || d.load().Unstored()["s"] != 1 {
		t.Fatalf("retained: %s, %v", got, d.load().Unstored())
	}
	for range 2 {
		d.must(d.StoreSavepoint(t.Context(), d.st, "s", r.N))
	}
	d.must(d.Retain(t.Context(), d.st, 1))
	h := d.load()
	if got := d.numbers(); got != "2" || len(h.Unstored()) != 0 {
		t.Fatalf("retained: %s, %v", got, h.Unstored())
	}
	m, err := checkpoint.Verify(t.Context(), d.st, h.Savepoints[0])
	d.must(err)
	if len(m.Committables(0)) != 0 || h.Savepoints[0].Committables != 0 || len(m.Objects()) != 1 {
		t.Errorf("the savepoint: %+v", m)
	}
	if err := d.StoreSavepoint(t.Context(), d.st, "s", 2); !errors.Is(err, checkpoint.ErrSavepointExists) {
		t.Errorf("its name for another: %v", err)
	}
	for range 2 {
		d.must(d.DeleteSavepoint(t.Context(), d.st, "s"))
	}
	if d.objects() != 2 {
		t.Errorf("%d objects are left", d.objects())
	}
}

func TestASavepointIsNamedByTheEpochThatStoresIt(t *testing.T) {
	d := newDesk(t)
	r := d.complete(func(r *checkpoint.Record) { r.Savepoint = "s" })
	d.begin()
	d.must(d.StoreSavepoint(t.Context(), d.st, "s", r.N))
	// A leader of an older epoch collects below that epoch alone, so it cannot take
	// the manifest away before the savepoint's record names it.
	if name, want := d.load().Savepoints[0].Manifest.Name, d.history.Lineage.UID+"/manifest/1-2-"; !strings.HasPrefix(name, want) {
		t.Errorf("it is %s, not %s...", name, want)
	}
}

func TestNothingIsDeletedWhileARetainedManifestCannotBeRead(t *testing.T) {
	d := newDesk(t)
	d.complete(nil)
	bad := d.complete(nil)
	d.complete(nil)
	d.damage(bad, "manifest gone")
	before := d.objects()
	err := d.Retain(t.Context(), d.st, 2)
	if err == nil || !strings.Contains(err.Error(), "checkpoint 2 cannot be read") || d.objects() != before {
		t.Errorf("got %v, %d of %d objects", err, d.objects(), before)
	}
	// Once it is abandoned it holds nothing up any more.
	d.begin()
	c, err := d.choose(checkpoint.RestoreOptions{})
	d.must(err)
	d.must(d.Adopt(t.Context(), 2, c))
	d.must(d.Collect(t.Context(), d.st))
	if d.objects() != 2 {
		t.Errorf("%d objects are left", d.objects())
	}
}

func TestCollectSparesTheCurrentEpochAndWhatIsNamed(t *testing.T) {
	d := newDesk(t)
	d.complete(nil)
	uid := d.history.Lineage.UID
	put := func(name string) string {
		t.Helper()
		_, err := d.st.Put(t.Context(), name, []byte("x"))
		d.must(err)
		return name
	}
	d.begin()
	gone := []string{
		put(uid + "/2/1/src/0/old"), put(uid + "/2/1/ack/old"), put(uid + "/manifest/2-1-old"), put(uid + "/manifest/2-1-half.partial"),
	}
	stay := []string{put(uid + "/3/2/src/0/new"), put(uid + "/manifest/3-2-new"), put("other/1/1/src/0/x"), put(uid + "/strange")}
	d.must(d.Collect(t.Context(), d.st))
	there := map[string]bool{}
	infos, err := d.st.List(t.Context(), "")
	d.must(err)
	for _, i := range infos {
		there[i.Name] = true
	}
	for _, name := range gone {
		if there[name] {
			t.Errorf("%s is left", name)
		}
	}
	for _, name := range stay {
		if !there[name] {
			t.Errorf("%s is gone", name)
		}
	}
	if len(there) != len(stay)+2 {
		t.Errorf("%d objects", len(there))
	}
}

func TestAFormerUIDIsForgottenOnceItIsEmpty(t *testing.T) {
	d := newDesk(t)
	d.complete(nil)
	_, err := d.Fresh(t.Context(), "")
	d.must(err)
	d.begin()
	if len(d.history.Lineage.Former) != 1 {
		t.Fatalf("former: %v", d.history.Lineage.Former)
	}
	for want := 1; want >= 0; want-- { // the first time there is still something
		d.must(d.Collect(t.Context(), d.st))
		if got := d.load().Lineage.Former; len(got) > want {
			t.Errorf("former: %v", got)
		}
	}
	if d.objects() != 0 {
		t.Errorf("%d objects are left", d.objects())
	}
}

func TestTheCatalogShowsWhatIsStored(t *testing.T) {
	d := newDesk(t)
	d.complete(nil, "f")
	d.must(d.SaveCommitted(t.Context(), 1))
	r := d.complete(func(r *checkpoint.Record) { r.Savepoint = "s" }, "g", "h")
	d.must(d.StoreSavepoint(t.Context(), d.st, "s", r.N))

	var lines []string
	for _, s := range d.load().Summaries() {
		lines = append(lines, fmt.Sprintf("%d %s %s %v %d committed=%v", s.N, s.Savepoint, s.State, s.Took, s.Committables, s.Committed))
		if s.Bytes == 0 || s.CompletedAt.IsZero() {
			t.Errorf("%+v", s)
		}
	}
	want := "2 s running 1s 2 committed=false\n1  running 1s 1 committed=true\n2 s running 1s 0 committed=true"
	if got := strings.Join(lines, "\n"); got != want {
		t.Errorf("listed:\n%s", got)
	}

	shown, err := checkpoint.Describe(t.Context(), d.st, r)
	d.must(err)
	text, err := json.Marshal(shown.Nodes)
	d.must(err)
	for _, want := range []string{
		`"kind":"committable","id":"g","checkpoint":2,"bytes":3,"value":"g"`,
		`"kind":"split","id":"s"`, `"value":{"Split":0,"Pos":2,`, `"task":"0"`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s is not in %.600s", want, text)
		}
	}
}

func TestVerifyNamesTheDamagedCheckpoint(t *testing.T) {
	d := newDesk(t)
	d.complete(nil)
	d.damage(d.complete(nil), "object changed")
	d.damage(d.complete(nil), "manifest gone")
	verdicts, err := d.VerifyAll(t.Context(), d.st)
	d.must(err)
	for i, want := range []string{"object not found", "object corrupt", "<nil>"} {
		v := verdicts[i]
		if v.N != uint64(3-i) || !strings.Contains(fmt.Sprint(v.Err), want) {
			t.Errorf("checkpoint %d: %v, want %s", v.N, v.Err, want)
		}
	}
	if v := verdicts[2]; v.Objects != 2 {
		t.Errorf("checkpoint 1 has %d objects", v.Objects)
	}
}

func TestVerifyLeavesOutWhatRetentionDropsMeanwhile(t *testing.T) {
	d := newDesk(t)
	first := d.complete(nil)
	d.complete(nil)
	read := d.tree.nodes["pipelines/p/checkpoints/records/1"]
	dropping := &hooked{data: map[string][]byte{}, before: func(name string) {
		if name == first.Manifest.Name && read != nil {
			d.tree.remove("pipelines/p/checkpoints/records/1")
			read = nil
		}
	}}
	infos, err := d.st.List(t.Context(), "")
	d.must(err)
	for _, i := range infos {
		if i.Name != first.Manifest.Name {
			dropping.data[i.Name], err = d.raw(i.Name)
			d.must(err)
		}
	}
	verdicts, err := d.VerifyAll(t.Context(), storage.New(dropping, "test://"))
	d.must(err)
	if read != nil || len(verdicts) != 1 || verdicts[0].N != 2 || verdicts[0].Err != nil {
		t.Errorf("got %+v", verdicts)
	}
}

// raw reads an object whatever its checksum.
func (d *desk) raw(name string) ([]byte, error) {
	for _, r := range d.load().Records {
		m, err := checkpoint.ReadManifest(d.Context(), d.st, r)
		if err != nil {
			return nil, err
		}
		for _, o := range append(m.Objects(), r.Manifest) {
			if o.Name == name {
				return d.st.Get(d.Context(), o)
			}
		}
	}
	return nil, storage.ErrNotFound
}

// hooked is a storage in memory that says before what it reads.
type hooked struct {
	storage.Driver
	data   map[string][]byte
	before func(name string)
}

func (h *hooked) Read(_ context.Context, name string) ([]byte, error) {
	h.before(name)
	if data, ok := h.data[name]; ok {
		return data, nil
	}
	return nil, storage.ErrNotFound
}
