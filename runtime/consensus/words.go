package consensus

import (
	"encoding/hex"

	"github.com/hyperledger-labs/SmartBFT/pkg/types"
	"github.com/hyperledger-labs/SmartBFT/smartbftprotos"
	"google.golang.org/protobuf/proto"

	"github.com/seed79541315/postern/abi"
)

// In a change of view SmartBFT weighs what validators say of the block in flight
// without regard to views. Who has seen another proposal for the height speaks
// against the one that was prepared, even if nobody has prepared his: two
// proposals of different views, and no change of view comes about any more, for
// every quorum has a word of both. And who has voted for a block while views
// changed says nothing of it in the next change, so that the others may go on
// without it and he refuses whatever they propose. What is said to another leader
// is mended here; what SmartBFT says to itself is not, but the next view has
// another leader.

// claim is the block that a validator says it has prepared.
type claim struct {
	height, view uint64
	block        string // its hash in hexadecimal digits; empty for none
}

// claimed is this validator's claim for the next block. It needs mu.
func (r *replica) claimed() claim {
	next, v := r.cfg.App.Head().Height+1, &r.promises.voted
	if v.height != next || r.judged(v.view) {
		return claim{height: next}
	}
	return claim{next, v.view, hex.EncodeToString(v.block[:])}
}

// judged tells whether a block of a view that this validator voted for can no
// longer be decided: it has entered a later view, for which a quorum has said
// that it has not prepared the block and has left its view, or this validator
// would have the block. It needs mu.
func (r *replica) judged(view uint64) bool { return view < r.entered && !r.promises.bound }

// heardClaim notes what another claims. It needs mu.
func (r *replica) heardClaim(from uint64, c *smartbftprotos.Commit) {
	if len(c.Digest) == 0 || len(c.Digest) == hex.EncodedLen(len(abi.Hash{})) {
		r.claims[from] = claim{c.Seq, c.View, c.Digest}
	}
}

// yields tells whether a block that this validator has not prepared stands
// against one that another has. To say nothing of it is as safe: SmartBFT
// concludes the same from both, but that silence speaks against no other block,
// and those who prepared one that was decided do not keep silent. It needs mu.
func (r *replica) yields(own claim) (yields bool) {
	if v := &r.promises.voted; v.height == own.height && hex.EncodeToString(v.block[:]) == own.block {
		return false
	}
	for _, other := range r.claims {
		if other == own {
			return false
		}
		yields = yields || other.block != "" && other.height == own.height
	}
	return yields
}

// word returns what is said in place of a word in a change of view.
func (r *replica) word(m *smartbftprotos.Message) *smartbftprotos.Message {
	vd := &smartbftprotos.ViewData{}
	if signed := m.GetViewData(); signed == nil || proto.Unmarshal(signed.RawViewData, vd) != nil {
		return m
	}
	r.mu.Lock()
	mended := r.mend(vd)
	r.mu.Unlock()
	if !mended {
		return m
	}
	return r.sign(vd)
}

// mend changes what view data says of the block in flight, if need be. It needs
// mu.
func (r *replica) mend(vd *smartbftprotos.ViewData) (mended bool) {
	last, err := parseMetadata(vd.LastDecision.GetMetadata())
	if err != nil {
		return false
	}
	if p := &r.promises; p.bound && p.voted.height == last.LatestSequence+1 && p.voted.raw.Header != nil {
		raw := &p.voted.raw
		vd.InFlightPrepared = true
		vd.InFlightProposal = &smartbftprotos.Proposal{Header: raw.Header, Payload: raw.Payload, Metadata: raw.Metadata,
			VerificationSequence: uint64(raw.VerificationSequence)}
		return true
	}
	own := vd.InFlightProposal
	if own == nil {
		return false
	}
	p, err := parseProposal(types.Proposal{Header: own.Header, Payload: own.Payload, Metadata: own.Metadata})
	switch {
	case err != nil:
		return false
	case vd.InFlightPrepared && !r.judged(p.view), !vd.InFlightPrepared && !r.yields(claim{p.height, p.view, hex.EncodeToString(p.hash[:])}):
		return false
	}
	vd.InFlightProposal, vd.InFlightPrepared = nil, false
	return true
}

// sign makes a word in a change of view.
func (r *replica) sign(vd *smartbftprotos.ViewData) *smartbftprotos.Message {
	raw, err := proto.Marshal(vd)
	if err != nil {
		r.end(err)
	}
	return &smartbftprotos.Message{Content: &smartbftprotos.Message_ViewData{
		ViewData: &smartbftprotos.SignedViewData{RawViewData: raw, Signer: r.cfg.ID, Signature: r.Sign(raw)}}}
}
