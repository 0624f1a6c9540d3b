package client

import (
	"context"
	"iter"
	"net/url"
	"slices"
	"strconv"

	"github.com/weirstream/weir/host/api"
)

// Logs implements [api.Reader]. In a cluster it asks every host: what they keep comes
// in the order of time, unless the query follows, which takes it as it comes.
func (c *Client) Logs(ctx context.Context, name string, q api.LogQuery) iter.Seq2[api.LogRecord, error] {
	return func(yield func(api.LogRecord, error) bool) {
		hosts, err := c.hosts(ctx, func(api.Host) bool { return true })
		if err != nil {
			yield(api.LogRecord{}, err)
			return
		}
		if len(hosts) == 1 || q.Follow {
			merge(ctx, c, hosts, logPath(name, q), yield)
			return
		}
		sorted(ctx, c, hosts, name, q, yield)
	}
}

// sorted yields what all hosts keep, in the order of time.
func sorted(ctx context.Context, c *Client, hosts []*Client, name string, q api.LogQuery, yield func(api.LogRecord, error) bool) {
	var kept []api.LogRecord
	var failed error
	merge(ctx, c, hosts, logPath(name, q), func(r api.LogRecord, err error) bool {
		kept, failed = append(kept, r), err
		return err == nil
	})
	if failed != nil {
		yield(api.LogRecord{}, failed)
		return
	}
	slices.SortStableFunc(kept, func(a, b api.LogRecord) int { return a.Time.Compare(b.Time) })
	if q.Tail >= 0 && len(kept) > q.Tail {
		kept = kept[len(kept)-q.Tail:]
	}
	for _, r := range kept {
		if !yield(r, nil) {
			return
		}
	}
}

func logPath(name string, q api.LogQuery) string {
	v := url.Values{"tail": {strconv.Itoa(q.Tail)}}
	if q.Node != "" {
		v.Set("node", q.Node)
	}
	if q.Level != "" {
		v.Set("level", q.Level)
	}
	if q.Follow {
		v.Set("follow", "true")
	}
	return path(name, "logs") + "?" + v.Encode()
}
