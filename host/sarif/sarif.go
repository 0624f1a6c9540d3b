// Package sarif writes the faults of pipeline files as SARIF 2.1.0 (OASIS, Static
// Analysis Results Interchange Format), in which editors and CI systems read what
// a checker found.
package sarif

import (
	"encoding/json"
	"io"
	"path/filepath"

	"github.com/weirstream/weir/host/explain"
	"github.com/weirstream/weir/host/pipeline"
)

// The parts of the format that are written.
type (
	document struct {
		Schema  string `json:"$schema"`
		Version string `json:"version"`
		Runs    []run  `json:"runs"`
	}
	run struct {
		Tool             tool     `json:"tool"`
		Language         string   `json:"language"`
		NewlineSequences []string `json:"newlineSequences"`
		ColumnKind       string   `json:"columnKind"`
		Results          []result `json:"results"`
	}
	tool struct {
		Driver driver `json:"driver"`
	}
	driver struct {
		Name           string `json:"name"`
		Version        string `json:"version"`
		InformationURI string `json:"informationUri"`
		Language       string `json:"language"`
		Rules          []rule `json:"rules"`
	}
	rule struct {
		ID    string `json:"id"`
		Short *text  `json:"shortDescription,omitempty"`
		Full  *text  `json:"fullDescription,omitempty"`
		Help  *text  `json:"help,omitempty"`
	}
	text struct {
		Text string `json:"text"`
	}
	result struct {
		RuleID    string     `json:"ruleId"`
		RuleIndex int        `json:"ruleIndex"`
		Level     string     `json:"level"`
		Message   text       `json:"message"`
		Locations []location `json:"locations"`
	}
	location struct {
		Physical physicalLocation `json:"physicalLocation"`
	}
	physicalLocation struct {
		Artifact artifact `json:"artifactLocation"`
		Region   region   `json:"region"`
	}
	artifact struct {
		URI string `json:"uri"`
	}
	region struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn"`
	}
)

const language = "en-US"

// Write writes one run with a result for each fault. Each code that occurs is a
// rule, with what package explain says of it. version is weir's own.
func Write(w io.Writer, version string, faults []pipeline.Fault) error {
	d := driver{Name: "weir", Version: version, InformationURI: "https://github.com/weirstream/weir", Language: language, Rules: []rule{}}
	results := []result{} // an empty list says that nothing was found
	index := map[pipeline.Code]int{}
	for _, f := range faults {
		at, known := index[f.Code]
		if !known {
			at = len(d.Rules)
			index[f.Code] = at
			d.Rules = append(d.Rules, ruleOf(string(f.Code)))
		}
		results = append(results, result{
			RuleID: string(f.Code), RuleIndex: at, Level: level(f), Message: text{message(f)},
			Locations: []location{{physicalLocation{
				Artifact: artifact{filepath.ToSlash(f.File)},
				Region:   region{StartLine: max(1, f.Line), StartColumn: max(1, f.Column)},
			}}},
		})
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(document{
		Schema:  "https://json.schemastore.org/sarif-2.1.0.json",
		Version: "2.1.0",
		Runs: []run{{
			Tool: tool{d}, Language: language, NewlineSequences: []string{"\r\n", "\n"},
			ColumnKind: "unicodeCodePoints", Results: results,
		}},
	})
}

func ruleOf(code string) rule {
	r := rule{ID: code}
	if e, ok := explain.Find(code); ok {
		r.Short, r.Full, r.Help = &text{e.Title}, &text{e.Meaning}, &text{e.Remedy}
	}
	return r
}

func level(f pipeline.Fault) string {
	if f.Severity == pipeline.SeverityWarning {
		return "warning"
	}
	return "error"
}

func message(f pipeline.Fault) string {
	s := f.Message
	if f.Field != "" {
		s = f.Field + ": " + s
	}
	if f.Hint != "" {
		s += " (" + f.Hint + ")"
	}
	return s
}
