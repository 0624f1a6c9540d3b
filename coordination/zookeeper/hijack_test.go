package zookeeper

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// endSession ends a session from outside: it connects as the session, by the id
// and password that the server gave it, and closes it.
func endSession(s *Store) error {
	s.mu.Lock()
	l := s.session.link
	s.mu.Unlock()
	l.mu.Lock()
	hello := l.hello
	l.mu.Unlock()
	if len(hello) < 36 {
		return errors.New("there is no session")
	}
	conn, err := net.DialTimeout("tcp", l.server, testTimeout)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(testTimeout))
	var hi []byte
	hi = binary.BigEndian.AppendUint32(hi, 0) // version of the protocol
	hi = binary.BigEndian.AppendUint64(hi, 0) // zxid seen
	hi = append(hi, hello[4:36]...)           // timeout, id, password with its length
	if _, err := conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(hi))), hi...)); err != nil {
		return err
	}
	answer, err := readFrame(conn)
	if err != nil {
		return err
	}
	if binary.BigEndian.Uint64(answer[8:]) == 0 {
		return nil // it is over already
	}
	bye := []byte{0, 0, 0, 8, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xf5} // request 1: close
	if _, err := conn.Write(bye); err != nil {
		return err
	}
	if _, err := readFrame(conn); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}

func readFrame(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	frame := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err := io.ReadFull(r, frame)
	return frame, err
}
