package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/weirstream/weir/host/api"
)

var _ api.Cluster = (*Client)(nil)

// Submit implements [api.Cluster].
func (c *Client) Submit(ctx context.Context, s api.Submission) (out api.Submitted, err error) {
	return out, c.send(ctx, http.MethodPost, path(), s, &out)
}

// Resume implements [api.Cluster].
func (c *Client) Resume(ctx context.Context, name string, r api.ResumeRequest) error {
	return c.send(ctx, http.MethodPost, path(name, "resume"), r, nil)
}

// Delete implements [api.Cluster].
func (c *Client) Delete(ctx context.Context, name string) error {
	r, err := c.do(ctx, http.MethodDelete, path(name), nil)
	if err != nil {
		return err
	}
	return c.decode(r, nil)
}

// Rescale implements [api.Cluster].
func (c *Client) Rescale(ctx context.Context, name string, r api.RescaleRequest) (out api.Submitted, err error) {
	return out, c.send(ctx, http.MethodPost, path(name, "rescale"), r, &out)
}

// Offsets implements [api.Cluster].
func (c *Client) Offsets(ctx context.Context, name, node, checkpoint string) (all []api.Offset, err error) {
	at := path(name, "nodes", node, "offsets")
	if checkpoint != "" {
		at += "?" + url.Values{"checkpoint": {checkpoint}}.Encode()
	}
	r, err := c.do(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, err
	}
	return all, c.decode(r, &all)
}

// SetOffsets implements [api.Cluster].
func (c *Client) SetOffsets(ctx context.Context, name, node string, r api.OffsetsRequest) (out api.OffsetsChanged, err error) {
	return out, c.send(ctx, http.MethodPut, path(name, "nodes", node, "offsets"), r, &out)
}

// Hosts implements [api.Cluster].
func (c *Client) Hosts(ctx context.Context) (all []api.Host, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	r, err := c.do(ctx, http.MethodGet, "/v1/hosts", nil)
	if err != nil {
		return nil, err
	}
	return all, c.decode(r, &all)
}

// Drain implements [api.Cluster].
func (c *Client) Drain(ctx context.Context, host string, r api.DrainRequest) error {
	return c.send(ctx, http.MethodPut, "/v1/hosts/"+url.PathEscape(host)+"/drain", r, nil)
}
