package consensus

import (
	"math"
	"time"

	"github.com/hyperledger-labs/SmartBFT/smartbftprotos"
)

// A change of view needs the words of a quorum, and SmartBFT takes none of a
// validator whose ledger is behind the new leader's, nor any that is two blocks
// ahead of its own. With no more validators alive than a quorum, one that has
// missed a block stops the change. So each tells its height when it complains of
// a leader, whoever is behind syncs at once and says its word again, and what is
// too far ahead is kept until then.

// lastWord is where this validator's last word in a change of view went.
type lastWord struct {
	to, view uint64
	decided  uint64 // the height that it named
}

// tellHeight follows a complaint about a leader: it tells which block this
// validator waits for and whether it has prepared one, by a vote for it that is
// not signed. It needs mu.
func (r *replica) tellHeight(to uint64) {
	c := r.claimed()
	r.send(to, &smartbftprotos.Message{Content: &smartbftprotos.Message_Commit{
		Commit: &smartbftprotos.Commit{Seq: c.height, View: c.view, Digest: c.block, Assist: true}}})
}

// heardHeight notes the height that comes with a complaint.
func (r *replica) heardHeight(from uint64, m *smartbftprotos.Message) bool {
	c := m.GetCommit()
	if c == nil || !c.Assist || c.Signature != nil {
		return false
	}
	r.mu.Lock()
	r.spoke[from] = max(r.spoke[from], c.Seq)
	r.heardClaim(from, c)
	lags := r.lags()
	r.mu.Unlock()
	if lags {
		r.prompt()
	}
	poke(r.wake)
	return true
}

// lags tells whether a validator that changes views misses a block by the word
// of the leader of the view to come, or of more than may lie. It needs mu.
func (r *replica) lags() bool {
	if r.entered >= r.promises.least {
		return false
	}
	leader := r.set[r.promises.least%uint64(len(r.set))].ID
	return r.cfg.App.Head().Height+1 < max(r.spoke[leader], r.othersHave()+1)
}

// prompt has SmartBFT sync unless it was told to just now: what it takes is a
// heartbeat of a later view.
func (r *replica) prompt() {
	r.mu.Lock()
	soon := time.Since(r.prompted) < urgeAfter
	if !soon {
		r.prompted = time.Now()
		if r.unheeded.IsZero() && !r.syncing && r.returned.IsZero() {
			r.unheeded = r.prompted // while it syncs it passes over what it is told
		}
	}
	r.mu.Unlock()
	if !soon {
		r.bft.HandleMessage(r.bft.GetLeaderID(), &smartbftprotos.Message{Content: &smartbftprotos.Message_HeartBeat{
			HeartBeat: &smartbftprotos.HeartBeat{View: math.MaxUint64}}})
	}
}

// noteWord remembers where a word goes. It needs mu.
func (r *replica) noteWord(to uint64, signed *smartbftprotos.SignedViewData) {
	if said, err := parseViewData(signed); err == nil {
		r.said = lastWord{to, said.view, said.decided}
	}
}

// sayAgain repeats the word in a change of view when a sync has brought blocks
// since. Nothing is in flight then: what this validator has prepared or voted
// for was for the block after its former head.
func (r *replica) sayAgain() {
	latest, _, err := lastDecision(r.cfg.App)
	if err != nil {
		r.end(err)
	}
	md, err := parseMetadata(latest.Proposal.Metadata)
	if err != nil {
		r.end(err)
	}
	r.mu.Lock()
	said, p := r.said, &r.promises
	again := r.entered < said.view && said.view == p.least && md.LatestSequence > said.decided &&
		p.accepted.height <= md.LatestSequence && p.voted.height <= md.LatestSequence
	r.mu.Unlock()
	if !again {
		return
	}
	vd := &smartbftprotos.ViewData{NextView: said.view, LastDecision: &smartbftprotos.Proposal{
		Header: latest.Proposal.Header, Payload: latest.Proposal.Payload, Metadata: latest.Proposal.Metadata,
		VerificationSequence: uint64(latest.Proposal.VerificationSequence)}}
	for _, s := range latest.Signatures {
		vd.LastDecisionSignatures = append(vd.LastDecisionSignatures, &smartbftprotos.Signature{Signer: s.ID, Value: s.Value, Msg: s.Msg})
	}
	r.log.Info("caught up while views change", "height", md.LatestSequence, "view", said.view)
	r.SendConsensus(said.to, r.sign(vd))
}
