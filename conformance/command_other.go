//go:build !unix

package conformance

import "os/exec"

func own(*exec.Cmd) {}

func endGroup(cmd *exec.Cmd) error { return cmd.Process.Kill() }
