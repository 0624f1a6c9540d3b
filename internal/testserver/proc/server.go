package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// Server is a process that can be ended and started again. Its methods may be called
// concurrently.
type Server struct {
	name    string // for errors
	logPath string

	mu      sync.Mutex
	process *Process // nil while it does not run
}

// NewServer returns one that does not run, with its output in the file at logPath.
func NewServer(name, logPath string) *Server { return &Server{name: name, logPath: logPath} }

// Launch starts it; see [Start].
func (s *Server) Launch(ctx context.Context, ready string, detach bool, name string, args ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		return fmt.Errorf("%s runs already", s.name)
	}
	p, err := Start(ctx, s.logPath, ready, detach, name, args...)
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	s.process = p
	return nil
}

// PID returns the id of its process, 0 while it does not run.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return 0
	}
	return s.process.PID()
}

// Kill ends it at once, as kill -9 does. One that does not run stays so.
func (s *Server) Kill() { s.end((*Process).Kill) }

// Stop ends it as an operator does, and gives it a minute for that.
func (s *Server) Stop() { s.end(func(p *Process) { p.Stop(time.Minute) }) }

func (s *Server) end(how func(*Process)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		how(s.process)
		s.process = nil
	}
}

// Pause stops its process without ending it, until Resume.
func (s *Server) Pause() error { return s.running((*Process).Pause) }

// Resume ends a pause.
func (s *Server) Resume() error { return s.running((*Process).Resume) }

func (s *Server) running(do func(*Process) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return fmt.Errorf("%s: %w", s.name, errDown)
	}
	return do(s.process)
}

var errDown = errors.New("it does not run")

// Log returns what it has logged since its last start.
func (s *Server) Log() string {
	text, err := os.ReadFile(s.logPath)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
