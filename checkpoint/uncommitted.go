package checkpoint

// Uncommitted keeps the prepared output of one sink node on one host until it is
// answered as committed. What a checkpoint prepared that never got its record
// stays here and is in the next snapshot. It is not safe for concurrent use.
type Uncommitted struct{}

// Prepared adds what a task prepared at barrier n. Numbers of one task rise.
func (u *Uncommitted) Prepared(task int, n uint64, es Entries) { panic("unwritten") }

// Snapshot returns what checkpoint n has to list for a task: all up to n that is
// not answered, oldest first.
func (u *Uncommitted) Snapshot(task int, n uint64) Entries { panic("unwritten") }

// Due returns what is to be committed once checkpoint n has its record: all
// tasks' output up to n that is not answered, oldest first.
func (u *Uncommitted) Due(n uint64) Entries { panic("unwritten") }

// Answered forgets what Due(n) returned.
func (u *Uncommitted) Answered(n uint64) { panic("unwritten") }

// Len is the number of committables that wait.
func (u *Uncommitted) Len() int { panic("unwritten") }
