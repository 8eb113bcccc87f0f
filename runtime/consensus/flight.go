package consensus

import (
	"slices"
	"time"

	"github.com/hyperledger-labs/SmartBFT/smartbftprotos"
)

// flight is the block that this validator votes for in a change of view, in a
// view of its own that is already over.
type flight struct{ view, height uint64 }

// is tells whether a message is the vote.
func (f flight) is(m *smartbftprotos.Message) bool {
	c := m.GetCommit()
	return c != nil && f.height != 0 && !c.Assist && c.View == f.view && c.Seq == f.height
}

// hurry ends SmartBFT's wait before it votes for the block in flight. It waits
// for two ticks, for the others to be as far, with a lock held at which every
// message of a peer stops, and without listening for the stop. The vote is
// held back instead.
func (r *replica) hurry() {
	for range 2 {
		select {
		case r.ticks <- time.Now():
		default:
		}
	}
}

// stale tells whether a message belongs to a view that is over here. Of the
// leader SmartBFT would take it for a fault: a vote for the block in flight
// that comes after this validator has entered the new view stops that view.
func (r *replica) stale(from uint64, m *smartbftprotos.Message) bool {
	var view, height uint64
	switch c := m.GetContent().(type) {
	case *smartbftprotos.Message_PrePrepare:
		view, height = c.PrePrepare.GetView(), c.PrePrepare.GetSeq()
	case *smartbftprotos.Message_Prepare:
		view, height = c.Prepare.GetView(), c.Prepare.GetSeq()
	case *smartbftprotos.Message_Commit:
		view, height = c.Commit.GetView(), c.Commit.GetSeq()
	default:
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if height > r.spoke[from] {
		r.spoke[from] = height
		poke(r.wake)
	}
	return view < r.entered && r.flight != flight{view, height}
}

// othersHave is the height that one more has than may lie, by what they work
// at. It needs mu.
func (r *replica) othersHave() uint64 {
	var heights []uint64
	for _, v := range r.set {
		heights = append(heights, r.spoke[v.ID])
	}
	slices.Sort(heights)
	return max(heights[len(heights)-1-r.set.Faults()], 1) - 1
}
