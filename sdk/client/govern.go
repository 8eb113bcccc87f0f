package client

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
)

// Proposal is a proposal of the chain with its number, proved.
type Proposal struct {
	Number uint64 // from 1
	Height uint64 // at which it was proved
	chain.Proposal
}

// Propose proposes a change that others must agree to; args are those of the
// kind. It returns the number of the proposal. A proposer who may vote has
// approved it: if that is enough it is executed already.
func (c *Client) Propose(ctx context.Context, kind chain.ProposalKind, args Args, reason string) (number uint64, err error) {
	done, err := c.Transact(ctx, chain.OpPropose, &chain.Propose{Kind: kind, Args: args.Append(nil), Reason: reason}, 0)
	if err != nil {
		return 0, fmt.Errorf("proposing %v: %w", kind, err)
	}
	r := cbor.NewReader(done.Outcome.Result)
	number = r.Uint()
	return number, malformed(r.Done())
}

// ProposeDeploy uploads a code, unless the ledger has it, and proposes its
// deployment, on a chain whose parameters ask for approval.
func (c *Client) ProposeDeploy(ctx context.Context, d Deployment, reason string) (number uint64, err error) {
	code := abi.Hash(sha256.Sum256(d.Code))
	if err := c.upload(ctx, code, d.Code, d.Progress); err != nil {
		return 0, fmt.Errorf("uploading code %x: %w", code[:4], err)
	}
	return c.Propose(ctx, chain.ProposeDeploy, &chain.Deploy{Name: d.Name, Code: code, Init: d.Init, Note: d.Note}, reason)
}

// ProposeUpgrade uploads a code, unless the ledger has it, and proposes it for
// a contract of the caller's.
func (c *Client) ProposeUpgrade(ctx context.Context, u Upgrade, reason string) (number uint64, err error) {
	if u.Code != nil {
		u.Hash = sha256.Sum256(u.Code)
		if err := c.upload(ctx, u.Hash, u.Code, u.Progress); err != nil {
			return 0, fmt.Errorf("uploading code %x: %w", u.Hash[:4], err)
		}
	}
	return c.Propose(ctx, chain.ProposeUpgrade, &chain.Upgrade{Name: u.Name, Code: u.Hash, Migrate: u.Migrate, Note: u.Note}, reason)
}

// Approve votes for a proposal. The last vote that is needed executes it.
func (c *Client) Approve(ctx context.Context, number uint64, reason string) error {
	_, err := c.Transact(ctx, chain.OpApprove, &chain.Vote{Proposal: number, Reason: reason}, 0)
	return err
}

// Reject votes against a proposal for good, withdraws one of the caller's own,
// or objects to the recovery of the caller's account.
func (c *Client) Reject(ctx context.Context, number uint64, reason string) error {
	_, err := c.Transact(ctx, chain.OpReject, &chain.Vote{Proposal: number, Reason: reason}, 0)
	return err
}

// Proposal reads a proposal. It is abi.CodeUnknownProposal if there is none of
// the number.
func (c *Client) Proposal(ctx context.Context, number uint64) (*Proposal, error) {
	e, err := c.Get(ctx, chain.ProposalKey(number))
	if err != nil {
		return nil, err
	}
	if !e.Present {
		return nil, fmt.Errorf("proposal %d: %w", number, abi.CodeUnknownProposal)
	}
	record, err := chain.ParseProposal(e.Value)
	return &Proposal{number, e.Height, record}, err
}

// AwaitProposal waits while a proposal is approved and not yet executed: until
// its time is due and the block with it has come.
func (c *Client) AwaitProposal(ctx context.Context, number uint64) (*Proposal, error) {
	for {
		p, err := c.Proposal(ctx, number)
		if err != nil || p.Status != chain.ProposalApproved {
			return p, err
		}
		if err := pause(ctx, activationPoll); err != nil {
			return p, fmt.Errorf("waiting for proposal %d: %w", number, err)
		}
	}
}

// Proposals reads the newest proposals, at most limit, newest first. Each is
// proved, one after another.
func (c *Client) Proposals(ctx context.Context, limit int) ([]Proposal, error) {
	e, err := c.Get(ctx, chain.ProposalNumberKey())
	if err != nil || !e.Present {
		return nil, err
	}
	r := cbor.NewReader(e.Value)
	number := r.Uint()
	if err := r.Done(); err != nil {
		return nil, malformed(err)
	}
	list := []Proposal{}
	for ; number > 0 && len(list) < limit; number-- {
		p, err := c.Proposal(ctx, number)
		if err != nil {
			return nil, err
		}
		list = append(list, *p)
	}
	return list, nil
}

// Validators reads the set that signs the block behind the newest, proved at a
// height.
func (c *Client) Validators(ctx context.Context) (set chain.ValidatorSet, height uint64, err error) {
	e, err := c.Get(ctx, chain.ValidatorsKey())
	if err != nil {
		return nil, 0, err
	}
	if !e.Present {
		return nil, 0, fmt.Errorf("validators: %w", abi.CodeNotFound)
	}
	set, err = chain.ParseValidatorSet(e.Value)
	return set, e.Height, err
}

// Params reads the chain's parameters, proved.
func (c *Client) Params(ctx context.Context) (chain.Params, error) {
	e, err := c.Get(ctx, chain.ParamsKey())
	if err != nil {
		return chain.Params{}, err
	}
	if !e.Present {
		return chain.Params{}, fmt.Errorf("parameters: %w", abi.CodeNotFound)
	}
	return chain.ParseParams(e.Value)
}

// Consent is a key's word that it will be an account's: to vote for it
// (chain.StatementValidator), or to succeed the account's present key
// (chain.StatementRotate). It is good for life from now on. A key that is to
// have an account of its own names chain.AccountID of itself.
func Consent(id abi.Hash, kind chain.StatementKind, account abi.Hash, by chain.Signer, life time.Duration) ([]byte, error) {
	return chain.SignStatement(&chain.Statement{
		Chain: id, Kind: kind, Expiry: time.Now().Add(life).UnixMilli(), Body: chain.RotationBody(account),
	}, by)
}
