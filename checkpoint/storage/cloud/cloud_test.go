package cloud_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirstream/weir/checkpoint/storage"
	"github.com/weirstream/weir/checkpoint/storage/cloud"
)

// s3 is as much of an object store as storage needs: one bucket, path style.
type s3 struct {
	mu      sync.Mutex
	objects map[string][]byte
}

func (s *s3) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/bucket"), "/")
	data, found := s.objects[key]
	switch {
	case r.Method == http.MethodPut:
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.objects[key] = body
		w.Header().Set("ETag", `"x"`)
	case r.Method == http.MethodGet && key == "":
		s.list(w, r.URL.Query().Get("prefix"))
	case !found:
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, "<Error><Code>NoSuchKey</Code></Error>")
	case r.Method == http.MethodDelete:
		delete(s.objects, key)
		w.WriteHeader(http.StatusNoContent)
	default: // GET and HEAD
		w.Header().Set("ETag", `"x"`)
		http.ServeContent(w, r, "", time.Unix(1_700_000_000, 0), bytes.NewReader(data))
	}
}

func (s *s3) list(w http.ResponseWriter, prefix string) {
	type content struct {
		Key          string
		Size         int
		LastModified string
	}
	var answer struct {
		XMLName  xml.Name `xml:"ListBucketResult"`
		Contents []content
	}
	for _, key := range slices.Sorted(maps.Keys(s.objects)) {
		if strings.HasPrefix(key, prefix) {
			answer.Contents = append(answer.Contents, content{key, len(s.objects[key]), "2026-01-01T00:00:00Z"})
		}
	}
	w.Header().Set("Content-Type", "application/xml")
	_ = xml.NewEncoder(w).Encode(answer)
}

func TestAnObjectStoreKeepsCheckpoints(t *testing.T) {
	bucket := &s3{objects: map[string][]byte{}}
	server := httptest.NewServer(bucket)
	defer server.Close()
	t.Setenv("AWS_ACCESS_KEY_ID", "id")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "hush")
	url := "s3://bucket/some/prefix?region=eu&use_path_style=true&endpoint=" + server.URL
	st, err := storage.Open(t.Context(), url, storage.WithOpener(cloud.Open, cloud.Schemes...))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	if st.String() != "s3://bucket/some/prefix" {
		t.Errorf("shown as %s", st)
	}
	o, err := st.Put(t.Context(), "u/1/x", []byte("state"))
	if err != nil {
		t.Fatal(err)
	}
	if string(bucket.objects["some/prefix/u/1/x"]) != "state" {
		t.Errorf("stored: %q", bucket.objects)
	}
	if data, err := st.Get(t.Context(), o); err != nil || string(data) != "state" {
		t.Errorf("got %q, %v", data, err)
	}
	if infos, err := st.List(t.Context(), "u/"); err != nil || len(infos) != 1 || infos[0].Name != "u/1/x" || infos[0].Size != 5 {
		t.Errorf("listed %v, %v", infos, err)
	}
	bucket.objects["some/prefix/u/1/x"] = []byte("sta")
	if _, err := st.Get(t.Context(), o); !errors.Is(err, storage.ErrCorrupt) || !strings.Contains(err.Error(), "3 of 5 bytes") {
		t.Errorf("cut short: %v", err)
	}
	for range 2 {
		if err := st.Delete(t.Context(), "u/1/x"); err != nil {
			t.Error(err)
		}
	}
	if _, err := st.Get(t.Context(), o); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("deleted: %v", err)
	}
}

func TestEachSchemeOpens(t *testing.T) {
	t.Setenv("AZURE_STORAGE_ACCOUNT", "account")
	t.Setenv("AZURE_STORAGE_KEY", "aHVzaA==")
	for _, url := range []string{"s3://bucket?region=eu", "gs://bucket?anonymous=true", "azblob://container"} {
		st, err := storage.Open(t.Context(), url, storage.WithOpener(cloud.Open, cloud.Schemes...))
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		if err := st.Close(); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}
