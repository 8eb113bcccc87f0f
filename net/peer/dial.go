package peer

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/time/rate"

	"github.com/seed79541315/postern/abi"
)

// How addresses are tried. A validator is missed by consensus at once, so the
// pauses between tries stay short for it, and for a configured address behind
// which nobody answered yet.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second  // of a validator
	patientPause = 30 * time.Second // of another configured node
	selfPause    = 5 * time.Minute  // before an address that is the node's own is tried again
	dialTimeout  = 10 * time.Second // with the name's resolution and the hello
	lived        = 10 * time.Second // a connection that lasted so long was a success

	keptTries = 3 // failures after which a configured node is sought at other addresses too

	// Learnt addresses may be lies that make this node send packets to others:
	// so few are tried at a time and a second.
	seekTries = 4
	seekRate  = 2
	wantNodes = 8 // learnt nodes that are no validators are dialled while fewer are connected
)

// backoff is the pause between tries: doubling, with a jitter of a quarter so
// that nodes that lost each other do not meet in step.
type backoff struct{ next time.Duration }

func (b *backoff) take(longest time.Duration) time.Duration {
	d := min(max(b.next, firstPause), longest)
	b.next = 2 * d
	return d - d/4 + rand.N(d/2+1)
}

// pause waits; it is false when ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// connect dials an address. key is who shall answer, zero for anyone. The
// connection is served until it ends; its gone says when.
func (n *Network) connect(ctx context.Context, address string, turn int, key Key, kept bool) (*conn, error) {
	dialing, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	n.stats.dials.Add(1)
	c, err := n.dial(dialing, address, turn, key, kept)
	if err != nil {
		n.stats.dialsFailed.Add(1)
		n.noteUnknown(err)
		n.log.Debug("dialling a peer", "addr", address, "err", err)
		return c, err
	}
	if n.config.Learn && !kept && c.standing() != Stranger {
		n.book.proved(c.key, address, time.Now())
	}
	n.tasks.Go(func() { n.serve(ctx, c) })
	return c, nil
}

func (n *Network) dial(ctx context.Context, address string, turn int, key Key, kept bool) (*conn, error) {
	addr, err := resolve(ctx, address, turn)
	if err != nil {
		return nil, err
	}
	q, err := n.transport.Dial(ctx, addr, n.tls, quicConfig(keepAlive))
	if err != nil {
		return nil, explain(err)
	}
	c := n.newConn(q)
	c.outbound, c.address, c.isKept, c.key = true, address, kept, key
	return c, n.greet(ctx, c, n.dials.Add(1))
}

// noteUnknown counts an error by which another side says that it does not know
// this node.
func (n *Network) noteUnknown(err error) {
	if errors.Is(err, abi.CodeUnknownKey) {
		n.stats.unknown.Add(1)
	}
}

// codeSilent is no code of an error.
const codeSilent quic.ApplicationErrorCode = 0

// keep holds a connection to a configured address. Whoever reads the log is
// told why there is none once for each kind of error, not at every try.
func (n *Network) keep(ctx context.Context, address string) {
	var wait backoff
	var who Key // who answered last
	fails := 0
	said := codeSilent
	for turn := 0; ctx.Err() == nil; turn++ {
		n.await(ctx, n.lookup(who)) // it may have dialled
		c, err := n.connect(ctx, address, turn, Key{}, true)
		if c != nil && c.key != (Key{}) {
			who = c.key
		}
		start := time.Now()
		switch {
		case err == nil:
			said = codeSilent
			n.setKept(who, true)
			n.await(ctx, c)
		case errors.Is(err, errDuplicate):
			n.setKept(who, true)
			n.await(ctx, n.lookup(who))
		case errors.Is(err, errSelf):
			pause(ctx, selfPause)
		case ctx.Err() == nil && codeOf(err) != said:
			said = codeOf(err)
			n.log.Warn("a configured node is not reached; trying on", "addr", address, "err", err)
		}
		if time.Since(start) >= lived {
			wait, fails = backoff{}, 0
		} else if fails++; fails == keptTries {
			n.setKept(who, false)
		}
		pause(ctx, wait.take(n.patience(who)))
	}
}

// await waits until there is no connection to a peer, be it another than c.
func (n *Network) await(ctx context.Context, c *conn) {
	for c != nil {
		select {
		case <-c.gone:
			c = n.lookup(c.key)
		case <-ctx.Done():
			return
		}
	}
}

// patience is the longest pause between two tries to reach a configured node.
func (n *Network) patience(who Key) time.Duration {
	if who == (Key{}) || n.config.Class(who) == Validator {
		return longestPause
	}
	return patientPause
}

// setKept says whether a key answers at a configured address, so that it needs
// not be sought.
func (n *Network) setKept(k Key, kept bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if kept {
		n.kept[k] = true
	} else {
		delete(n.kept, k)
	}
}

// seek dials nodes whose addresses were learnt from peers or found on the
// local network.
func (n *Network) seek(ctx context.Context) {
	limiter := rate.NewLimiter(seekRate, seekTries)
	places := make(chan struct{}, seekTries)
	for {
		key, address, wait := n.book.due(time.Now(), n.wanted)
		if address == "" {
			var loose time.Duration
			if address, loose = n.book.dueLoose(time.Now()); address == "" {
				n.idle(ctx, min(wait, loose))
			}
		}
		if ctx.Err() != nil {
			return
		}
		if address == "" {
			continue
		}
		if limiter.Wait(ctx) != nil {
			return
		}
		places <- struct{}{}
		n.tasks.Go(func() { n.try(ctx, key, address, func() { <-places }) })
	}
}

// idle waits until seek may have something to do.
func (n *Network) idle(ctx context.Context, wait time.Duration) {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-n.wake:
	case <-ctx.Done():
	}
}

// try dials one learnt address and, if that led to a connection, waits for its
// end. done is called when the dialling is over.
func (n *Network) try(ctx context.Context, key Key, address string, done func()) {
	c, err := n.connect(ctx, address, 0, key, false)
	done()
	start := time.Now()
	switch {
	case err == nil:
		n.await(ctx, c)
	case errors.Is(err, errDuplicate):
		n.await(ctx, n.lookup(c.key))
	}
	now := time.Now()
	switch {
	case key == (Key{}):
		n.book.triedLoose(address, now, now.Sub(start) >= lived || errors.Is(err, errSelf) || errors.Is(err, abi.CodeUnknownKey))
	case now.Sub(start) >= lived:
		n.book.rest(key, now)
	default:
		longest := longRetry
		if n.config.Class(key) == Validator {
			longest = longestPause
		}
		n.book.failed(key, address, now, errors.Is(err, errOtherKey), longest)
	}
	n.poke()
}

// wanted says whether a node is to be dialled: each validator, and a few
// others.
func (n *Network) wanted(k Key) bool {
	class := n.config.Class(k)
	if class == Stranger || n.bans.refused(k, time.Now()) > 0 {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.conns[k] == nil && !n.kept[k] && (class == Validator || len(n.conns) < wantNodes)
}
