package peer

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/quic-go/quic-go"
	"golang.org/x/time/rate"

	"github.com/seed79541315/postern/abi"
)

// Connections of others whose hello has not come yet, at a time. The places of
// addresses from which a known node came before are kept apart, so that a flood
// of handshakes does not keep nodes from each other.
const (
	maxPending         = 32
	maxPendingAddress  = 16 // of one IPv4 address or IPv6 /64
	maxPendingFamiliar = 32
	strangeRate        = 4   // times HandshakeRate that are begun a second from other addresses
	maxFamiliar        = 256 // addresses remembered
)

// admission bounds what connections cost before it is known whose they are.
type admission struct {
	stats      *counters
	handshakes *rate.Limiter // without a Retry
	strangers  *rate.Limiter // of addresses that are not familiar

	mu        sync.Mutex // guards what follows
	strange   int
	familiar  int
	addresses map[netip.Prefix]int
	known     map[netip.Addr]*rate.Limiter // familiar addresses, each with a rate of its own
}

// pending is one connection until it is settled.
type pending struct {
	admission *admission
	ip        netip.Addr
	familiar  bool
	once      sync.Once
}

type pendingKey struct{}

func newAdmission(c *Config, stats *counters) *admission {
	return &admission{
		stats:      stats,
		handshakes: rate.NewLimiter(rate.Limit(c.HandshakeRate), c.HandshakeRate),
		strangers:  rate.NewLimiter(rate.Limit(strangeRate*c.HandshakeRate), strangeRate*c.HandshakeRate),
		addresses:  map[netip.Prefix]int{}, known: map[netip.Addr]*rate.Limiter{},
	}
}

// mustRetry says whether an address must first prove itself by a Retry, so that
// a forged one uses up nobody's place.
func (a *admission) mustRetry(net.Addr) bool {
	a.mu.Lock()
	crowded := a.strange >= maxPending/4 || a.familiar >= maxPendingFamiliar/4
	a.mu.Unlock()
	if crowded || !a.handshakes.Allow() {
		a.stats.retries.Add(1)
		return true
	}
	return false
}

// open admits a connection by its address, before any handshake work.
func (a *admission) open(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
	from, _ := addrPort(info.RemoteAddr)
	p := &pending{admission: a, ip: from.Addr()}
	a.mu.Lock()
	defer a.mu.Unlock()
	limiter := a.known[p.ip]
	p.familiar = limiter != nil
	switch {
	case p.familiar && a.familiar < maxPendingFamiliar && limiter.Allow():
		a.familiar++
	case !p.familiar && a.strange < maxPending && a.addresses[p.prefix()] < maxPendingAddress && a.strangers.Allow():
		a.strange++
		a.addresses[p.prefix()]++
	default:
		a.stats.refusedPending.Add(1)
		return nil, fmt.Errorf("too many handshakes: %w", abi.CodeBusy)
	}
	context.AfterFunc(ctx, p.settle)
	return context.WithValue(ctx, pendingKey{}, p), nil
}

// prefix is what counts as one address: an IPv4 address, or the /64 that one
// IPv6 subscriber holds.
func (p *pending) prefix() netip.Prefix {
	bits := 32
	if p.ip.Is6() {
		bits = 64
	}
	prefix, err := p.ip.WithZone("").Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}

// settle gives a connection's place back.
func (p *pending) settle() {
	p.once.Do(func() {
		a := p.admission
		a.mu.Lock()
		defer a.mu.Unlock()
		if p.familiar {
			a.familiar--
			return
		}
		a.strange--
		if a.addresses[p.prefix()]--; a.addresses[p.prefix()] == 0 {
			delete(a.addresses, p.prefix())
		}
	})
}

// settle gives back the place of the connection with this context.
func (a *admission) settle(ctx context.Context) {
	if p, ok := ctx.Value(pendingKey{}).(*pending); ok {
		p.settle()
	}
}

// met remembers the address of a node that the ledger knows.
func (a *admission) met(addr net.Addr) {
	from, ok := addrPort(addr)
	if !ok {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.known[from.Addr()] != nil {
		return
	}
	if len(a.known) >= maxFamiliar {
		for other := range a.known {
			delete(a.known, other)
			break
		}
	}
	a.known[from.Addr()] = rate.NewLimiter(a.handshakes.Limit(), 2*a.handshakes.Burst())
}
