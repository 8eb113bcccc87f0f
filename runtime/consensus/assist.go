package consensus

import (
	"time"

	"github.com/hyperledger-labs/SmartBFT/pkg/types"
	"github.com/hyperledger-labs/SmartBFT/smartbftprotos"
)

// assist gives SmartBFT its view changer's ticks, what came early of a change of
// view, and answers to its questions about the others' views, until the attempt
// ends.
func (r *replica) assist() {
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-r.asked:
			r.answer()
			r.sayAgain()
			r.catchUp()
		case <-r.left:
			r.catchUp()
		case now := <-r.tickers[1].C:
			select {
			case r.ticks <- now:
			default:
			}
		}
	}
}

// answer tells SmartBFT at once in which view the others are, by what they said
// when it asked last. Left to itself it waits for their answers with a lock
// held that no decision passes. The first of two syncs asks, the second knows;
// what makes SmartBFT sync does so until it knows. Of all the words of one
// value that it takes for true, so many are needed here too.
func (r *replica) answer() {
	r.mu.Lock()
	set, state := r.set, r.others()
	r.mu.Unlock()
	m := &smartbftprotos.Message{Content: &smartbftprotos.Message_StateTransferResponse{
		StateTransferResponse: &smartbftprotos.StateTransferResponse{ViewNum: state.View, Sequence: state.Seq}}}
	for _, v := range set[:set.Faults()+1] {
		r.bft.HandleMessage(v.ID, m)
	}
}

// known is the newest view that one more has told of than may lie, or nothing.
// It needs mu.
func (r *replica) known() (best types.ViewAndSeq) {
	count := map[types.ViewAndSeq]int{}
	for _, s := range r.states {
		if count[s]++; count[s] > r.set.Faults() && (s.View > best.View || s.View == best.View && s.Seq > best.Seq) {
			best = s
		}
	}
	return best
}

// ask has the others tell their views and heights when SmartBFT has started: on
// an idle chain nothing else says that a block was decided between the sync and
// the start.
func (r *replica) ask() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.broadcast(&smartbftprotos.Message{Content: &smartbftprotos.Message_StateTransferRequest{
		StateTransferRequest: &smartbftprotos.StateTransferRequest{}}})
}

// heard notes what a peer says of its view, which SmartBFT is told when it
// asks, and the block that it waits for.
func (r *replica) heard(from uint64, m *smartbftprotos.Message) bool {
	s := m.GetStateTransferResponse()
	if s == nil {
		return false
	}
	r.mu.Lock()
	r.states[from] = types.ViewAndSeq{View: s.ViewNum, Seq: s.Sequence}
	r.spoke[from] = max(r.spoke[from], s.Sequence)
	r.mu.Unlock()
	poke(r.wake)
	return true
}

// complaint is a message by which a node asks another for a new view.
type complaint struct{ to, view uint64 }

const (
	complaintGap  = 300 * time.Millisecond // between two of the same; SmartBFT repeats them every second
	maxComplaints = 256                    // remembered
)

// echoes tells whether a complaint was sent just now. SmartBFT helps those who
// are behind by complaining of their view with them, and takes such help for a
// cry for help: two helpers would answer one another as fast as they can. It
// needs mu.
func (r *replica) echoes(to uint64, m *smartbftprotos.Message, now time.Time) bool {
	change := m.GetViewChange()
	if change == nil {
		return false
	}
	c := complaint{to, change.NextView}
	if now.Sub(r.complaint[c]) < complaintGap {
		return true
	}
	if r.complaint == nil || len(r.complaint) >= maxComplaints {
		r.complaint = map[complaint]time.Time{}
	}
	r.complaint[c] = now
	return false
}
