package peer

import (
	"sync/atomic"
	"time"
)

// kind is what a unidirectional stream carries: its first byte.
type kind uint8

const (
	kindControl     kind = 1 // hello, heads, addresses; opened first
	kindConsensus   kind = 2
	kindTransaction kind = 3
	kindRequest     kind = 4 // of the counters alone: requests have streams of their own
	kindCount            = 5
)

func (k kind) String() string {
	switch k {
	case kindControl:
		return "control"
	case kindConsensus:
		return "consensus"
	case kindTransaction:
		return "transaction"
	}
	return "request"
}

// Traffic counts the messages of one kind, since New. Bytes are those of the
// messages, without what frames and packets add.
type Traffic struct {
	Kind                    string // control, consensus, transaction, request
	Sent, SentBytes         uint64
	Received, ReceivedBytes uint64
	Dropped                 uint64 // not sent: not connected, or the peer was too slow
	Ignored                 uint64 // not handed on: the sender's class may not say it
	Waiting, WaitingBytes   int    // in the queues of all peers now
}

// Stats is a snapshot of a Network's counters, which begin at zero with it.
type Stats struct {
	Strangers, Nodes, Validators int // connected now
	Dials, DialsFailed           uint64
	Accepted                     uint64 // handshakes of others completed
	RefusedPending               uint64 // handshakes not begun: too many at a time
	Retries                      uint64 // addresses made to prove themselves
	RefusedStrangers             uint64
	Unknown                      uint64 // connections and requests that others refused since they do not know this node's key
	RefusedBanned                uint64
	RefusedFull                  uint64
	Duplicates                   uint64 // connections closed for another with the same peer
	Lost                         uint64 // connections given up because nothing came back
	Misbehaved                   uint64
	Banned                       int // keys refused now
	Known                        int // nodes whose address is remembered
	Traffic                      []Traffic
}

type trafficCounters struct {
	sent, sentBytes, received, receivedBytes, dropped, ignored atomic.Uint64
}

func (t *trafficCounters) out(bytes int) { t.sent.Add(1); t.sentBytes.Add(uint64(bytes)) }
func (t *trafficCounters) in(bytes int)  { t.received.Add(1); t.receivedBytes.Add(uint64(bytes)) }

type counters struct {
	dials, dialsFailed, accepted, refusedPending, retries    atomic.Uint64
	refusedStrangers, refusedBanned, refusedFull, duplicates atomic.Uint64
	lost, misbehaved, unknown                                atomic.Uint64
	traffic                                                  [kindCount]trafficCounters
}

// Stats returns the counters as they are now.
func (n *Network) Stats() Stats {
	c := &n.stats
	s := Stats{
		Dials: c.dials.Load(), DialsFailed: c.dialsFailed.Load(), Accepted: c.accepted.Load(),
		RefusedPending: c.refusedPending.Load(), Retries: c.retries.Load(),
		RefusedStrangers: c.refusedStrangers.Load(), RefusedBanned: c.refusedBanned.Load(), RefusedFull: c.refusedFull.Load(),
		Unknown: c.unknown.Load(), Duplicates: c.duplicates.Load(), Lost: c.lost.Load(), Misbehaved: c.misbehaved.Load(),
		Banned: n.bans.count(time.Now()), Known: n.book.count(),
	}
	for k := kindControl; k < kindCount; k++ {
		t := &c.traffic[k]
		s.Traffic = append(s.Traffic, Traffic{
			Kind: k.String(), Sent: t.sent.Load(), SentBytes: t.sentBytes.Load(),
			Received: t.received.Load(), ReceivedBytes: t.receivedBytes.Load(),
			Dropped: t.dropped.Load(), Ignored: t.ignored.Load(),
		})
	}
	for _, c := range n.all() {
		switch c.standing() {
		case Stranger:
			s.Strangers++
		case Node:
			s.Nodes++
		case Validator:
			s.Validators++
		}
		for k, q := range c.queues {
			if q != nil {
				count, bytes := q.size()
				s.Traffic[k-1].Waiting += count
				s.Traffic[k-1].WaitingBytes += bytes
			}
		}
	}
	return s
}
