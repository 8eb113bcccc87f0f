package gateway

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/time/rate"

	"github.com/seed79541315/postern/abi"
)

// admission counts connections by address and by key, before a handshake
// costs anything and once its key is proved.
type admission struct {
	config     *Config
	stats      *counters
	handshakes *rate.Limiter
	flood      floodWatch

	mu        sync.Mutex // guards what follows and the mutable fields of peers
	total     int
	strangers int // connections whose key the ledger did not know when they began
	addresses map[netip.Prefix]int
	keys      map[string]*account
	live      map[abi.Hash][]*conn // of an account, whatever keys it has had
}

// account is what one key has in use, over all its connections. Its bucket
// outlives them until it is full again, so reconnecting refills nothing.
type account struct {
	key     []byte
	conns   int           // guarded by admission.mu
	bucket  *rate.Limiter // nil: unlimited
	scarce  *rate.Limiter // what is had once a second: reports of inactive devices, anchors on demand
	large   slots         // large frames
	waiting slots         // waiting requests

	subscriptions slots
}

// peer is one connection from its first packet on.
type peer struct {
	address  netip.Prefix
	id       abi.Hash // once claimed: under which its conn is live
	account  *account // nil until claimed
	proved   bool     // the handshake is complete
	stranger bool     // counted as one
	closed   bool
}

// peerKey finds the peer in a connection's context.
type peerKey struct{}

// refillKeep is how many keys' buckets are kept beyond the connections that
// are allowed, before those that are full again are dropped.
const refillKeep = 1024

// perKeyShare is the part of a shared limit that one key may use.
const perKeyShare = 4

// strangersShare is the part of all connections that unknown keys may hold.
const strangersShare = 4

func newAdmission(c *Config, stats *counters) *admission {
	return &admission{
		config: c, stats: stats,
		handshakes: rate.NewLimiter(rate.Limit(c.HandshakeRate), c.HandshakeRate),
		flood:      floodWatch{limit: retriesEach * c.MaxConnections / 2},
		addresses:  map[netip.Prefix]int{},
		keys:       map[string]*account{},
		live:       map[abi.Hash][]*conn{},
	}
}

// mustRetry says whether a client must first prove its address by a Retry:
// when handshakes come too fast, and when a forged address could use up what
// is left for it or for everyone.
func (a *admission) mustRetry(addr net.Addr) bool {
	prefix := prefixOf(addr)
	a.mu.Lock()
	crowded := a.total >= a.config.MaxConnections/2 || a.addresses[prefix] >= a.config.MaxPerAddress/2
	a.mu.Unlock()
	if !crowded && a.handshakes.Allow() {
		return false
	}
	a.stats.retries.Add(1)
	if a.flood.retry(time.Now()) {
		a.attacked(AttackHandshakeFlood, &peer{address: prefix})
	}
	return true
}

// open admits a connection by its address, before any handshake work.
func (a *admission) open(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
	p := &peer{address: prefixOf(info.RemoteAddr)}
	if info.AddrVerified {
		a.flood.answered()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.total >= a.config.MaxConnections || a.addresses[p.address] >= a.config.MaxPerAddress {
		a.stats.refusedAddress.Add(1)
		a.attacked(AttackHandshakeFlood, p)
		return nil, fmt.Errorf("too many connections: %w", abi.CodeBusy)
	}
	a.total++
	a.addresses[p.address]++
	context.AfterFunc(ctx, func() { a.release(p, context.Cause(ctx)) })
	return context.WithValue(ctx, peerKey{}, p), nil
}

// claim gives a connection the account of the key that its handshake proved,
// and makes it one of the live connections of the ledger's account. Keys that
// the ledger does not know cost nothing to make, so they get only a share of all
// connections.
func (a *admission) claim(c *conn, key []byte, id abi.Hash) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	p, known := c.peer, c.standing.Known
	p.proved = true
	if p.closed {
		return abi.CodeUnavailable
	}
	if !known && a.strangers >= max(1, a.config.MaxConnections/strangersShare) {
		a.stats.refusedKey.Add(1)
		return abi.CodeBusy
	}
	acc := a.keys[string(key)]
	if acc == nil {
		a.sweep()
		acc = a.newAccount(key)
		a.keys[string(key)] = acc
	}
	if acc.conns >= a.config.MaxPerKey {
		a.stats.refusedKey.Add(1)
		return abi.CodeBusy
	}
	acc.conns++
	c.account, p.account, p.id = acc, acc, id
	a.live[id] = append(a.live[id], c)
	if !known {
		p.stranger = true
		a.strangers++
	}
	return nil
}

