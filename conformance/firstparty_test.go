package conformance

import (
	"strings"
	"testing"

	"github.com/weirstream/weir/conformance/spec"
)

func TestFirstPartyComponentsPassTheirCases(t *testing.T) {
	config, err := spec.Open("../plugins/firstparty/conformance.yaml")
	if err != nil {
		t.Fatal(err)
	}
	report, err := Run(t.Context(), Options{Command: firstParty(t), FirstParty: firstParty(t), Config: config, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range report.Results {
		if r.Status == Fail || r.Status == Broken {
			t.Error(r.Text())
		}
	}
	// What needs a server is put through the kit where there is one.
	for _, r := range report.Remarks {
		if strings.Contains(r, "has no entry for it") && !strings.Contains(r, "kafka") {
			t.Error(r)
		}
	}
}
