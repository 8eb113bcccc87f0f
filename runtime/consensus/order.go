package consensus

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hyperledger-labs/SmartBFT/pkg/types"
	"github.com/hyperledger-labs/SmartBFT/smartbftprotos"
	"google.golang.org/protobuf/proto"
)

// order keeps what others say of the blocks after the one in the making, and
// hands it to SmartBFT when the blocks before are there. Left to itself SmartBFT
// syncs when two say more than it can follow, and each sync starts its view anew
// without the messages that it had: a validator that is a little slower than a
// quorum, or missed one message, would sync for each second block for ever, and
// vote for none of them.
type order struct {
	moved chan struct{} // capacity one; the ledger may have another block, or the view was started anew

	mu       sync.Mutex // guards what follows
	kept     map[letter]*kept
	votes    map[uint64]int    // bytes, by sender
	blocks   int               // bytes of proposals
	proposer uint64            // whose proposals are kept
	refused  map[string]uint64 // digests of proposals, and the block that was next then
	anew     bool              // SmartBFT has forgotten what it was given
}

// letter names a message; a validator says one of a kind for a block in a view.
type letter struct {
	height uint64
	kind   byte
	from   uint64
}

// The kinds of messages, in the order in which SmartBFT gets them.
const (
	ofProposal byte = iota
	ofPrepare
	ofVote
)

func newOrder() *order {
	return &order{moved: make(chan struct{}, 1), kept: map[letter]*kept{}, votes: map[uint64]int{}, refused: map[string]uint64{}}
}

type kept struct {
	message *smartbftprotos.Message
	view    uint64
	size    int
	given   int // times, to SmartBFT
}

// Bounds of what is kept: of all validators together 4 MiB of proposals, for
// only the present leader's are, and of each 128 KiB of prepares and votes.
// Beyond them SmartBFT gets a message at once, and syncs.
const (
	orderAhead   = 32 // blocks after the ledger's
	orderBlocks  = 4 << 20
	orderVotes   = 128 << 10 // of one validator
	orderHead    = 512       // bytes that a message takes in memory besides its content, or less
	orderTimes   = 6         // that a message is given: a leader's fault may be one that SmartBFT finds, and syncs for
	orderRefused = 64        // proposals for a block; after so many none is given again

	orderFirst = 5 * time.Millisecond // until what was given is given again, if no block came; four times as long then
	orderLast  = 400 * time.Millisecond
)

// letterOf reads what a message is about. Those that help another one, and those
// by which views change, are none.
func letterOf(from uint64, m *smartbftprotos.Message) (l letter, view uint64, ok bool) {
	switch c := m.GetContent().(type) {
	case *smartbftprotos.Message_PrePrepare:
		return letter{c.PrePrepare.GetSeq(), ofProposal, from}, c.PrePrepare.GetView(), c.PrePrepare.GetProposal() != nil
	case *smartbftprotos.Message_Prepare:
		return letter{c.Prepare.GetSeq(), ofPrepare, from}, c.Prepare.GetView(), !c.Prepare.GetAssist()
	case *smartbftprotos.Message_Commit:
		return letter{c.Commit.GetSeq(), ofVote, from}, c.Commit.GetView(), !c.Commit.GetAssist()
	}
	return l, 0, false
}

// inOrder keeps a message of a later block, and says whether SmartBFT gets it
// now: unless what it needs before is known.
func (r *replica) inOrder(from uint64, m *smartbftprotos.Message) bool {
	l, view, ok := letterOf(from, m)
	head := r.cfg.App.Head().Height
	if !ok || l.height <= head || l.height > head+orderAhead {
		return true
	}
	if leader, present := r.leads(view); !present || l.kind == ofProposal && from != leader {
		return true
	}
	now := r.order.keep(l, &kept{m, view, proto.Size(m) + orderHead, 0}, head)
	if !now {
		poke(r.order.moved)
	}
	return now
}

// keep keeps a message if there is room, and says whether SmartBFT gets it now.
func (o *order) keep(l letter, k *kept, head uint64) (now bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if l.kind == ofProposal && l.from != o.proposer {
		o.follow(l.from)
	}
	if before := o.kept[l]; before != nil {
		if before.view == k.view {
			k.given = before.given // that it is said again makes it no better
		}
		o.forget(l, before)
	}
	if !o.room(l, k.size) {
		return true
	}
	first := letter{head + 1, ofProposal, o.proposer}
	next := o.kept[first]
	now = l.height == head+1 || next == nil || o.hopeless(first, next)
	if now {
		k.given++
	}
	o.kept[l] = k
	o.count(l, k.size)
	return now
}

// follow drops the proposals of a former leader. It needs mu.
func (o *order) follow(leader uint64) {
	for l, k := range o.kept {
		if l.kind == ofProposal {
			o.forget(l, k)
		}
	}
	o.proposer = leader
}

