package client

import (
	"context"
	"iter"
	"net/url"
	"slices"
	"strings"

	"github.com/weirstream/weir/host/api"
)

// Tap implements [api.Reader]. In a cluster it asks every host that has tasks of the
// pipeline: each shows what passes on it.
func (c *Client) Tap(ctx context.Context, name string, q api.TapQuery) iter.Seq2[api.TapRecord, error] {
	return func(yield func(api.TapRecord, error) bool) {
		hosts, err := c.hosts(ctx, func(h api.Host) bool {
			return slices.ContainsFunc(h.Tasks, func(t string) bool { return strings.HasPrefix(t, name+"/") })
		})
		if err != nil {
			yield(api.TapRecord{}, err)
			return
		}
		merge(ctx, c, hosts, path(name, "tap")+"?"+tapValues(q).Encode(), yield)
	}
}

func tapValues(q api.TapQuery) url.Values {
	v := url.Values{"mask": q.Mask}
	if q.Node != "" {
		v.Set("node", q.Node)
	}
	if q.Output != "" {
		v.Set("output", q.Output)
	}
	return v
}
