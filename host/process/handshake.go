package process

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/go-plugin"

	"github.com/weirstream/weir/proto/wire"
)

// hostVersions are the protocol versions that this host speaks.
func hostVersions() []int { return []int{wire.ProtocolVersion} }

// handshake is the line with which a plugin says where it listens:
// core version|protocol version|network|address|protocol[|certificate].
type handshake struct {
	core, version              int
	network, address, protocol string
}

// parseHandshake tells a handshake from anything else on standard output.
func parseHandshake(text string) (handshake, bool) {
	parts := strings.Split(strings.TrimSpace(text), "|")
	if len(parts) < 4 || parts[2] != "unix" && parts[2] != "tcp" {
		return handshake{}, false
	}
	core, err1 := strconv.Atoi(parts[0])
	version, err2 := strconv.Atoi(parts[1])
	if err1 != nil || err2 != nil {
		return handshake{}, false
	}
	h := handshake{core: core, version: version, network: parts[2], address: parts[3], protocol: string(plugin.ProtocolNetRPC)}
	if len(parts) > 4 {
		h.protocol = parts[4]
	}
	return h, true
}

// check says whether a host that speaks the given versions can go on.
func (h handshake) check(versions []int) (detail string, reason error) {
	newest, oldest := slices.Max(versions), slices.Min(versions)
	speaks := strconv.Itoa(newest)
	if oldest != newest {
		speaks = fmt.Sprintf("%d to %d", oldest, newest)
	}
	switch {
	case h.core != plugin.CoreProtocolVersion || h.protocol != string(plugin.ProtocolGRPC):
		return fmt.Sprintf("it speaks go-plugin's protocol %s version %d, and a Weir plugin speaks grpc version %d", h.protocol, h.core, plugin.CoreProtocolVersion), ErrNotPlugin
	case h.version > newest:
		return fmt.Sprintf("it speaks version %d of the plugin protocol and this host %s: use a newer weir, or an older release of the plugin", h.version, speaks), ErrHostTooOld
	case !slices.Contains(versions, h.version):
		return fmt.Sprintf("it speaks version %d of the plugin protocol and this host %s: use a newer release of the plugin, or build it again with a current SDK", h.version, speaks), ErrPluginTooOld
	}
	if h.network == "tcp" {
		if at, err := netip.ParseAddrPort(h.address); err != nil || !at.Addr().IsLoopback() {
			return fmt.Sprintf("it listens on %s, which is not an address of this machine's loopback", h.address), ErrNotPlugin
		}
	}
	return "", nil
}

// filterStdout passes the first handshake that can be gone on with to shake, and
// every other line of the process's standard output to out. It returns when r ends.
func filterStdout(r io.Reader, shake *io.PipeWriter, out *output, accept func(handshake) bool) {
	defer func() { _ = shake.Close() }()
	shaken := false
	readLines(r, func(text []byte) {
		if shaken {
			out.add(text, true)
			return
		}
		h, ok := parseHandshake(string(text))
		if !ok {
			out.add(text, true)
			return
		}
		shaken = true
		if !accept(h) {
			_ = shake.Close()
			return
		}
		_, _ = fmt.Fprintf(shake, "%s\n", text)
	})
}
