package pipeline

import (
	"net/url"
	"strings"
	"time"

	"github.com/weirstream/weir/host/yamlfile"
)

// Bounds of what a file may ask for.
const (
	maxTasks        = 32768
	maxDuration     = 365 * 24 * time.Hour
	minInterval     = 10 * time.Millisecond
	maxBatchSize    = 4 << 20
	minBatchSize    = 1 << 10
	maxLinger       = time.Minute
	maxRecordLimit  = 128 << 20 // a gRPC message of 256 MiB still holds it
	minRecordLimit  = 1 << 10
	maxRetain       = 1000
	maxFailures     = 1_000_000
	maxRetries      = 10_000
	maxRestartCount = 1_000_000
)

// knownVersion refuses a file of a later format before anything else is said
// about it.
func (l *loader) knownVersion(root *yamlfile.Value) bool {
	v := root.Get("version")
	if v == nil || v.Kind != yamlfile.Int {
		return true // absent, or reported when the settings are read
	}
	if n, ok := parseInt(v.Text); ok && (!n.IsInt64() || n.Int64() > FormatVersion) {
		l.fault(field{path: "version", Value: v}, CodeVersion, "use a newer weir",
			"this file is of format version %s, this weir reads versions up to %d", n, FormatVersion)
		return false
	}
	return true
}

// settings reads everything that is not about single plugins and nodes.
func (l *loader) settings(file field, fs map[string]field) {
	p := l.p
	p.Version = FormatVersion
	optional(fs["version"], &p.Version, func(f field) (int, bool) { return l.integer(f, 1, FormatVersion) })
	if f := fs["name"]; f.present() {
		if s, ok := l.text(f); ok && l.validName(f, f.pos(), "a pipeline's name", s) {
			p.Name = s
		}
	} else if l.missing(file, fs, "name") {
		l.faultAt(file.pos(), "name", CodeRequired, "the name that its state is kept under", "a pipeline needs a name")
	}
	p.Parallelism = 1
	optional(fs["parallelism"], &p.Parallelism, func(f field) (int, bool) { return l.integer(f, 1, maxTasks) })
	optional(fs["max_parallelism"], &p.MaxParallelism, func(f field) (int, bool) { return l.integer(f, 1, maxTasks) })
	l.guaranteeAt = fs["guarantee"]
	optional(fs["guarantee"], &p.Guarantee, l.guarantee)
	p.Isolation = IsolationPlugin
	optional(fs["isolation"], &p.Isolation, l.isolation)
	p.MaxRecord = 8 << 20
	optional(fs["max_record"], &p.MaxRecord, func(f field) (int64, bool) { return l.size(f, minRecordLimit, maxRecordLimit) })
	l.checkpoint(fs["checkpoint"])
	l.restart(fs["restart"])
	l.batch(fs["batch"])
}

// optional sets dst from a field that is present and sound.
func optional[T any](f field, dst *T, read func(field) (T, bool)) {
	if f.present() {
		if v, ok := read(f); ok {
			*dst = v
		}
	}
}

// between reads durations within bounds.
func (l *loader) between(least, most time.Duration) func(field) (time.Duration, bool) {
	return func(f field) (time.Duration, bool) { return l.duration(f, least, most) }
}

func (l *loader) count(least, most int) func(field) (int, bool) {
	return func(f field) (int, bool) { return l.integer(f, least, most) }
}

func (l *loader) guarantee(f field) (Guarantee, bool) {
	s, ok := l.oneOf(f, guaranteeNames[:]...)
	for i, name := range guaranteeNames {
		if ok && name == s {
			return Guarantee(i), true
		}
	}
	return 0, false
}

func (l *loader) isolation(f field) (Isolation, bool) {
	s, ok := l.oneOf(f, string(IsolationPlugin), string(IsolationNode), string(IsolationTask))
	return Isolation(s), ok
}