// room needs mu.
func (o *order) room(l letter, size int) bool {
	if l.kind == ofProposal {
		return o.blocks+size <= orderBlocks
	}
	return o.votes[l.from]+size <= orderVotes
}

// count adds to the bytes of what is kept. It needs mu.
func (o *order) count(l letter, size int) {
	if l.kind == ofProposal {
		o.blocks += size
		return
	}
	if o.votes[l.from] += size; o.votes[l.from] == 0 {
		delete(o.votes, l.from)
	}
}

// forget needs mu.
func (o *order) forget(l letter, k *kept) {
	o.count(l, -k.size)
	delete(o.kept, l)
}

// refuse notes a proposal that this validator does not accept as its next block:
// SmartBFT syncs after it, and would have it again after the sync, without end.
func (o *order) refuse(raw *types.Proposal, next uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.refused) < orderRefused {
		o.refused[raw.Digest()] = next
	}
}

// hopeless tells whether SmartBFT has had a message too often, or it holds a
// proposal that was refused. It needs mu.
func (o *order) hopeless(l letter, k *kept) bool {
	if k.given >= orderTimes || l.kind != ofProposal || len(o.refused) == 0 {
		return k.given >= orderTimes
	}
	p := k.message.GetPrePrepare().GetProposal()
	raw := types.Proposal{Header: p.GetHeader(), Payload: p.GetPayload(), Metadata: p.GetMetadata(),
		VerificationSequence: int64(p.GetVerificationSequence())}
	_, refused := o.refused[raw.Digest()]
	return refused || len(o.refused) >= orderRefused
}

// due takes the messages of the next block that SmartBFT was not given, all if
// again is true, in order, and says whether others wait behind them.
func (o *order) due(head uint64, again bool) (list []letter, messages []*kept, waiting bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	maps.DeleteFunc(o.refused, func(_ string, next uint64) bool { return next <= head })
	for l, k := range o.kept {
		switch {
		case l.height <= head:
			o.forget(l, k)
		case l.height > head+1:
			waiting = true
		case (again || k.given == 0) && !o.hopeless(l, k):
			k.given++
			list = append(list, l)
		}
	}
	slices.SortFunc(list, func(a, b letter) int { return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.from, b.from)) })
	for _, l := range list {
		messages = append(messages, o.kept[l])
	}
	return list, messages, waiting
}

// restarted notes that SmartBFT starts its view anew.
func (o *order) restarted() {
	o.mu.Lock()
	o.anew = true
	o.mu.Unlock()
	poke(o.moved)
}

func (o *order) takeRestarted() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	anew := o.anew
	o.anew = false
	return anew
}

// putInOrder hands over what is kept until the attempt ends.
func (r *replica) putInOrder() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	p := newPace(0)
	for {
		again := false
		select {
		case <-r.ctx.Done():
			return
		case <-r.order.moved:
		case <-timer.C:
			again = true
		}
		head, anew := r.cfg.App.Head().Height, r.order.takeRestarted()
		again = p.note(head, anew, again)
		list, messages, waiting := r.order.due(head, again || anew)
		for i, k := range messages {
			if _, present := r.leads(k.view); present {
				r.take(list[i].from, k.message)
			}
		}
		timer.Stop()
		if next := p.next(anew || again || waiting, time.Now()); next > 0 {
			timer.Reset(next)
		}
	}
}

// pace is when to give SmartBFT again what it was given, which may be lost while
// it starts a view anew: at pauses that grow, until a block comes.
type pace struct {
	head uint64
	wait time.Duration
	at   time.Time // zero: not
}

func newPace(head uint64) pace { return pace{head: head, wait: orderFirst} }

// note says whether it is time to give all again, unless a block has come.
func (p *pace) note(head uint64, anew, again bool) bool {
	switch {
	case anew || head > p.head:
		*p = newPace(head)
		return false
	case again:
		p.wait, p.at = 4*p.wait, time.Time{}
	}
	return again
}

// next is how long until then, zero if it needs not be.
func (p *pace) next(needed bool, now time.Time) time.Duration {
	if p.at.IsZero() && needed && p.wait <= orderLast {
		p.at = now.Add(p.wait)
	}
	if p.at.IsZero() {
		return 0
	}
	return max(p.at.Sub(now), 1)
}

// leads is the leader of a view, and whether that view is the present one, as far
// as SmartBFT tells.
func (r *replica) leads(view uint64) (leader uint64, present bool) {
	r.mu.Lock()
	leader, entered := r.set[view%uint64(len(r.set))].ID, r.entered
	r.mu.Unlock()
	return leader, view >= entered && leader == r.bft.GetLeaderID()
}
