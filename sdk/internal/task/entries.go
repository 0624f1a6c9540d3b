package task

import (
	"errors"
	"fmt"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// cutEntry divides an entry whose payload is above partBytes into pieces.
func cutEntry(e *pluginv1.Entry) []*pluginv1.Entry {
	payload := e.GetPayload()
	if len(payload) <= partBytes {
		return []*pluginv1.Entry{e}
	}
	var out []*pluginv1.Entry
	for len(payload) > 0 {
		n := min(partBytes, len(payload))
		out = append(out, &pluginv1.Entry{
			Kind: e.Kind, Component: e.Component, Id: e.Id, KeyGroup: e.KeyGroup, Union: e.Union, Checkpoint: e.Checkpoint,
			Content: &pluginv1.Entry_Payload{Payload: payload[:n:n]},
			More:    n < len(payload),
		})
		payload = payload[n:]
	}
	return out
}

// joiner puts entries that came in pieces together again.
type joiner struct {
	entries []*pluginv1.Entry
	open    bool // the last entry goes on
}

func (j *joiner) add(pieces ...*pluginv1.Entry) error {
	for _, e := range pieces {
		if e.GetKind() == pluginv1.Entry_KIND_UNSPECIFIED {
			return errors.New("an entry without a kind")
		}
		if e.GetSameAs() != nil {
			return fmt.Errorf("%s: a reference to checkpoint %d instead of a payload", describeEntry(e), e.GetSameAs().GetCheckpoint())
		}
		if !j.open {
			j.entries = append(j.entries, e)
		} else {
			last := j.entries[len(j.entries)-1]
			if last.Kind != e.Kind || last.Component != e.Component || last.Id != e.Id || last.KeyGroup != e.KeyGroup {
				return fmt.Errorf("%s goes on, but is followed by %s", describeEntry(last), describeEntry(e))
			}
			last.Content = &pluginv1.Entry_Payload{Payload: append(last.GetPayload(), e.GetPayload()...)}
			last.More = e.More
		}
		j.open = e.More
	}
	return nil
}

// end returns the whole entries.
func (j *joiner) end() ([]*pluginv1.Entry, error) {
	if j.open {
		return nil, fmt.Errorf("%s goes on, but nothing follows", describeEntry(j.entries[len(j.entries)-1]))
	}
	return j.entries, nil
}

func describeEntry(e *pluginv1.Entry) string {
	return fmt.Sprintf("entry %s %q of component %d", e.Kind, e.Id, e.Component)
}

func payload(b []byte) *pluginv1.Entry_Payload { return &pluginv1.Entry_Payload{Payload: b} }
