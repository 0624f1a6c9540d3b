package process

// CutLifeline ends the lifeline and nothing else: what a plugin sees of a host that
// is gone, where the system does not kill it. Done is closed if it ends, which it
// must at once. It is for whoever tests plugins; a host uses Stop.
func (p *Process) CutLifeline() {
	p.mu.Lock()
	p.stopping = true
	p.mu.Unlock()
	p.child.cutLifeline()
}
