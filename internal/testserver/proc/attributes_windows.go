package proc

import (
	"errors"
	"os"
	"os/exec"
)

func attributes(*exec.Cmd, bool) {}

var errPause = errors.New("a process cannot be paused on Windows")

func pause(*os.Process) error  { return errPause }
func resume(*os.Process) error { return errPause }
