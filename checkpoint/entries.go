package checkpoint

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// Entries are entries of a snapshot in the order in which a task reported them.
// As JSON a payload is a string where it is valid UTF-8 and base64 otherwise, so
// that it comes back byte for byte and stays readable.
type Entries []*pluginv1.Entry

// entryJSON is an entry as it stands in a manifest. The component's index is
// not there: entries are kept by node.
type entryJSON struct {
	Kind       string  `json:"kind"`
	ID         string  `json:"id,omitempty"`
	Group      uint32  `json:"group,omitempty"`
	Union      bool    `json:"union,omitempty"`
	More       bool    `json:"more,omitempty"`
	Checkpoint uint64  `json:"checkpoint,omitempty"`
	Text       *string `json:"text,omitempty"`
	Data       []byte  `json:"data,omitempty"`
}

// MarshalJSON writes the entries as an array of objects.
func (es Entries) MarshalJSON() ([]byte, error) {
	all := make([]entryJSON, 0, len(es))
	for _, e := range es {
		j := entryJSON{
			Kind: KindName(e.GetKind()), ID: e.GetId(), Group: e.GetKeyGroup(),
			Union: e.GetUnion(), More: e.GetMore(), Checkpoint: e.GetCheckpoint(),
		}
		if p := e.GetPayload(); utf8.Valid(p) {
			s := string(p)
			j.Text = &s
		} else {
			j.Data = p
		}
		all = append(all, j)
	}
	return json.Marshal(all)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (es *Entries) UnmarshalJSON(data []byte) error {
	var all []entryJSON
	if err := json.Unmarshal(data, &all); err != nil {
		return err
	}
	*es = make(Entries, 0, len(all))
	for _, j := range all {
		kind, ok := kindByName(j.Kind)
		if !ok {
			return fmt.Errorf("unknown kind of entry %q", j.Kind)
		}
		payload := j.Data
		if j.Text != nil {
			payload = []byte(*j.Text)
		}
		*es = append(*es, &pluginv1.Entry{
			Kind: kind, Id: j.ID, KeyGroup: j.Group, Union: j.Union, More: j.More, Checkpoint: j.Checkpoint,
			Content: &pluginv1.Entry_Payload{Payload: payload},
		})
	}
	return nil
}

// KindName is the name of a kind as manifests and people write it: "split",
// "key_group", ...
func KindName(k pluginv1.Entry_Kind) string {
	return strings.ToLower(strings.TrimPrefix(k.String(), "KIND_"))
}

func kindByName(name string) (pluginv1.Entry_Kind, bool) {
	k, ok := pluginv1.Entry_Kind_value["KIND_"+strings.ToUpper(name)]
	return pluginv1.Entry_Kind(k), ok && k != 0
}
