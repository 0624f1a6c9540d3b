package engine

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// probeTimeout bounds what one component may take to ask the outside.
const probeTimeout = 30 * time.Second

// probe lets every node ask the outside, once a run: what it finds wrong then is
// told by field, before any task is open. After a rollback the tasks find out by
// themselves.
func (g *generation) probe(ctx context.Context) error {
	if g.worker.probed {
		return nil
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, n := range g.pipeline.Nodes {
		key, ok := g.processOf(n)
		if !ok {
			continue
		}
		client := g.worker.pool.get(key).Client()
		group.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, probeTimeout)
			defer cancel()
			r, err := client.Probe(ctx, &pluginv1.ProbeRequest{
				Kind: n.Kind, Component: n.Component, Config: n.Config, SecretPaths: n.SecretPaths, Owner: g.owner(n),
				CommitWithin: durationpb.New(g.pipeline.CommitWithin()),
			})
			switch {
			case status.Code(err) == codes.Unimplemented:
				return nil // a plugin that has nothing to ask
			case err != nil:
				return fmt.Errorf("node %s: probe: %w", n.Name, err)
			}
			for _, f := range r.GetFaults() {
				if f.Warning {
					// `validate --connect` is who shows these.
					g.log.Debug(f.Message, "node", n.Name, "field", f.Path)
					continue
				}
				return &fatalError{fmt.Errorf("node %s: %s: %s", n.Name, f.Path, f.Message)}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	g.worker.probed = true
	return nil
}
