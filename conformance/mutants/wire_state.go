package main

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/proto/keygroup"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

const keyGroup = pluginv1.Entry_KIND_KEY_GROUP

// restoredState is what becomes of a part that is restored.
func restoredState(entries []*pluginv1.Entry) []*pluginv1.Entry {
	switch fault {
	case "half-of-the-groups-are-restored":
		return slices.DeleteFunc(entries, func(e *pluginv1.Entry) bool { return e.Kind == keyGroup && e.KeyGroup%2 == 1 })
	case "timers-are-not-restored":
		return slices.DeleteFunc(entries, func(e *pluginv1.Entry) bool { return e.Kind == keyGroup && e.Id == keygroup.TimersID })
	case "the-watermark-is-not-restored":
		for _, e := range entries {
			if e.Kind != keyGroup || e.Id != keygroup.TimersID {
				continue
			}
			h, rows, err := keygroup.CutHeader(e.GetPayload())
			if err != nil {
				crash()
			}
			h.Watermark = nil
			e.Content = &pluginv1.Entry_Payload{Payload: append(keygroup.AppendHeader(nil, h), rows...)}
		}
	}
	return entries
}

// groups is what a broken task does to the key groups of its snapshots.
type groups struct {
	owned *pluginv1.KeyGroups // nil where there are none
	of    uint32

	checkpoint uint64 // of the part before this one
	before     map[string]bool
	now        map[string]bool
}

// snapshot is what becomes of a part of a snapshot.
func (g *groups) snapshot(p *pluginv1.SnapshotPart) []*pluginv1.Entry {
	if g.owned == nil {
		return p.Entries
	}
	first, n := g.owned.First, g.owned.Last-g.owned.First+1
	switch fault {
	case "groups-are-one-off":
		for _, e := range p.Entries {
			if e.Kind == keyGroup {
				e.KeyGroup = first + (e.KeyGroup-first+1)%n
			}
		}
	case "snapshots-hold-groups-of-others":
		i := slices.IndexFunc(p.Entries, func(e *pluginv1.Entry) bool { return e.Kind == keyGroup && !e.More })
		if i < 0 || n == g.of {
			break
		}
		// Another's, and empty: it does no harm where it is restored.
		e := proto.CloneOf(p.Entries[i])
		h, _, err := keygroup.CutHeader(e.GetPayload())
		if err != nil {
			break
		}
		e.KeyGroup, e.Content = (g.owned.Last+1)%g.of, &pluginv1.Entry_Payload{Payload: keygroup.AppendHeader(nil, h)}
		return append(p.Entries, e)
	case "snapshots-hold-changes-alone":
		if p.Checkpoint != g.checkpoint {
			g.checkpoint, g.before, g.now = p.Checkpoint, g.now, map[string]bool{}
		}
		return slices.DeleteFunc(p.Entries, func(e *pluginv1.Entry) bool {
			name := fmt.Sprintf("%s %d %s", e.Id, e.KeyGroup, e.GetPayload())
			g.now[name] = true
			return e.Kind == keyGroup && g.before[name]
		})
	}
	return p.Entries
}
