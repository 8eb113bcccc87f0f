package consensus

import (
	"slices"

	"github.com/hyperledger-labs/SmartBFT/pkg/types"
	"github.com/hyperledger-labs/SmartBFT/smartbftprotos"
)

// Validators that hear little of each other while changes of view fail come to
// ask for different views, and SmartBFT counts a complaint only if it is for the
// view that is next at the receiver. Whoever is behind the others follows them
// here: where more validators than may lie ask for later views, too few are left
// for its own.

// heardWish notes which view a validator complains for.
func (r *replica) heardWish(from uint64, m *smartbftprotos.Message) {
	change := m.GetViewChange()
	if change == nil {
		return
	}
	r.mu.Lock()
	r.wishes[from] = max(r.wishes[from], change.NextView)
	apart := r.meeting() > r.promises.least
	r.mu.Unlock()
	if apart {
		r.prompt()
	}
}

// meeting is the last view that one more validator than may lie wants to leave.
// It needs mu.
func (r *replica) meeting() uint64 {
	var wishes []uint64
	for _, v := range r.set {
		wishes = append(wishes, r.wishes[v.ID])
	}
	slices.Sort(wishes)
	return max(wishes[len(wishes)-1-r.set.Faults()], 1) - 1
}

// others is what SmartBFT is to believe of the others' views: what they said
// of theirs, or the view from which this validator can join those who are ahead.
// It needs mu.
func (r *replica) others() types.ViewAndSeq {
	said, meeting := r.known(), r.meeting()
	if said.View >= meeting || meeting <= r.promises.least {
		r.offered = said.View
		r.enter(said.View)
		return said
	}
	return types.ViewAndSeq{View: meeting, Seq: r.cfg.App.Head().Height + 1}
}

// enter notes that a view was formed: that of more validators than may lie one
// has seen a quorum's words for it. It needs mu.
func (r *replica) enter(view uint64) {
	if p := &r.promises; view == p.unformed {
		p.unformed = 0
	}
}

// join changes the record of a new view that this validator joins only to leave
// it. The view may never have been, for nobody has weighed what was in flight
// before it: no block of it is acceptable, and it must not be told to others or
// be found in the log as one that was formed. It needs mu.
func (r *replica) join(m *smartbftprotos.SavedMessage) (joins bool) {
	view := m.GetNewView().GetViewId()
	if m.GetNewView() == nil || view == r.offered || view <= r.promises.least {
		return false
	}
	r.promises.unformed = view
	m.Content = &smartbftprotos.SavedMessage_ViewChange{ViewChange: &smartbftprotos.ViewChange{NextView: view - 1}}
	return true
}

// formed is the last view that this validator knows to have been formed. It
// needs mu.
func (r *replica) formed() uint64 {
	return max(r.entered, r.promises.accepted.view, r.decidedIn)
}

// tellFormed keeps an answer about this validator's view to one that it knows to
// have been formed, and to the height that it has come to: after a start SmartBFT
// tells of the view that it is about to leave, and where one more than may lie
// told so, others would take up that view and vote in it, though no quorum has
// said what was in flight. It needs mu.
func (r *replica) tellFormed(m *smartbftprotos.Message) *smartbftprotos.Message {
	s := m.GetStateTransferResponse()
	if s == nil {
		return m
	}
	return &smartbftprotos.Message{Content: &smartbftprotos.Message_StateTransferResponse{
		StateTransferResponse: &smartbftprotos.StateTransferResponse{ViewNum: min(s.ViewNum, r.formed()), Sequence: r.cfg.App.Head().Height + 1}}}
}
