package zookeepertest

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// FillDisk lets no write of the server succeed any more, as on a full disk: the
// system refuses to let a file of its process be written. A server that is started
// again has a disk with room.
func (n *Node) FillDisk() error {
	pid := n.PID()
	if pid == 0 {
		return fmt.Errorf("server %d does not run", n.ID)
	}
	var limit unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_FSIZE, nil, &limit); err != nil {
		return fmt.Errorf("fill the disk of server %d: %w", n.ID, err)
	}
	limit.Cur = 0
	if err := unix.Prlimit(pid, unix.RLIMIT_FSIZE, &limit, nil); err != nil {
		return fmt.Errorf("fill the disk of server %d: %w", n.ID, err)
	}
	return nil
}
