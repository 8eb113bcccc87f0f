package consensus

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/hyperledger-labs/SmartBFT/pkg/types"
	"github.com/hyperledger-labs/SmartBFT/smartbftprotos"
	"google.golang.org/protobuf/proto"

	"github.com/seed79541315/postern/abi"
)

// promises are what this validator has bound itself to. SmartBFT v1.0.1 breaks
// each of them in some order of events, and a second block at a height can
// then be certified:
//
//   - In one view it accepts one block at a height. SmartBFT starts a view
//     again after a sync, and has then forgotten what it accepted.
//   - It never votes in a view that it has told the others it leaves: from
//     what it said there they conclude which blocks cannot have been decided.
//     SmartBFT goes back to the old view after a sync, and it aborts a view
//     only some time after it has announced to leave it.
//   - Having voted for a block while views changed, it accepts no other at
//     that height. SmartBFT does not remember that vote at all.
//
// The write-ahead log has all that is needed to keep them after a crash.
type promises struct {
	least    uint64   // views below it are left
	accepted accepted // the last block that this validator prepared
	voted    accepted // the last one that it voted for; raw is empty unless it did so just now while views changed
	bound    bool     // whether voted was voted for while views changed
	unformed uint64   // a view that was joined without a quorum's words, or 0
}

// accepted is a proposal and where it stands.
type accepted struct {
	view, height uint64
	block        abi.Hash
	raw          types.Proposal
}

// promised are the promises that the log proves.
func (j *journal) promised() (promises, error) {
	p := promises{least: j.least}
	if j.last == nil {
		return p, nil
	}
	raw := types.Proposal{
		Header: j.last.Proposal.GetHeader(), Payload: j.last.Proposal.GetPayload(), Metadata: j.last.Proposal.GetMetadata(),
		VerificationSequence: int64(j.last.Proposal.GetVerificationSequence()),
	}
	block, err := parseProposal(raw)
	if err != nil {
		return p, fmt.Errorf("the proposal in the write-ahead log: %w", err)
	}
	p.accepted = accepted{block.view, block.height, block.hash, raw}
	if j.vote != nil {
		p.voted = accepted{view: block.view, height: block.height, block: block.hash}
		p.bound = j.bound
	}
	return p, nil
}

// allow says why a proposal must not be prepared, if so.
func (m *promises) allow(p *proposal, raw *types.Proposal) error {
	switch {
	case p.view < m.least || p.view > 0 && p.view == m.unformed:
		return fmt.Errorf("view %d: %w", p.view, errViewLeft)
	case m.accepted.height == p.height && m.accepted.view >= p.view && !sameProposal(&m.accepted.raw, raw):
		return fmt.Errorf("a second block of height %d in view %d: %w", p.height, p.view, abi.CodeMalformed)
	case m.bound && m.voted.height == p.height && m.voted.block != p.hash:
		return fmt.Errorf("another block of height %d has this validator's vote from a change of view: %w", p.height, abi.CodeMalformed)
	}
	return nil
}

// errViewLeft comes when a view is over for this validator.
var errViewLeft = errors.New("this validator has left it")

// allowVote says why a vote must not be given, if so: only more liars than
// there may be can have led here.
func (m *promises) allowVote(p *proposal) error {
	if m.voted.height == p.height && m.voted.block != p.hash && (m.bound || m.voted.view == p.view) {
		return fmt.Errorf("this validator has voted for block %x at height %d, not %x", m.voted.block[:4], p.height, p.hash[:4])
	}
	return nil
}

// Append writes to the write-ahead log, unless Run is ending: nothing is to be
// recorded, and so nothing sent, after a failure. What belongs to a view that
// was left in the meantime ends the view's goroutine, before it can send what
// it wanted to record.
func (r *replica) Append(entry []byte, truncate bool) error {
	m := &smartbftprotos.SavedMessage{}
	if err := proto.Unmarshal(entry, m); err != nil {
		return err
	}
	if m.GetCommit() != nil {
		defer r.voteSaved()
	}
	if r.ctx.Err() != nil {
		return errors.New("the engine is stopping")
	}
	r.recording.Lock()
	defer r.recording.Unlock()
	least, joins := r.leave(m)
	if joins {
		var err error
		if entry, err = proto.Marshal(m); err != nil {
			return err
		}
	}
	if view, ok := viewOf(m); ok && view < least {
		r.log.Debug("too late for a view", "view", view)
		runtime.Goexit()
	}
	return r.journal.Append(entry, truncate)
}

