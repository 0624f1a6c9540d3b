package zookeeper

import (
	"time"

	"golang.org/x/sys/unix"
)

// now is the time since the machine started, sleep included.
func now() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("zookeeper: CLOCK_BOOTTIME: " + err.Error()) // there since Linux 2.6.39
	}
	return time.Duration(ts.Nano())
}
