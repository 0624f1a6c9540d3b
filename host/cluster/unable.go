package cluster

import "sync"

// unableError says that a host cannot run a pipeline that another has checked: it
// lacks a plugin or a variable, say.
type unableError struct{ err error }

func (e *unableError) Error() string { return "the pipeline cannot be run here: " + e.err.Error() }

func (e *unableError) Unwrap() error { return e.err }

// unable knows which hosts could not run a pipeline, and why. What one lacks it may
// be given: forget lets all try again.
type unable struct {
	mu    sync.Mutex
	hosts map[string]inability // by id
}

type inability struct {
	instance string
	revision uint64 // of the submission
	why      string
}

func (u *unable) note(f Failure, instance string, revision uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.hosts == nil {
		u.hosts = map[string]inability{}
	}
	u.hosts[f.Host] = inability{instance, revision, f.err().Error()}
}

// why says why a host cannot run this submission, as far as is known.
func (u *unable) why(id string, h Host, revision uint64) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	if i := u.hosts[id]; i.instance == h.Instance && i.revision == revision {
		return i.why
	}
	return ""
}

// forget lets every host try again.
func (u *unable) forget() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.hosts = nil
}
