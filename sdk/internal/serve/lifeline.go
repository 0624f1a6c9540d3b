package serve

import (
	"fmt"
	"os"
	"strconv"

	"github.com/weirstream/weir/proto/wire"
)

// holdOn takes over the files that the host passed: the process ends with the
// lifeline, and keeps the lock. The variables go, since children get neither. The
// host's output is left to the component that writes to it; children get that
// neither.
func holdOn() error {
	// Nothing refers to the lock: an os.File would be closed by the collector.
	if lock, err := number(wire.EnvLock); err != nil {
		return err
	} else if lock >= 0 {
		hide(lock)
	}
	if out, err := strconv.Atoi(os.Getenv(wire.EnvStdout)); err == nil && out > 2 {
		hide(out)
	}
	fd, err := number(wire.EnvLifeline)
	if err != nil || fd < 0 {
		return err
	}
	lifeline := os.Stdin
	if fd != 0 {
		if lifeline, err = open(fd, wire.EnvLifeline); err != nil {
			return err
		}
	}
	go func() {
		for buf := make([]byte, 16); ; {
			if _, err := lifeline.Read(buf); err != nil {
				os.Exit(0)
			}
		}
	}()
	return nil
}

// number takes the number of a file from the environment; -1 where there is none.
func number(env string) (int, error) {
	text, ok := os.LookupEnv(env)
	if !ok {
		return -1, nil
	}
	fd, err := strconv.Atoi(text)
	if err != nil || fd < 0 {
		return -1, fmt.Errorf("%s=%q is not the number of a file", env, text)
	}
	_ = os.Unsetenv(env)
	return fd, nil
}
