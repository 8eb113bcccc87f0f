package peer

import (
	"context"
	"time"

	"github.com/seed79541315/postern/abi"
)

// A path that died is found long before idleTimeout: whoever sends gets at
// least acknowledgements, so a connection that sent deadPackets and heard
// nothing for deadAfter is given up and dialled again. QUIC alone would go on
// probing at pauses that double, and find a path that came back late.
const (
	watchEvery  = 2 * time.Second
	deadAfter   = 6 * time.Second
	deadPackets = 4 // an idle side may yet send an acknowledgement or two
)

// strangerKept is how long a stranger that was found on the local network is
// kept once the ledger's nodes are connected.
const strangerKept = 10 * time.Minute

// pulse is what was seen of a connection last.
type pulse struct {
	received, sent uint64 // packets; sent at the time of the last change of received
	at             time.Time
}

// dead takes the packet counts and says whether the other side is gone.
func (p *pulse) dead(received, sent uint64, now time.Time) bool {
	if received != p.received || p.at.IsZero() {
		*p = pulse{received: received, sent: sent, at: now}
		return false
	}
	return now.Sub(p.at) >= deadAfter && sent >= p.sent+deadPackets
}

// watch gives up dead connections and tells peers of each other.
func (n *Network) watch(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	told := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		for _, c := range n.all() {
			n.check(c, now)
		}
		if now.Sub(told) >= tellEvery {
			told = now
			list := n.reachable()
			for _, c := range n.all() {
				c.tell(list)
			}
		}
	}
}

// check looks after one connection.
func (n *Network) check(c *conn, now time.Time) {
	s := c.quic.ConnectionStats()
	switch {
	case c.heard.dead(s.PacketsReceived, s.PacketsSent, now):
		n.stats.lost.Add(1)
		c.close(abi.CodeTimeout)
	case c.standing() == Stranger && !c.isKept && now.Sub(c.since) > strangerKept && n.familiar():
		c.close(abi.CodeUnknownKey)
	}
}

// familiar says whether a node of the ledger is connected.
func (n *Network) familiar() bool {
	for _, c := range n.all() {
		if c.standing() != Stranger {
			return true
		}
	}
	return false
}
