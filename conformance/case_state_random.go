package conformance

import (
	"fmt"
	"strings"

	"github.com/weirstream/weir/conformance/rig"
)

var stateRandomCases = []Case{
	{
		ID: "WC-STA-030", Title: "no order of kills, checkpoints and rescaling changes what comes", Kinds: operators, Needs: all(keepsByKey, repeatable, several),
		Demands: "At random, by the seed: records and watermarks, checkpoints that complete and some that are given up, kills, and restarts from the last completed checkpoint at a parallelism of one to four. What came before the checkpoint that each restart went on from, and what came at last, is what comes undisturbed.",
		Why:     "What holds for each by itself need not hold for all of them together.",
		Fix:     "The notes of the failure list what was done; `--seed` does it again.",
		run: func(t *T) {
			line := t.withRareKeys(t.timeline(2*t.ordinary(), true))
			want := t.undisturbed(line)
			var done []string
			note := func(format string, args ...any) { done = append(done, fmt.Sprintf(format, args...)) }

			epoch, at := uint64(1), 0
			var saved struct {
				cut *rig.Cut
				at  int
				got outcome // of what came up to there
			}
			saved.got = make(outcome)
			p := t.Start()
			s := p.Stage(t.Open(epoch, 1+t.Rand.IntN(4), nil))
			note("%d tasks", len(s.Tasks))
			base := outcome{} // what came before this epoch
			restarts := 0
			for at < len(line) {
				sendMoment(s, line[at])
				at++
				switch n := t.Rand.IntN(20); {
				case n < 3:
					cut := s.Checkpoint()
					cut.Complete()
					saved.cut, saved.at, saved.got = cut, at, outcome{}
					saved.got.add(base)
					saved.got.add(t.outcomeOfAll(cut))
					note("checkpoint behind piece %d", at)
				case n < 5:
					s.Checkpoint().Abort()
					note("checkpoint behind piece %d, given up", at)
				case n < 7 && restarts < 5:
					restarts++
					p.SIGKILL()
					epoch++
					at, base = saved.at, outcome{}
					base.add(saved.got)
					p = t.Start()
					s = p.Stage(t.Open(epoch, 1+t.Rand.IntN(4), saved.cut))
					note("killed, and back behind piece %d with %d tasks", at, len(s.Tasks))
				}
			}
			got := base
			got.add(t.outcomeOfAll(endOf(s)))
			t.Logf("%s", strings.Join(done, "; "))
			t.compareBags("at random", want, got)
			s.Close()
		},
	},
}