// viewOf is the view in which a record prepares or votes for a block.
func viewOf(m *smartbftprotos.SavedMessage) (view uint64, ok bool) {
	switch {
	case m.GetProposedRecord() != nil:
		return m.GetProposedRecord().GetPrePrepare().GetView(), true
	case m.GetCommit() != nil:
		return m.GetCommit().GetCommit().GetView(), true
	}
	return 0, false
}

// leave raises the least view to vote in by what a record says, and returns it.
// If the record is of a view that is only joined it is changed to say so.
func (r *replica) leave(m *smartbftprotos.SavedMessage) (least uint64, joins bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	joins = r.join(m)
	if v := m.GetNewView(); v != nil {
		r.enter(v.ViewId)
	}
	if least := leastView(m); least > r.promises.least {
		r.promises.least = least
		poke(r.left)
	}
	r.entered = max(r.entered, m.GetNewView().GetViewId())
	return r.promises.least, joins
}

// recordInFlight records a vote given while views changed, which SmartBFT
// sends without recording it. The change of view comes once more after it, for
// the next proposal truncates the log.
func (r *replica) recordInFlight(p *proposal, raw *types.Proposal, vote []byte) error {
	r.mu.Lock()
	least := r.promises.least
	r.mu.Unlock()
	prePrepare := &smartbftprotos.PrePrepare{View: p.view, Seq: p.height, Proposal: &smartbftprotos.Proposal{
		Header: raw.Header, Payload: raw.Payload, Metadata: raw.Metadata, VerificationSequence: uint64(raw.VerificationSequence)}}
	prepare := &smartbftprotos.Prepare{View: p.view, Seq: p.height, Digest: raw.Digest()}
	commit := &smartbftprotos.Commit{View: p.view, Seq: p.height, Digest: prepare.Digest,
		Signature: &smartbftprotos.Signature{Signer: r.cfg.ID, Value: vote}}
	records := []*smartbftprotos.SavedMessage{
		{Content: &smartbftprotos.SavedMessage_ProposedRecord{ProposedRecord: &smartbftprotos.ProposedRecord{PrePrepare: prePrepare, Prepare: prepare}}},
		{Content: &smartbftprotos.SavedMessage_Commit{Commit: &smartbftprotos.Message{Content: &smartbftprotos.Message_Commit{Commit: commit}}}},
		{Content: &smartbftprotos.SavedMessage_ViewChange{ViewChange: &smartbftprotos.ViewChange{NextView: max(least, 1) - 1}}},
	}
	r.recording.Lock()
	defer r.recording.Unlock()
	for _, m := range records {
		entry, err := proto.Marshal(m)
		if err == nil {
			err = r.journal.Append(entry, false)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// recovery is what SmartBFT reads of the log when it starts. It keeps the
// slice, and reads it more than once.
type recovery struct {
	entries  [][]byte
	inFlight [][]byte // what the entries are to say at the second reading
}

// settledRecord says nothing: a new view before the first.
var settledRecord = []byte{0x1a, 0}

// reveal lets SmartBFT find the proposal in the making behind the change of
// view that it already found. On its own it reads the last record alone, and a
// validator that crashed while views changed would tell the others that it had
// prepared nothing: they could then decide another block than the one that it
// voted for.
func (c *recovery) reveal() {
	if n := len(c.inFlight); n > 0 {
		c.entries[len(c.entries)-1] = c.inFlight[n-1]
		c.inFlight = nil
	}
}

// forget keeps SmartBFT from reading the log of its start again when the
// validators change: it would take up a proposal that was settled long ago.
func (c *recovery) forget() {
	for i := range c.entries {
		c.entries[i] = settledRecord
	}
}
