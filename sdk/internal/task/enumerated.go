package task

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"
)

// enumeratorState is an enumerator in a snapshot, to be read and edited by people.
// Every split that was ever found is in one of its three lists, save the ended ones
// of a source with a cursor.
type enumeratorState struct {
	// Listed and More: the source has been asked, and is to be asked again.
	Listed bool `json:"listed"`
	More   bool `json:"more"`
	// Next is the place of the next split in the order of enumeration.
	Next         uint64           `json:"next"`
	Cursor       *string          `json:"cursor,omitempty"`
	CursorBase64 []byte           `json:"cursor_base64,omitempty"` // where it is no text
	Unassigned   []unassignedJSON `json:"unassigned"`
	Assigned     []string         `json:"assigned"`
	Ended        []string         `json:"ended"`
}

type unassignedJSON struct {
	ID      string          `json:"id"`
	Ordinal uint64          `json:"ordinal"`
	Split   json.RawMessage `json:"split,omitempty"`
	After   []string        `json:"after,omitempty"`
}

func (e *enumerator) state() ([]byte, error) {
	s := enumeratorState{
		Listed:     e.listed,
		More:       e.more,
		Next:       e.next,
		Unassigned: []unassignedJSON{},
		Assigned:   sorted(e.assigned),
		Ended:      sorted(e.ended),
	}
	switch {
	case e.cursor == nil:
	case utf8.Valid(e.cursor):
		text := string(e.cursor)
		s.Cursor = &text
	default:
		s.CursorBase64 = e.cursor
	}
	for _, p := range e.unassigned {
		s.Unassigned = append(s.Unassigned, unassignedJSON{p.ID, p.ordinal, p.Data, p.After})
	}
	return json.Marshal(s)
}

func sorted(set map[string]bool) []string {
	if len(set) == 0 {
		return []string{}
	}
	return slices.Sorted(maps.Keys(set))
}

func (e *enumerator) restore(state []byte) error {
	var s enumeratorState
	if err := json.Unmarshal(state, &s); err != nil {
		return fmt.Errorf("the enumerator in the checkpoint: %w", err)
	}
	e.listed, e.more, e.next, e.cursor = s.Listed, s.More || !s.Listed, s.Next, s.CursorBase64
	if s.Cursor != nil {
		e.cursor = []byte(*s.Cursor)
	}
	for _, u := range s.Unassigned {
		e.wait(&pending{Split: Split{ID: u.ID, Data: u.Split, After: u.After}, ordinal: u.Ordinal})
	}
	for _, id := range s.Assigned {
		e.assigned[id] = true
	}
	for _, id := range s.Ended {
		e.ended[id] = true
	}
	return nil
}
