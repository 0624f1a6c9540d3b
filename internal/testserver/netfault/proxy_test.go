package netfault

import (
	"bufio"
	"fmt"
	"net"
	"testing"
	"time"
)

// echo answers each line with itself.
func echo(t *testing.T) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for in := bufio.NewScanner(c); in.Scan(); {
					fmt.Fprintln(c, in.Text())
				}
			}()
		}
	}()
	p, err := Start(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// exchange sends a line and returns what is answered within patience.
func exchange(t *testing.T, c net.Conn, patience time.Duration) (string, error) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprintln(c, "hello"); err != nil {
		return "", err
	}
	return bufio.NewReader(c).ReadString('\n')
}

func dial(t *testing.T, p *Proxy) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestAProxyForwardsDelaysSwallowsAndCuts(t *testing.T) {
	const patience = 20 * time.Second
	p := echo(t)
	c := dial(t, p)
	if got, err := exchange(t, c, patience); got != "hello\n" {
		t.Fatalf("forwarded %q, %v", got, err)
	}
	p.Set(Fault{Delay: 50 * time.Millisecond})
	before := time.Now()
	if got, err := exchange(t, c, patience); got != "hello\n" || time.Since(before) < 100*time.Millisecond {
		t.Fatalf("delayed %q by %s, %v", got, time.Since(before), err)
	}
	for _, f := range []Fault{{DropRequests: true}, {DropReplies: true}} {
		p.Set(f)
		if got, err := exchange(t, c, 50*time.Millisecond); err == nil {
			t.Fatalf("%+v forwarded %q", f, got)
		}
	}
	p.Set(Fault{})
	if got, err := exchange(t, c, patience); err == nil {
		t.Fatalf("a connection of which a part was swallowed goes on with %q", got)
	}
	c = dial(t, p)
	if got, err := exchange(t, c, patience); got != "hello\n" {
		t.Fatalf("healed %q, %v", got, err)
	}
	p.Cut()
	if got, err := exchange(t, c, patience); err == nil {
		t.Fatalf("a cut connection forwarded %q", got)
	}
	p.Set(Fault{Refuse: true})
	if got, err := exchange(t, dial(t, p), patience); err == nil {
		t.Fatalf("a refused connection forwarded %q", got)
	}
	if n := p.Accepted(); n != 3 {
		t.Fatalf("%d connections were accepted", n)
	}
}