func (l *loader) checkpoint(f field) {
	c := &l.p.Checkpoint
	*c = Checkpoint{Interval: 5 * time.Second, Timeout: time.Minute, ToleratedFailures: 3, Retain: 3, DrainTimeout: 30 * time.Second}
	fs := l.fields(f, "interval", "timeout", "min_pause", "tolerated_failures", "retain", "drain_timeout", "storage")
	optional(fs["interval"], &c.Interval, l.between(minInterval, maxDuration))
	optional(fs["timeout"], &c.Timeout, l.between(minInterval, maxDuration))
	optional(fs["min_pause"], &c.MinPause, l.between(0, maxDuration))
	optional(fs["tolerated_failures"], &c.ToleratedFailures, l.count(0, maxFailures))
	optional(fs["retain"], &c.Retain, l.count(1, maxRetain))
	optional(fs["drain_timeout"], &c.DrainTimeout, l.between(0, maxDuration))
	optional(fs["storage"], &c.Storage, l.storage)
}

const storageHint = "allowed: file:///folder, mem://, s3://bucket, gs://bucket, azblob://container"

// storage reads the URL of a checkpoint store. No message repeats it: it may
// hold a password.
func (l *loader) storage(f field) (string, bool) {
	s, ok := l.text(f)
	if !ok {
		return "", false
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Scheme == "":
		l.fault(f, CodeStorage, storageHint, "must be a URL")
	case u.User != nil:
		l.fault(f, CodeStorage, "credentials come from the environment", "must not hold a user or a password")
	case u.Scheme == "file" && (u.Host != "" || !strings.HasPrefix(u.Path, "/")):
		l.fault(f, CodeStorage, "write file:///folder, with three slashes", "a file:// store needs an absolute path")
	case u.Scheme == "file", u.Scheme == "mem":
		return s, true
	case u.Scheme != "s3" && u.Scheme != "gs" && u.Scheme != "azblob":
		l.fault(f, CodeStorage, storageHint, "there is no checkpoint store of this scheme")
	case u.Host == "":
		l.fault(f, CodeStorage, storageHint, "names no bucket")
	default:
		return s, true
	}
	return "", false
}

func (l *loader) restart(f field) {
	r := &l.p.Restart
	*r = Restart{Attempts: 5, Window: 10 * time.Minute, Backoff: Backoff{Min: time.Second, Max: time.Minute}}
	fs := l.fields(f, "attempts", "window", "backoff")
	optional(fs["attempts"], &r.Attempts, l.count(0, maxRestartCount))
	optional(fs["window"], &r.Window, l.between(time.Second, maxDuration))
	optional(fs["backoff"], &r.Backoff, l.backoff)
}

// backoff reads "1s..1m" or "1s".
func (l *loader) backoff(f field) (Backoff, bool) {
	if f.Failed {
		return Backoff{}, false
	}
	const want = `a duration such as "1s", or a range such as "1s..1m"`
	s, ok := scalar(f.Value, yamlfile.String, yamlfile.Int)
	if !ok {
		l.wrongType(f, want)
		return Backoff{}, false
	}
	b, err := parseBackoff(s)
	switch {
	case err != nil:
		l.wrongType(f, want)
		return Backoff{}, false
	case b.Min < time.Millisecond || b.Max < b.Min || b.Max > maxDuration:
		l.fault(f, CodeRange, "", "must begin at 1ms or more and end no earlier than it begins, not %s", shown(f.Value))
		return Backoff{}, false
	}
	return b, true
}

func (l *loader) batch(f field) {
	b := &l.p.Batch
	*b = Batch{Size: 256 << 10, Linger: 5 * time.Millisecond}
	fs := l.fields(f, "size", "linger")
	optional(fs["size"], &b.Size, func(f field) (int64, bool) { return l.size(f, minBatchSize, maxBatchSize) })
	optional(fs["linger"], &b.Linger, l.between(0, maxLinger))
}
