package window

import (
	"github.com/weirstream/weir/plugins/internal/aggregate"
	"github.com/weirstream/weir/sdk"
)

// panes are windows of one size that begin every slide. A record is added to one
// pane, which is as long as the slide; a window's result is made of its panes. (Li
// et al., No Pane, No Gain: Efficient Evaluation of Sliding-Window Aggregates over
// Data Streams, 2005.)
type panes struct {
	*operator
	size, slide, offset int64
	state               *sdk.MapState[int64, *aggregate.State] // by the pane's start
}

// paneOf is the start of the pane that a time is in.
func (p *panes) paneOf(at int64) int64 {
	into := (at - p.offset) % p.slide
	if into < 0 {
		into += p.slide
	}
	return at - into
}

// add implements [windows].
func (p *panes) add(at int64, in *aggregate.Inputs, _ *sdk.Collector) (late bool, err error) {
	pane, now := p.paneOf(at), p.now()
	if p.passed(pane+p.size, now) {
		return true, nil // the last window that it is in takes no more
	}
	st, known := p.state.Get(pane)
	if !known {
		st = &p.scratch
		p.set.Reset(st)
	}
	p.set.Add(st, in, p.into(pane))
	p.state.Set(pane, st)
	for end := pane + p.slide; end <= pane+p.size; end += p.slide {
		// The timer of a window that has fired fires at once: its result leaves anew.
		if !known && !p.passed(end, now) || end <= now && !p.passed(end, now) {
			p.setTimer(end, tagFire)
		}
	}
	if !known {
		p.setTimer(p.over(pane+p.size), tagClean)
	}
	return false, nil
}

// over is when a window takes no more records.
func (o *operator) over(end int64) int64 {
	if over := end + o.lateness; over > end {
		return over
	}
	return end
}

func (o *operator) passed(end, now int64) bool { return o.over(end) <= now }

// fire implements [windows].
func (p *panes) fire(tm sdk.Timer, out *sdk.Collector) error {
	at := tm.At.UnixNano()
	if tm.Tag == tagClean {
		pane := at - p.lateness - p.size
		p.state.Delete(pane)
		if p.set.Bags() {
			p.bag(pane).move(nil)
		}
		return nil
	}
	w, err := p.window(at)
	if err != nil || w == nil {
		return err
	}
	return p.send(w, nil, out)
}

// window gathers the panes of the window that ends there; nil where it has none.
func (p *panes) window(end int64) (*result, error) {
	p.set.Reset(&p.scratch)
	var all bags
	for pane := end - p.size; pane < end; pane += p.slide {
		st, ok := p.state.Get(pane)
		if !ok {
			continue
		}
		p.set.Merge(&p.scratch, st)
		all = append(all, p.bag(pane))
	}
	if all == nil {
		return nil, nil
	}
	return spanOf(end-p.size, end, &p.scratch, all), nil
}

// open implements [windows].
func (p *panes) open(yield func(*result) error) error {
	now := p.now()
	ends := map[int64]bool{}
	for pane := range p.state.All() {
		for end := pane + p.slide; end <= pane+p.size; end += p.slide {
			if end > now {
				ends[end] = true
			}
		}
	}
	return inOrder(ends, func(end int64) error {
		w, err := p.window(end)
		if err != nil {
			return err
		}
		return yield(w)
	})
}
