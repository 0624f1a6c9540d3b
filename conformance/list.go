package conformance

import (
	"encoding/json"
	"fmt"
	"io"
	"regexp"

	"github.com/weirstream/weir/host/pipeline"
)

// WriteList lists the cases: a line each, or a JSON array.
func WriteList(w io.Writer, run *regexp.Regexp, asJSON bool) error {
	type item struct {
		ID      string   `json:"id"`
		Subject string   `json:"subject"`
		Kinds   []string `json:"kinds,omitempty"`
		Title   string   `json:"title"`
		Demands string   `json:"demands"`
		Why     string   `json:"why"`
		Fix     string   `json:"fix"`
	}
	all := []item{}
	for _, s := range Subjects() {
		for _, c := range s.Cases {
			if run != nil && !run.MatchString(c.ID+" "+c.Title) {
				continue
			}
			i := item{ID: c.ID, Subject: s.Title, Title: c.Title, Demands: c.Demands, Why: c.Why, Fix: c.Fix}
			for _, k := range c.Kinds {
				i.Kinds = append(i.Kinds, pipeline.KindName(k))
			}
			all = append(all, i)
		}
	}
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		return enc.Encode(all)
	}
	for _, i := range all {
		if _, err := fmt.Fprintf(w, "%s  %s\n", i.ID, i.Title); err != nil {
			return err
		}
	}
	return nil
}
