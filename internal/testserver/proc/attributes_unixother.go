//go:build unix && !linux

package proc

import "syscall"

func endWithParent(*syscall.SysProcAttr) {}
