package chain

import (
	"fmt"
	"math"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// ProposalStatus is where a proposal stands.
type ProposalStatus uint8

// The statuses of a proposal. An open one takes votes. An approved one waits
// for a timer: a deployment or an upgrade for that of the next block, a
// recovery until its delay is over. All others are final.
const (
	ProposalOpen ProposalStatus = iota + 1
	ProposalApproved
	ProposalExecuted
	ProposalFailed // approved, but its execution was refused and left nothing
	ProposalRejected
	ProposalWithdrawn
	ProposalExpired
)

var proposalStatusNames = [...]string{ProposalOpen: "open", ProposalApproved: "approved", ProposalExecuted: "executed",
	ProposalFailed: "failed", ProposalRejected: "rejected", ProposalWithdrawn: "withdrawn", ProposalExpired: "expired"}

func (s ProposalStatus) String() string {
	if s > 0 && int(s) < len(proposalStatusNames) {
		return proposalStatusNames[s]
	}
	return "unknown"
}

// Final says that nothing will happen to the proposal any more.
func (s ProposalStatus) Final() bool { return s != ProposalOpen && s != ProposalApproved }

// Proposal is the record of a proposal, kept for ever: what was to change, who
// wanted it and why, who agreed, and what came of it.
//
//	1 kind                        9 [ProposalVote …] in their order
//	2 arguments (map)            10 what it changed, as it was before
//	3 proposer's account         11 due ms: when an approved one is executed
//	4 reason                     12 decided at ms: approved or final
//	5 proposed at ms             13 decided at height
//	6 proposed at height         14 executed or failed at height
//	7 expires at ms              15 code of the failure
//	8 status                     16 approvals that were needed when decided
//
// 10 is the Params, the ValidatorSet or the Account's record, empty where
// there was none.
type Proposal struct {
	Kind     ProposalKind
	Args     []byte
	Proposer abi.Hash
	Reason   string
	Time     int64
	Height   uint64
	Expiry   int64
	Status   ProposalStatus
	Votes    []ProposalVote
	Before   []byte
	Due      int64
	Decided  int64
	At       uint64 // height of the decision
	Executed uint64
	Code     abi.Code
	Needed   uint64
	Timer    uint64
}

// ProposalVote is one vote, an array [account id, validator id (0 for a
// guardian), approves (bool), time ms, height, reason]. The last one of a
// validator or a guardian counts, and only while it is one.
type ProposalVote struct {
	Account   abi.Hash
	Validator uint64
	Approves  bool
	Time      int64
	Height    uint64
	Reason    string
}

// LastVote is the place in Votes of the last vote of an account as a validator,
// or as a guardian, whose validator is 0; -1 if there is none.
func (p *Proposal) LastVote(account abi.Hash, validator uint64) int {
	for i := len(p.Votes) - 1; i >= 0; i-- {
		if p.Votes[i].Account == account && p.Votes[i].Validator == validator {
			return i
		}
	}
	return -1
}

// Tally counts the last votes of those of whom counts says that they have a vote
// now.
func (p *Proposal) Tally(counts func(*ProposalVote) bool) (approve, reject int) {
	for i := range p.Votes {
		v := &p.Votes[i]
		if p.LastVote(v.Account, v.Validator) != i || !counts(v) {
			continue
		}
		if v.Approves {
			approve++
		} else {
			reject++
		}
	}
	return approve, reject
}

// Append appends the encoding of p.
func (p *Proposal) Append(b []byte) []byte {
	var f fields
	f.uint(1, uint64(p.Kind))
	f.raw(2, p.Args)
	f.bytes(3, p.Proposer[:])
	f.text(4, p.Reason)
	f.int(5, p.Time)
	f.uint(6, p.Height)
	f.int(7, p.Expiry)
	f.uint(8, uint64(p.Status))
	votes := cbor.AppendArray(nil, len(p.Votes))
	for i := range p.Votes {
		votes = p.Votes[i].append(votes)
	}
	f.raw(9, votes)
	f.optBytes(10, p.Before)
	f.optUint(11, uint64(p.Due))
	f.optUint(12, uint64(p.Decided))
	f.optUint(13, p.At)
	f.optUint(14, p.Executed)
	f.optUint(15, uint64(p.Code))
	f.optUint(16, p.Needed)
	f.optUint(17, p.Timer)
	return f.appendTo(b)
}

func (v *ProposalVote) append(b []byte) []byte {
	b = cbor.AppendBytes(cbor.AppendArray(b, 6), v.Account[:])
	b = cbor.AppendBool(cbor.AppendUint(b, v.Validator), v.Approves)
	b = cbor.AppendUint(cbor.AppendInt(b, v.Time), v.Height)
	return cbor.AppendText(b, v.Reason)
}

// ParseProposal reads a proposal's record; it aliases b.
func ParseProposal(b []byte) (p Proposal, err error) {
	err = parseRecord(b, func(k uint64, r *cbor.Reader) {
		switch k {
		case 1:
			p.Kind = ProposalKind(r.Uint())
		case 2:
			p.Args = rawMap(r)
		case 3:
			p.Proposer = hashOf(r)
		case 4:
			p.Reason = r.Text()
		case 5:
			p.Time = r.Int()
		case 6:
			p.Height = r.Uint()
		case 7:
			p.Expiry = r.Int()
		case 8:
			p.Status = ProposalStatus(uintUpTo(r, math.MaxUint8))
		case 9:
			p.Votes = readVotes(r)
		default:
			p.readDecision(k, r)
		}
	})
	if err == nil && len(p.Args) == 0 {
		err = fmt.Errorf("a proposal without arguments: %w", abi.CodeMalformed)
	}
	return p, err
}

// readDecision reads the fields that a decision brings.
func (p *Proposal) readDecision(k uint64, r *cbor.Reader) {
	switch k {
	case 10:
		p.Before = r.Bytes()
	case 11:
		p.Due = int64(uintUpTo(r, math.MaxInt64))
	case 12:
		p.Decided = int64(uintUpTo(r, math.MaxInt64))
	case 13:
		p.At = r.Uint()
	case 14:
		p.Executed = r.Uint()
	case 15:
		p.Code = abi.Code(uintUpTo(r, math.MaxUint16))
	case 16:
		p.Needed = r.Uint()
	case 17:
		p.Timer = r.Uint()
	default:
		r.Skip()
	}
}

func readVotes(r *cbor.Reader) (list []ProposalVote) {
	for n := r.Array(); n > 0 && r.Err() == nil; n-- {
		r.ArrayN(6)
		list = append(list, ProposalVote{Account: hashOf(r), Validator: r.Uint(), Approves: r.Bool(),
			Time: r.Int(), Height: r.Uint(), Reason: r.Text()})
	}
	return list
}
