package sdk_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/weirstream/weir/sdk"
	"github.com/weirstream/weir/sdk/sdktest"
)

// PagesConfig is what a pipeline file may set.
type PagesConfig struct {
	URL   string     `weir:"url,required" doc:"Where the first page is."`
	Token sdk.Secret `weir:"token" doc:"Sent as a bearer token."`
}

// Pages reads an API page by page. It has one split, since pages come one after
// the other.
type Pages struct{ cfg *PagesConfig }

// PagePosition is where to go on: kept in checkpoints, readable by people.
type PagePosition struct {
	Next int   `json:"next"`
	Read int64 `json:"read"`
}

func (p *Pages) Splits(context.Context) ([]sdk.Split[struct{}], bool, error) {
	return []sdk.Split[struct{}]{{ID: "pages"}}, false, nil
}

func (p *Pages) Open(_ context.Context, _ sdk.Split[struct{}], from *PagePosition) (sdk.Reader[PagePosition], error) {
	r := &pageReader{cfg: p.cfg}
	if from != nil {
		r.at = *from
	}
	return r, nil
}

func (p *Pages) Close() error { return nil }

type pageReader struct {
	cfg *PagesConfig
	at  PagePosition
}

// Read reads one page. What it appends counts once it has returned the position
// behind it, so nothing is read twice or left out, whenever the task restarts.
func (r *pageReader) Read(ctx context.Context, out *sdk.Collector) (PagePosition, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s?page=%d", r.cfg.URL, r.at.Next), nil)
	if err != nil {
		return r.at, sdk.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+r.cfg.Token.Reveal())
	response, err := http.DefaultClient.Do(req)
	if err != nil {
		return r.at, sdk.Retry(err, 0)
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized:
		return r.at, sdk.Fatal(fmt.Errorf("%s: the token is refused", r.cfg.URL))
	default:
		return r.at, sdk.Retry(fmt.Errorf("%s: %s", r.cfg.URL, response.Status), time.Millisecond)
	}
	var page struct {
		Items []string `json:"items"`
		Last  bool     `json:"last"`
	}
	if err := json.NewDecoder(response.Body).Decode(&page); err != nil {
		return r.at, sdk.Retry(err, 0)
	}
	for _, item := range page.Items {
		out.Append(sdk.Row{Value: []byte(item), Origin: r.at.Read})
		r.at.Read++
	}
	r.at.Next++
	if page.Last {
		return r.at, io.EOF
	}
	return r.at, nil
}

func (r *pageReader) Close() error { return nil }

// A source that reads a paged API, and a test that resumes it behind each page.
func ExampleNewSource() {
	pages := sdk.NewSource("pages", "Reads an API page by page.",
		func(_ context.Context, cfg *PagesConfig, _ *sdk.Task) (*Pages, error) { return &Pages{cfg}, nil },
		sdk.Bounded())

	busy := true
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if busy = !busy; !busy {
			w.WriteHeader(http.StatusServiceUnavailable) // the call is repeated
			return
		}
		switch r.FormValue("page") {
		case "0":
			fmt.Fprint(w, `{"items": ["a", "b"]}`)
		case "1":
			fmt.Fprint(w, `{"items": ["c"], "last": true}`)
		}
	}))
	defer api.Close()

	inTest(func(t testing.TB) {
		src := sdktest.NewSource(t, pages, map[string]any{"url": api.URL, "token": "hunter2"})
		for _, r := range src.ReadAll() {
			fmt.Println(r)
		}
		src.CheckResume()
	})
	// Output:
	// {"<null>": "a" from pages#0}
	// {"<null>": "b" from pages#1}
	// {"<null>": "c" from pages#2}
}
