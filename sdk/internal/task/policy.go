package task

import (
	"fmt"
	"time"

	"github.com/weirstream/weir/proto/policy"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// onFailure is a node's FailurePolicy.
type onFailure struct {
	action              pluginv1.FailurePolicy_Action
	retries             int
	backoff, maxBackoff time.Duration
	bound               time.Duration // of all waits for one record
	limit               policy.Limit
}

func newPolicy(p *pluginv1.FailurePolicy, checkpointTimeout time.Duration) (onFailure, error) {
	out := onFailure{
		action:     p.GetAction(),
		retries:    int(p.GetRetries()),
		backoff:    orDefault(p.GetBackoff().AsDuration(), 100*time.Millisecond),
		maxBackoff: orDefault(p.GetMaxBackoff().AsDuration(), 10*time.Second),
		// A barrier waits behind the record, so the record must not take all of
		// the time that the barrier has.
		bound: checkpointTimeout / 2,
		limit: policy.NewLimit(p),
	}
	if _, known := pluginv1.FailurePolicy_Action_name[int32(out.action)]; !known {
		return out, fmt.Errorf("on_failure: action %d is not known", out.action)
	}
	return out, nil
}

// wait is the time before a record's next try.
func (p *onFailure) wait(try int, err error) time.Duration {
	d := p.backoff
	for range try {
		if d *= 2; d >= p.maxBackoff {
			break
		}
	}
	d = min(d, p.maxBackoff)
	if again, ok := asRetry(err); ok {
		d = max(d, again.After)
	}
	return d
}
