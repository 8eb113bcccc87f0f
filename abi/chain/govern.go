package chain

import (
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// Limits of governance.
const (
	// MaxValidators is how many validators a chain has at most: every block
	// carries a signature of each, and every vote goes to all.
	MaxValidators = 16
	// MaxGuardians is how many guardians an account may name.
	MaxGuardians = 16
	// MaxRecoveryDelay is the longest time that guardians must leave an owner
	// to object, in ms.
	MaxRecoveryDelay = 90 * 24 * 3_600_000
	// MaxOpenProposals is how many undecided proposals an account may have.
	MaxOpenProposals = 16
	// MaxVotes bounds the votes that one proposal's record keeps, changes of
	// mind among them.
	MaxVotes = 64
)

// ProposalKind is what a proposal changes.
type ProposalKind uint64

// The kinds of proposals. Their arguments are the structs named here.
const (
	ProposeAddValidator     ProposalKind = 1 // AddValidator
	ProposeRemoveValidator  ProposalKind = 2 // RemoveValidator
	ProposeReplaceValidator ProposalKind = 3 // ReplaceValidator: another account's key takes the place
	ProposeRotateValidator  ProposalKind = 4 // ReplaceValidator: the same account gets a new key
	ProposeGrant            ProposalKind = 5 // Grant
	ProposeParams           ProposalKind = 6 // Params
	ProposeDeploy           ProposalKind = 7 // Deploy
	ProposeUpgrade          ProposalKind = 8 // Upgrade
	ProposeRecover          ProposalKind = 9 // Recover

	// Since protocol version 3.
	ProposeStolen ProposalKind = 10 // DeclareStolen: by the guardians of a device's owner
)

var proposalNames = [...]string{ProposeAddValidator: "add-validator", ProposeRemoveValidator: "remove-validator",
	ProposeReplaceValidator: "replace-validator", ProposeRotateValidator: "rotate-validator", ProposeGrant: "grant",
	ProposeParams: "params", ProposeDeploy: "deploy", ProposeUpgrade: "upgrade", ProposeRecover: "recover",
	ProposeStolen: "stolen"}

// Since is the protocol version from which on blocks know the kind. It is 0 for
// one that this program does not know.
func (k ProposalKind) Since() uint64 {
	switch {
	case k >= ProposeAddValidator && k <= ProposeRecover:
		return 1
	case k == ProposeStolen:
		return 3
	}
	return 0
}

func (k ProposalKind) String() string {
	if k > 0 && k < ProposalKind(len(proposalNames)) {
		return proposalNames[k]
	}
	return fmt.Sprintf("kind-%d", uint64(k))
}

// Propose opens a proposal; a proposer who may approve it has approved it.
// {1: kind, 2: arguments (map), 3: reason}
type Propose struct {
	Kind   ProposalKind
	Args   []byte
	Reason string
}

// Append appends the encoding of a.
func (a *Propose) Append(b []byte) []byte {
	var f fields
	f.uint(1, uint64(a.Kind))
	f.raw(2, a.Args)
	f.text(3, a.Reason)
	return f.appendTo(b)
}

// ParsePropose reads the arguments of OpPropose, those of the proposal's kind
// included.
func ParsePropose(b []byte) (a Propose, err error) { return ParseProposeIn(b, Protocol) }

// ParseProposeIn reads the arguments of OpPropose as blocks of a protocol version
// do: what a later one brought is refused as it was before.
func ParseProposeIn(b []byte, protocol uint64) (a Propose, err error) {
	err = parseArgs(b, 1<<1|1<<2|1<<3, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			a.Kind = ProposalKind(r.Uint())
		case 2:
			a.Args = rawMap(r)
		case 3:
			a.Reason = shortText(r)
		default:
			return false
		}
		return true
	})
	if err == nil {
		_, err = parseProposalArgs(a.Kind, a.Args, protocol)
	}
	return a, err
}

// ParseProposalArgs reads the arguments of a proposal: it gives a pointer to
// the struct that stands beside the kind.
func ParseProposalArgs(kind ProposalKind, args []byte) (any, error) {
	return parseProposalArgs(kind, args, Protocol)
}

func parseProposalArgs(kind ProposalKind, args []byte, protocol uint64) (any, error) {
	if kind.Since() == 0 || kind.Since() > protocol {
		return nil, fmt.Errorf("%v: %w", kind, abi.CodeUnknownOp)
	}
	switch kind {
	case ProposeAddValidator:
		return asPointer(ParseAddValidator(args))
	case ProposeRemoveValidator:
		return asPointer(ParseRemoveValidator(args))
	case ProposeReplaceValidator, ProposeRotateValidator:
		return asPointer(ParseReplaceValidator(args))
	case ProposeGrant:
		return asPointer(ParseGrant(args))
	case ProposeParams:
		return asPointer(parseProposedParams(args, protocol))
	case ProposeDeploy:
		return asPointer(ParseDeploy(args))
	case ProposeUpgrade:
		return asPointer(ParseUpgrade(args))
	case ProposeRecover:
		return asPointer(ParseRecover(args))
	case ProposeStolen:
		return asPointer(ParseDeclareStolen(args))
	}
	panic("BUG: a kind of proposals without a parser")
}

func asPointer[T any](v T, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return &v, nil
}

// parseProposedParams refuses parameters that this program does not know:
// written to the state they would be lost.
func parseProposedParams(b []byte, protocol uint64) (Params, error) {
	p, err := parseParams(b, protocol)
	if err == nil && string(p.Append(nil)) != string(b) {
		err = fmt.Errorf("parameters are missing or unknown: %w", abi.CodeBadArgument)
	}
	return p, err
}

// Vote is the arguments of OpApprove and OpReject. {1: proposal, 2: reason}
// A proposer who rejects its proposal withdraws it.
type Vote struct {
	Proposal uint64
	Reason   string
}

// Append appends the encoding of a.
func (a *Vote) Append(b []byte) []byte {
	var f fields
	f.uint(1, a.Proposal)
	f.optText(2, a.Reason)
	return f.appendTo(b)
}

// ParseVote reads the arguments of OpApprove and OpReject.
func ParseVote(b []byte) (a Vote, err error) {
	err = parseArgs(b, 1<<1, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			a.Proposal = r.Uint()
		case 2:
			a.Reason = shortText(r)
		default:
			return false
		}
		return true
	})
	return a, err
}
