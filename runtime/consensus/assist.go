package consensus

import (
	"github.com/hyperledger-labs/SmartBFT/pkg/types"
	"github.com/hyperledger-labs/SmartBFT/smartbftprotos"
)

// assist gives SmartBFT its view changer's ticks, and answers its questions
// about the others' views, until the attempt ends.
func (r *replica) assist() {
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-r.asked:
			r.answer()
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
	members, state := r.members, r.known()
	r.mu.Unlock()
	m := &smartbftprotos.Message{Content: &smartbftprotos.Message_StateTransferResponse{
		StateTransferResponse: &smartbftprotos.StateTransferResponse{ViewNum: state.View, Sequence: state.Seq}}}
	for _, id := range members[:faults(len(members))+1] {
		r.bft.HandleMessage(id, m)
	}
}

// known is the newest view that one more has told of than may lie, or nothing.
// It needs mu.
func (r *replica) known() (best types.ViewAndSeq) {
	count := map[types.ViewAndSeq]int{}
	for _, s := range r.states {
		if count[s]++; count[s] > faults(len(r.members)) && (s.View > best.View || s.View == best.View && s.Seq > best.Seq) {
			best = s
		}
	}
	return best
}

// faults is how many of n validators may lie.
func faults(n int) int { return max(0, (n-1)/3) }

// heard notes what a peer says of its view, which SmartBFT is told when it
// asks.
func (r *replica) heard(from uint64, m *smartbftprotos.Message) bool {
	s := m.GetStateTransferResponse()
	if s == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.states[from] = types.ViewAndSeq{View: s.ViewNum, Seq: s.Sequence}
	return true
}
