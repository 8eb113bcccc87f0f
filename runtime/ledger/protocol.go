package ledger

import (
	"context"
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// The protocol version stands in the parameters: a block runs by the version
// that its parent's state names, which its header repeats, and so do decisions
// and queries at the parent's height. So a change that one block makes is in
// force from the next one on. What a version fixes for contracts stands in
// package wasm; the ledger's own prices have been the same in all so far.

// checkProtocol refuses a version that this program does not know: it must
// stop before it makes a block its own whose successors it cannot execute.
func (l *Ledger) checkProtocol(version uint64) error {
	if known := l.runtime.Protocol(); version == 0 || version > known {
		return fmt.Errorf("the chain goes on with protocol version %d, this program knows versions up to %d: install a newer program and start it on the same data, nothing is lost: %w",
			version, known, abi.CodeUnknownVersion)
	}
	return nil
}

// checkFollows keeps a node from passing on a proposal, or an approval of one,
// that brings a protocol version which its own program does not know: a quorum
// that agrees should be one that can go on. No rule of the chain says so, since
// nodes with different programs must execute alike.
func (l *Ledger) checkFollows(r reader, t *chain.Tx) error {
	var kind chain.ProposalKind
	var args []byte
	switch t.Op {
	case chain.OpPropose:
		if a, err := chain.ParsePropose(t.Args); err == nil {
			kind, args = a.Kind, a.Args
		}
	case chain.OpApprove:
		a, err := chain.ParseVote(t.Args)
		if err != nil {
			return nil // the block will tell
		}
		p, _, err := load(r, chain.ProposalKey(a.Proposal), chain.ParseProposal)
		if err != nil {
			return err
		}
		kind, args = p.Kind, p.Args
	}
	if kind != chain.ProposeParams {
		return nil
	}
	p, err := chain.ParseParams(args)
	if err != nil {
		return &fault{err}
	}
	return l.checkProtocol(p.Protocol)
}

// wantVersion has the codes in use compiled for a version that is not in force
// yet. If they are being compiled for one already, that one goes first and
// what is left is compiled when it is needed.
func (l *Ledger) wantVersion(version uint64) {
	select {
	case l.versions <- version:
	default:
	}
}

// comingVersion is the version that an open proposal would bring, if it is
// another than the present one and known to this program.
func (l *Ledger) comingVersion(r reader, present uint64) (version uint64, ok bool, err error) {
	err = each(r, chain.OpenProposalsPrefix(), func(key, _ []byte) (bool, error) {
		number := chain.OpenProposalNumber(key)
		p, there, err := load(r, chain.ProposalKey(number), chain.ParseProposal)
		if err != nil || !there {
			return false, orFault(err, "proposal %d is missing", number)
		}
		version, ok, err = l.broughtBy(&p, present)
		return !ok, err
	})
	return version, ok, err
}

// announceVersion looks for a coming version among the proposals that a block
// changed.
func (l *Ledger) announceVersion(r *result, present uint64) error {
	for i := range r.changes {
		if c := &r.changes[i]; c.Key[0] == chain.ProposalPrefix()[0] {
			p, err := chain.ParseProposal(c.Value)
			if err != nil {
				return faultf("proposal %x: %w", c.Key, err)
			}
			version, ok, err := l.broughtBy(&p, present)
			if err != nil {
				return err
			}
			if ok && !p.Status.Final() {
				l.wantVersion(version)
			}
		}
	}
	return nil
}

// broughtBy is the version that a proposal would bring.
func (l *Ledger) broughtBy(p *chain.Proposal, present uint64) (version uint64, ok bool, err error) {
	if p.Kind != chain.ProposeParams {
		return 0, false, nil
	}
	params, err := chain.ParseParams(p.Args)
	if err != nil {
		return 0, false, faultf("a proposal of parameters: %w", err)
	}
	return params.Protocol, params.Protocol != present && l.checkProtocol(params.Protocol) == nil, nil
}

func (l *Ledger) lookForVersion(present uint64) error {
	v, err := l.store.HeadView()
	if err != nil {
		return err
	}
	defer v.Release()
	version, ok, err := l.comingVersion(cold{v}, present)
	if ok {
		l.wantVersion(version)
	}
	return err
}

// compileAll compiles the codes of all contracts for a version.
func (l *Ledger) compileAll(ctx context.Context, version uint64) error {
	codes, err := l.codesInUse()
	if err != nil {
		return err
	}
	l.cfg.Logger.InfoContext(ctx, "compiling contracts for a protocol version to come", "version", version, "codes", len(codes))
	for _, code := range codes {
		if err := l.compile(ctx, version, code); err != nil {
			return err
		}
	}
	return nil
}

// codesInUse are the codes that contracts answer with, or will when they are
// activated, in the order of the contracts' names.
func (l *Ledger) codesInUse() (codes []abi.Hash, err error) {
	v, err := l.store.HeadView()
	if err != nil {
		return nil, err
	}
	defer v.Release()
	r := cold{v}
	seen := make(map[abi.Hash]struct{})
	add := func(code abi.Hash) {
		if _, twice := seen[code]; !twice {
			seen[code] = struct{}{}
			codes = append(codes, code)
		}
	}
	err = each(r, chain.ContractPrefix(), func(key, value []byte) (bool, error) {
		c, err := chain.ParseContract(value)
		if err != nil {
			return false, faultf("contract %q: %w", key[1:], err)
		}
		if c.Status == chain.ContractActive {
			add(c.Code)
		}
		code, ok, err := pendingCode(r, string(key[1:]))
		if ok {
			add(code)
		}
		return true, err
	})
	return codes, err
}
