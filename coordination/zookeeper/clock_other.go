//go:build !linux

package zookeeper

import "time"

var start = time.Now()

// now is a time that only grows. Whether it counts sleep is the system's affair.
func now() time.Duration { return time.Since(start) }
