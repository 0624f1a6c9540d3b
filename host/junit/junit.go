// Package junit writes test results as JUnit's XML, which CI systems read.
package junit

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// Suite is a group of cases.
type Suite struct {
	Name  string
	Cases []Case
}

// Case is one case. At most one of Failure, Error and Skipped is set.
type Case struct {
	Class, Name string
	Seconds     float64
	// Failure says that something else came out than expected, Error that the case
	// could not be run.
	Failure, Error, Skipped *Text
}

// Text is a reason: a line, and all there is to say.
type Text struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

type document struct {
	XMLName xml.Name `xml:"testsuites"`
	Suites  []suite  `xml:"testsuite"`
}

type suite struct {
	Name     string     `xml:"name,attr"`
	Tests    int        `xml:"tests,attr"`
	Failures int        `xml:"failures,attr"`
	Errors   int        `xml:"errors,attr"`
	Skipped  int        `xml:"skipped,attr"`
	Time     string     `xml:"time,attr"`
	Cases    []testcase `xml:"testcase"`
}

type testcase struct {
	Class   string `xml:"classname,attr"`
	Name    string `xml:"name,attr"`
	Time    string `xml:"time,attr"`
	Failure *Text  `xml:"failure,omitempty"`
	Error   *Text  `xml:"error,omitempty"`
	Skipped *Text  `xml:"skipped,omitempty"`
}

// Write writes the suites.
func Write(w io.Writer, suites []Suite) error {
	var doc document
	for _, s := range suites {
		out := suite{Name: clean(s.Name), Tests: len(s.Cases)}
		var seconds float64
		for _, c := range s.Cases {
			seconds += c.Seconds
			for _, count := range []struct {
				of *Text
				n  *int
			}{{c.Failure, &out.Failures}, {c.Error, &out.Errors}, {c.Skipped, &out.Skipped}} {
				if count.of != nil {
					*count.n++
				}
			}
			out.Cases = append(out.Cases, testcase{
				Class: clean(c.Class), Name: clean(c.Name), Time: fmt.Sprintf("%.3f", c.Seconds),
				Failure: c.Failure.clean(), Error: c.Error.clean(), Skipped: c.Skipped.clean(),
			})
		}
		out.Time = fmt.Sprintf("%.3f", seconds)
		doc.Suites = append(doc.Suites, out)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(doc); err != nil {
		return fmt.Errorf("write JUnit: %w", err)
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func (t *Text) clean() *Text {
	if t == nil {
		return nil
	}
	return &Text{clean(t.Message), clean(t.Text)}
}

// clean leaves out the characters that XML cannot have.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0xfffe || r == 0xffff {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}
