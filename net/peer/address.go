package peer

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/seed79541315/postern/abi"
)

// validAddress says whether s is host:port, with a port above 0, and as host an
// address of one machine or a name.
func validAddress(s string) bool {
	if len(s) > maxAddress {
		return false
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || port[0] == '0' {
		return false
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return !ip.IsUnspecified() && !ip.IsMulticast()
	}
	return host != "" && strings.IndexFunc(host, notInName) < 0
}

func notInName(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '.' && r != '_'
}

// plausible says whether a node at teller may tell of an address: one of its
// own machine means nothing elsewhere.
func plausible(address string, teller net.Addr) bool {
	if !validAddress(address) {
		return false
	}
	to, err := netip.ParseAddrPort(address)
	if err != nil || !to.Addr().Unmap().IsLoopback() {
		return true
	}
	from, ok := addrPort(teller)
	return ok && from.Addr().IsLoopback()
}

// addrPort is a UDP address in the one form that compares equal.
func addrPort(a net.Addr) (netip.AddrPort, bool) {
	udp, ok := a.(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}, false
	}
	p := udp.AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port()), true
}

// resolve finds the UDP address behind host:port. A name with several is tried
// by turns.
func resolve(ctx context.Context, address string, turn int) (*net.UDPAddr, error) {
	if p, err := netip.ParseAddrPort(address); err == nil {
		return net.UDPAddrFromAddrPort(netip.AddrPortFrom(p.Addr().Unmap(), p.Port())), nil
	}
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return nil, err
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	if len(ips) == 0 {
		return nil, fmt.Errorf("%s has no address: %w", host, abi.CodeUnavailable)
	}
	return net.UDPAddrFromAddrPort(netip.AddrPortFrom(ips[turn%len(ips)].Unmap(), uint16(port))), nil
}
