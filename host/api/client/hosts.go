package client

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"

	"github.com/weirstream/weir/host/api"
)

// hosts are clients of those hosts of a cluster that are picked; c itself where it is
// no cluster, and where none is.
func (c *Client) hosts(ctx context.Context, pick func(api.Host) bool) ([]*Client, error) {
	hosts, err := c.Hosts(ctx)
	var p *api.Problem
	if errors.As(err, &p) && p.Code == api.CodeNotACluster {
		return []*Client{c}, nil
	}
	if err != nil {
		return nil, err
	}
	var all []*Client
	for _, h := range hosts {
		if h.API != "" && pick(h) {
			all = append(all, c.at(reachable(h.API, h.Address)))
		}
	}
	if len(all) == 0 {
		all = []*Client{c}
	}
	return all, nil
}

// merge yields what several hosts answer with, line by line as it comes, until all
// have ended. It closes those of them that are not c.
func merge[T any](ctx context.Context, c *Client, hosts []*Client, path string, yield func(T, error) bool) {
	ctx, cancel := context.WithCancel(ctx)
	type line struct {
		value T
		err   error
	}
	all := make(chan line)
	var group sync.WaitGroup
	for _, host := range hosts {
		group.Go(func() {
			for v, err := range lines[T](ctx, host, path) {
				select {
				case all <- line{v, err}:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	defer func() {
		cancel()
		group.Wait()
		for _, host := range hosts {
			if host != c {
				host.Close()
			}
		}
	}()
	ended := make(chan struct{})
	go func() {
		group.Wait()
		close(ended)
	}()
	for {
		select {
		case l := <-all:
			if !yield(l.value, l.err) || l.err != nil {
				return
			}
		case <-ended:
			return
		}
	}
}

// at is a client of another server that is asked in the same way.
func (c *Client) at(address string) *Client {
	other := *c
	u, err := url.Parse(c.base)
	if err != nil {
		return c
	}
	u.Host = address
	other.server, other.base = address, u.String()
	config := c.http.Transport.(*http.Transport).TLSClientConfig.Clone()
	other.http = &http.Client{Transport: transportTo(net.Dialer{Timeout: connectTimeout}, config)}
	return &other
}

// reachable is where an API listens, by the address at which other hosts reach the
// host where it listens on all of them.
func reachable(api, data string) string {
	at, err := netip.ParseAddrPort(api)
	if err != nil || !at.Addr().IsUnspecified() {
		return api
	}
	host, _, err := net.SplitHostPort(data)
	if err != nil {
		return api
	}
	_, port, _ := net.SplitHostPort(api)
	return net.JoinHostPort(host, port)
}