// connected returns those of the accounts that have a connection.
func (a *admission) connected(ids []abi.Hash) (there []abi.Hash) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, id := range ids {
		if len(a.live[id]) > 0 {
			there = append(there, id)
		}
	}
	return there
}

// connsOf returns the connections of an account.
func (a *admission) connsOf(id abi.Hash) []*conn {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.live[id])
}

// forget takes a connection out of the live ones. The caller holds mu.
func (a *admission) forget(p *peer) {
	rest := slices.DeleteFunc(a.live[p.id], func(c *conn) bool { return c.peer == p })
	if len(rest) == 0 {
		delete(a.live, p.id)
	} else {
		a.live[p.id] = rest
	}
}

func (a *admission) newAccount(key []byte) *account {
	acc := &account{
		key:     append([]byte(nil), key...),
		large:   newSlots(max(1, a.config.MaxLarge/perKeyShare)),
		waiting: newSlots(max(1, a.config.MaxWaiting/perKeyShare)),
		scarce:  rate.NewLimiter(1, 1),

		subscriptions: newSlots(max(1, a.config.MaxSubscriptions/perKeyShare)),
	}
	if n := a.config.RequestRate; n > 0 {
		acc.bucket = rate.NewLimiter(rate.Limit(n), max(n, abi.MaxBatch))
	}
	return acc
}

// release gives back what a connection held that ended with a cause.
func (a *admission) release(p *peer, cause error) {
	if badSignature(cause) {
		a.attacked(AttackBadSignatures, p)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	p.closed = true
	a.total--
	if a.addresses[p.address]--; a.addresses[p.address] == 0 {
		delete(a.addresses, p.address)
	}
	if !p.proved {
		a.stats.handshakesFailed.Add(1)
	}
	if p.account == nil {
		return
	}
	a.forget(p)
	if p.stranger {
		a.strangers--
	}
	if p.account.conns--; p.account.idle() {
		delete(a.keys, string(p.account.key))
	}
}

// sweep drops the accounts whose buckets have filled up.
func (a *admission) sweep() {
	if len(a.keys) < a.config.MaxConnections+refillKeep {
		return
	}
	for key, acc := range a.keys {
		if acc.idle() {
			delete(a.keys, key)
		}
	}
}

func (acc *account) idle() bool { return acc.conns == 0 && isFull(acc.bucket) && isFull(acc.scarce) }

func isFull(bucket *rate.Limiter) bool {
	return bucket == nil || bucket.Tokens() >= float64(bucket.Burst())
}

// prefixOf is what counts as one address: an IPv4 address, or the /64 that
// one IPv6 subscriber holds.
func prefixOf(addr net.Addr) netip.Prefix {
	udp, ok := addr.(*net.UDPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := udp.AddrPort().Addr().Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	prefix, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}

// slots is a counted limit that can be waited for.
type slots chan struct{}

func newSlots(n int) slots { return make(slots, n) }

// acquire waits for a slot until ctx ends.
func (s slots) acquire(ctx context.Context) bool {
	select {
	case s <- struct{}{}:
		return true
	default:
	}
	select {
	case s <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// try takes a slot if one is free.
func (s slots) try() bool {
	select {
	case s <- struct{}{}:
		return true
	default:
		return false
	}
}

func (s slots) release() { <-s }
