package checkpoint

import "testing"

func TestOutputAfterACheckpointMayBePublished(t *testing.T) {
	record := func(n, prev uint64, committables int) Record {
		return Record{N: n, Prev: prev, Committables: committables, State: Running}
	}
	abandoned := record(9, 8, 1)
	abandoned.State = Abandoned
	for name, c := range map[string]struct {
		newestFirst []Record
		after       uint64
		want        bool
	}{
		"nothing newer":                    {[]Record{record(5, 4, 3)}, 5, false},
		"newer ones list nothing":          {[]Record{record(7, 6, 0), record(6, 5, 0), record(5, 4, 3)}, 5, false},
		"a newer one lists output":         {[]Record{record(7, 6, 0), record(6, 5, 1), record(5, 4, 0)}, 5, true},
		"one between is not kept any more": {[]Record{record(7, 6, 0)}, 5, true},
		"nothing is between":               {[]Record{record(7, 5, 0)}, 5, false},
		"what is older does not matter":    {[]Record{record(7, 6, 0), record(6, 3, 0)}, 5, false},
		"an abandoned one listed output":   {[]Record{abandoned, record(5, 4, 0)}, 5, true},
	} {
		if got := (History{Records: c.newestFirst}).publishedAfter(c.after); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
