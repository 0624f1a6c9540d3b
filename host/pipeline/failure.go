package pipeline

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weirstream/weir/host/yamlfile"
	pluginv1 "github.com/weirstream/weir/proto/weir/plugin/v1"
)

// failure is what an on_error says.
type failure struct {
	policy   *pluginv1.FailurePolicy
	target   string
	targetAt field
}

const onErrorForms = "fail, skip, {dead_letter: NODE}, or {retry: {attempts, backoff}, then: fail|skip|dead_letter, to: NODE, limit: 1000/1m}"

var actions = map[string]pluginv1.FailurePolicy_Action{
	"fail":        pluginv1.FailurePolicy_ACTION_FAIL,
	"skip":        pluginv1.FailurePolicy_ACTION_SKIP,
	"dead_letter": pluginv1.FailurePolicy_ACTION_DEAD_LETTER,
}

// onError reads on_error in any of its forms. Attempts are repetitions: a record
// is tried once more than that.
func (l *loader) onError(f field) *failure {
	x := &failure{policy: &pluginv1.FailurePolicy{}}
	if f.Failed {
		return x
	}
	if f.Kind != yamlfile.Map {
		l.shortOnError(f, x)
		return x
	}
	fs := l.fields(f, "retry", "then", "to", "dead_letter", "limit")
	if r := fs["retry"]; r.present() {
		l.retry(r, x.policy)
	}
	l.action(f, fs, x)
	if limit := fs["limit"]; limit.present() {
		l.limit(limit, x.policy)
	}
	return x
}

func (l *loader) shortOnError(f field, x *failure) {
	s, ok := l.text(f)
	if !ok {
		return
	}
	switch s {
	case "fail", "skip":
		x.policy.Action = actions[s]
	case "dead_letter":
		l.fault(f, CodeValue, "write {dead_letter: NODE}", "dead letters need a node that they go to")
	default:
		hint := "allowed: " + onErrorForms
		if best := Nearest(f.Written(), []string{"fail", "skip"}); best != "" {
			hint = Suggest(f.Written(), []string{"fail", "skip"})
		}
		l.fault(f, CodeValue, hint, "%s is no way to treat a failed record", shown(f.Value))
	}
}

// action reads then and to, or dead_letter which stands for both.
func (l *loader) action(f field, fs map[string]field, x *failure) {
	then, to, short := fs["then"], fs["to"], fs["dead_letter"]
	if then.present() {
		s, ok := l.oneOf(then, "fail", "skip", "dead_letter")
		if !ok {
			return
		}
		x.policy.Action = actions[s]
	}
	if short.present() {
		if then.present() || to.present() {
			l.faultKey(short, CodeExclusive, "it means then: dead_letter, to: NODE", "`dead_letter` excludes `then` and `to`")
			return
		}
		to = short
		x.policy.Action = pluginv1.FailurePolicy_ACTION_DEAD_LETTER
	}
	dead := x.policy.Action == pluginv1.FailurePolicy_ACTION_DEAD_LETTER
	switch {
	case dead && !to.present():
		l.fault(then, CodeRequired, "add to: NODE", "dead letters need a node that they go to")
	case dead:
		x.targetAt = to
		x.target, _ = l.text(to)
	case to.present():
		l.faultKey(to, CodeDiscardedField, "add then: dead_letter", "`to` has no meaning without dead letters")
	case !fs["retry"].present() && !then.present() && len(f.Entries) == len(fs):
		l.fault(f, CodeRequired, "allowed: "+onErrorForms, "does not say what happens to a failed record")
	}
}

func (l *loader) retry(f field, policy *pluginv1.FailurePolicy) {
	backoff := Backoff{Min: 100 * time.Millisecond, Max: 10 * time.Second}
	fs := l.fields(f, "attempts", "backoff")
	attempts := fs["attempts"]
	if !attempts.present() {
		if l.missing(f, fs, "attempts") && (f.Kind == yamlfile.Map || f.Kind == yamlfile.Null) {
			l.fault(f, CodeRequired, "", "`attempts` is missing: how often a record is tried again")
		}
		return
	}
	n, ok := l.integer(attempts, 1, maxRetries)
	optional(fs["backoff"], &backoff, l.backoff)
	if !ok {
		return
	}
	policy.Retries = uint32(n)
	policy.Backoff = durationpb.New(backoff.Min)
	policy.MaxBackoff = durationpb.New(backoff.Max)
	if t := retryTime(n, backoff); t >= l.p.Checkpoint.Timeout {
		l.faultKey(f, CodeRetryTime, "a barrier waits behind a record that is tried again: fewer attempts, a shorter backoff or a longer timeout",
			"%d attempts wait %s in all, which is not below checkpoint.timeout (%s)", n, formatDuration(t), formatDuration(l.p.Checkpoint.Timeout))
	}
}

// retryTime is the sum of the waits before n attempts, capped far above any
// checkpoint's timeout.
func retryTime(n int, b Backoff) time.Duration {
	var sum time.Duration
	wait := b.Min
	for range n {
		if sum += wait; sum > 2*maxDuration {
			return sum
		}
		wait = min(2*wait, b.Max)
	}
	return sum
}

func (l *loader) limit(f field, policy *pluginv1.FailurePolicy) {
	if f.Failed {
		return
	}
	const want = `a number of records in a time, such as "1000/1m"`
	s, ok := scalar(f.Value, yamlfile.String)
	if !ok {
		l.wrongType(f, want)
		return
	}
	n, window, err := parseRate(s)
	switch {
	case err != nil:
		l.wrongType(f, want)
	case n < 1 || window < time.Second || window > maxDuration:
		l.fault(f, CodeRange, "", "must be at least 1 record in at least 1s, not %s", shown(f.Value))
	case policy.Action == pluginv1.FailurePolicy_ACTION_FAIL:
		l.faultKey(f, CodeDiscardedField, "", "a limit has no meaning where the first failed record fails the task")
	default:
		policy.Limit, policy.LimitWindow = n, durationpb.New(window)
	}
}
