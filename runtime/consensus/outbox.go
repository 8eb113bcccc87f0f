package consensus

import (
	"time"

	"github.com/hyperledger-labs/SmartBFT/smartbftprotos"
)

// outbox holds what this node said for the block in the making, to say it
// again when the block does not come. SmartBFT sends everything once: a
// proposal that reaches a follower before it has started the new leader's view
// is lost, as is what a slow stream drops, and the view would wait until it is
// changed.
//
// It forgets at every change of view: a message of an old view from the new
// leader makes followers complain.
type outbox struct {
	view, height uint64
	messages     []*smartbftprotos.Message
	next         time.Time
	wait         time.Duration

	held   *smartbftprotos.Message // a vote for the block in flight, or nil
	heldTo time.Time
}

// Bounds of the time between two repetitions; it doubles.
const (
	repeatAfter = 400 * time.Millisecond // beyond a heartbeat, which tells of a view learnt by a sync
	repeatMost  = 5 * time.Second
	flightDelay = 200 * time.Millisecond // as long as SmartBFT's two ticks at most
)

// hold keeps a vote for the block in flight until the others have received the
// new view as well: before, they would drop it. It is sent in any case, also
// when this validator needs it no more.
func (o *outbox) hold(m *smartbftprotos.Message, now time.Time) {
	if o.held != m {
		o.held, o.heldTo = m, now.Add(flightDelay)
	}
}

// release returns the held vote when it is time, and how long it takes else.
// From then on it is repeated like others.
func (o *outbox) release(now time.Time) (*smartbftprotos.Message, time.Duration) {
	m := o.held
	if m == nil {
		return nil, 0
	}
	if wait := o.heldTo.Sub(now); wait > 0 {
		return nil, wait
	}
	o.held = nil
	o.add(m, m.GetCommit().View, m.GetCommit().Seq, now)
	return m, 0
}

// note sees a message being broadcast. It says whether it is the first of its
// block.
func (o *outbox) note(m *smartbftprotos.Message, now time.Time) (first bool) {
	switch c := m.GetContent().(type) {
	case *smartbftprotos.Message_PrePrepare:
		return o.add(m, c.PrePrepare.View, c.PrePrepare.Seq, now)
	case *smartbftprotos.Message_Prepare:
		return !c.Prepare.Assist && o.add(m, c.Prepare.View, c.Prepare.Seq, now)
	case *smartbftprotos.Message_Commit:
		// One without a prepare belongs to a change of view.
		if !c.Commit.Assist && len(o.messages) > 0 && o.view == c.Commit.View && o.height == c.Commit.Seq {
			o.messages = append(o.messages, m)
		}
	case *smartbftprotos.Message_ViewChange, *smartbftprotos.Message_ViewData, *smartbftprotos.Message_NewView:
		o.messages = nil
	case *smartbftprotos.Message_HeartBeat:
		if c.HeartBeat.View > o.view {
			o.messages = nil
		}
	}
	return false
}

func (o *outbox) add(m *smartbftprotos.Message, view, height uint64, now time.Time) (first bool) {
	first = len(o.messages) == 0 || o.view != view || o.height != height
	if first {
		*o = outbox{view: view, height: height, wait: repeatAfter, next: now.Add(repeatAfter), held: o.held, heldTo: o.heldTo}
	}
	o.messages = append(o.messages, m)
	return first
}

// due returns what is to be repeated now, and how long until the next time;
// nothing and zero once the ledger has the block.
func (o *outbox) due(head uint64, now time.Time) ([]*smartbftprotos.Message, time.Duration) {
	if o.height <= head {
		o.messages = nil
	}
	if len(o.messages) == 0 {
		return nil, 0
	}
	if wait := o.next.Sub(now); wait > 0 {
		return nil, wait
	}
	o.wait = min(2*o.wait, repeatMost)
	o.next = now.Add(o.wait)
	return o.messages, o.wait
}
