//go:build !unix

package main

import (
	"os"
	"os/exec"
)

func leaveProcess() { _ = exec.Command("ping", "-n", "30", "127.0.0.1").Start() }

func printOpened() { _, _ = os.Stdout.WriteString("opened\n") }
