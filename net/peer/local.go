package peer

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/pion/logging"
	"github.com/pion/mdns/v2"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// Nodes announce themselves on the local network by multicast DNS (RFC 6762)
// as a service (RFC 6763) with the first bytes of the chain id. All of it may
// be a lie: it yields an address to try, and the handshake says who is there.
const (
	localService = "_postern._udp"
	chainText    = "chain"

	// What answers within a browseFor is kept by the library until it ends, so
	// it is short: the bound of what a flood on the local network can hold.
	browseFor   = 3 * time.Second
	browseSoon  = 10 * time.Second // pause while no node of the ledger is connected
	browseLater = 5 * time.Minute
	localRetry  = time.Minute // after the sockets could not be had
)

// findLocal announces this node and looks for others until ctx ends.
func (n *Network) findLocal(ctx context.Context) {
	for ctx.Err() == nil {
		if err := n.local(ctx, n.foundLocal); err != nil {
			n.log.Warn("nodes on the local network cannot be found", "err", err)
			pause(ctx, localRetry)
		}
	}
}

// chainTag is what an announcement says of the chain.
func (n *Network) chainTag() string { return hex.EncodeToString(n.config.Chain[:8]) }

// foundLocal takes in an announcement.
func (n *Network) foundLocal(e mdns.ServiceEvent) {
	if address, ok := n.localAddress(&e); ok {
		n.book.find(address, time.Now())
		n.poke()
	}
}

// localAddress is the address in an announcement of another node of the chain.
func (n *Network) localAddress(e *mdns.ServiceEvent) (string, bool) {
	s := &e.Instance
	if s.Service != localService || s.Instance == n.key.String() || !e.Addr.IsValid() {
		return "", false
	}
	ofChain := false
	for _, t := range s.Text {
		ofChain = ofChain || t.Key == chainText && string(t.Value) == n.chainTag()
	}
	address := netip.AddrPortFrom(e.Addr.Unmap(), s.Port).String()
	return address, ofChain && plausible(address, n.Addr())
}

// multicast announces this node and hands on what others announce until ctx
// ends. It is what Network.local does outside of tests.
func (n *Network) multicast(ctx context.Context, found func(mdns.ServiceEvent)) error {
	own, ok := addrPort(n.Addr())
	if !ok {
		return fmt.Errorf("%v is not a UDP address", n.Addr())
	}
	name := n.key.String()
	options := []mdns.ServerOption{
		mdns.WithLoggerFactory(&logging.DefaultLoggerFactory{DefaultLogLevel: logging.LogLevelDisabled}),
		mdns.WithLocalNames("postern-" + name + ".local"),
		mdns.WithCacheRefresh(false),
		mdns.WithQueryInterval(browseFor / 2),
		mdns.WithService(mdns.ServiceInstance{
			Instance: name, Service: localService, Domain: "local", Port: own.Port(),
			Text: []mdns.TXTEntry{mdns.NewTXTString(chainText, n.chainTag())},
		}),
	}
	if !own.Addr().IsUnspecified() {
		options = append(options, mdns.WithLocalAddress(own.Addr().AsSlice()))
	}
	if own.Addr().IsLoopback() {
		options = append(options, mdns.WithIncludeLoopback(true))
	}
	four, six, err := multicastSockets()
	if err != nil {
		return err
	}
	m, err := mdns.NewServer(four, six, options...)
	if err != nil {
		return errors.Join(err, closeSockets(four, six))
	}
	m.OnServiceDiscovered(found)
	err = n.browse(ctx, m)
	return errors.Join(err, m.Close())
}

// browse asks for other nodes again and again.
func (n *Network) browse(ctx context.Context, m *mdns.Conn) error {
	for {
		window, cancel := context.WithTimeout(ctx, browseFor)
		err := m.Browse(window, localService)
		<-window.Done()
		cancel()
		if err != nil || ctx.Err() != nil {
			return err
		}
		rest := browseSoon
		if n.familiar() {
			rest = browseLater
		}
		if !pause(ctx, rest) {
			return nil
		}
	}
}

// multicastSockets opens the sockets of both families, or the one that there is.
func multicastSockets() (*ipv4.PacketConn, *ipv6.PacketConn, error) {
	var four *ipv4.PacketConn
	var six *ipv6.PacketConn
	c4, err4 := listenMulticast("udp4", mdns.DefaultAddressIPv4)
	if err4 == nil {
		four = ipv4.NewPacketConn(c4)
	}
	c6, err6 := listenMulticast("udp6", mdns.DefaultAddressIPv6)
	if err6 == nil {
		six = ipv6.NewPacketConn(c6)
	}
	if four == nil && six == nil {
		return nil, nil, errors.Join(err4, err6)
	}
	return four, six, nil
}

func listenMulticast(network, address string) (*net.UDPConn, error) {
	addr, err := net.ResolveUDPAddr(network, address)
	if err != nil {
		return nil, err
	}
	return net.ListenUDP(network, addr)
}

func closeSockets(four *ipv4.PacketConn, six *ipv6.PacketConn) (err error) {
	if four != nil {
		err = four.Close()
	}
	if six != nil {
		err = errors.Join(err, six.Close())
	}
	return err
}
