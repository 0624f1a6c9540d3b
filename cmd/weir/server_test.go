package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestListenBeyondThisMachineNeedsAToken(t *testing.T) {
	file := func(text string) string {
		name := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for _, c := range []struct {
		flags apiFlags
		want  string // of the error; empty: it listens
		token string
		known bool
	}{
		{apiFlags{listen: "127.0.0.1:0"}, "", "", false},
		{apiFlags{listen: "[::1]:0"}, "", "", false},
		{apiFlags{listen: "127.0.0.1:0", tokenFile: file("abc\n")}, "", "abc", false},
		{apiFlags{listen: "0.0.0.0:0", tokenFile: file("abc")}, "", "abc", false},
		{apiFlags{listen: "0.0.0.0:0"}, "can be reached from other machines", "", false},
		{apiFlags{listen: "0.0.0.0:0"}, "", "", true},
		{apiFlags{listen: ":0"}, "can be reached from other machines", "", false},
		{apiFlags{listen: "nowhere"}, "--listen: ", "", false},
		{apiFlags{listen: "127.0.0.1:0", tokenFile: file(" \n")}, "holds none, or more than one", "", false},
		{apiFlags{listen: "127.0.0.1:0", tokenFile: file("a b")}, "holds none, or more than one", "", false},
		{apiFlags{listen: "127.0.0.1:0", tokenFile: "/nowhere"}, "token: ", "", false},
	} {
		l, token, err := c.flags.listener(c.known)
		switch {
		case c.want == "" && err != nil && strings.Contains(c.flags.listen, "::1"):
			t.Log("no IPv6 here:", err)
		case c.want == "" && (err != nil || token != c.token):
			t.Errorf("%+v: %q, %v", c.flags, token, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%+v: %v", c.flags, err)
		}
		if l != nil {
			l.Close()
		}
	}
}
