//go:build unix

package main

import (
	"os/exec"
	"syscall"
)

// leaveProcess starts one that nobody waits for.
func leaveProcess() {
	cmd := exec.Command("sleep", "30")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	_ = cmd.Start()
}

// printOpened writes to the process's own standard output, whatever os.Stdout is.
func printOpened() { _, _ = syscall.Write(1, []byte("opened\n")) }
