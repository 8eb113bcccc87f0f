package ledger

import (
	"context"
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/storage"
)

// Supposition is the newest state of a ledger, but with what some calls of one
// contract would have made of it. Nothing of it is ever committed. It is used by
// one goroutine at a time.
type Supposition struct {
	ledger *Ledger
	view   *storage.View
	head   *tip
	state  *state
}

// Suppose runs messages by a contract's execute, as its owner and each with the
// gas of a transaction, on top of the newest state. An error is that of the
// message which was refused. The caller closes the Supposition.
func (l *Ledger) Suppose(ctx context.Context, contract string, messages [][]byte) (*Supposition, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	v, head, err := l.take()
	if err != nil {
		return nil, err
	}
	s := &Supposition{ledger: l, view: v, head: head}
	if err := s.run(ctx, contract, messages); err != nil {
		v.Release()
		return nil, err
	}
	return s, nil
}

func (s *Supposition) run(ctx context.Context, contract string, messages [][]byte) error {
	x, err := s.ledger.begin(ctx, s.view, s.head, s.head.header.Time+1)
	defer s.ledger.runtime.EndBlock()
	if err != nil {
		return err
	}
	s.state = x.state
	c, err := readActive(x.state, contract)
	if err != nil {
		return err
	}
	owner, ok, err := readSender(x.state, c.Owner)
	if err != nil || !ok {
		return refuseUnless(ok, abi.CodeUnknownAccount, err)
	}
	for i, m := range messages {
		r := &running{x: x, sender: owner, limit: x.params.TxGas}
		r.purse.account = owner.id
		err := r.enter(abi.EntryExecute, contract, &c, &abi.Input{Caller: &owner.id, Roles: owner.account.Roles, Device: owner.device, Message: m})
		if err == abi.CodeAborted {
			err = abi.Aborted(r.abort)
		}
		if err != nil {
			return fmt.Errorf("message %d of %d: %w", i+1, len(messages), err)
		}
	}
	return nil
}

// Decide is what Ledger.Decide would answer in this state, at a gateway that
// isolates nobody. It is not recorded.
func (s *Supposition) Decide(ctx context.Context, who abi.Caller, domain string, request []byte) abi.Answer {
	if domain == "" {
		domain = abi.DefaultDomain
	}
	a := abi.Answer{Staleness: s.ledger.cfg.Staleness()}
	in := scene{s.view, s.head, s.state, func(abi.Hash) bool { return false }}
	if err := s.ledger.decideIn(ctx, &a, &asker{}, in, who, domain, request); err != nil {
		a.Permit, a.Code = false, s.ledger.denial(ctx, domain, err)
	}
	return a
}

// Close lets go of the state.
func (s *Supposition) Close() { s.view.Release() }
