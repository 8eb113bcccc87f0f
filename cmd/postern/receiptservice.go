package main

import (
	"context"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
)

// Receipt gives the receipt of a decision to who asked for it, to auditors, and
// to the owner of its policy domain. Of anybody else's nobody learns whether
// there is one.
func (s service) Receipt(ctx context.Context, caller abi.Standing, number uint64, now bool) ([]byte, error) {
	d, err := s.n.decisions.Decision(number)
	if err != nil {
		return nil, err
	}
	ok, err := s.mayRead(&caller, d)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, abi.CodeNotFound
	}
	r, err := s.n.decisions.Receipt(ctx, number, now)
	if err != nil {
		return nil, err
	}
	return r.Append(nil), nil
}

// mayRead says whether a caller may see a decision.
func (s service) mayRead(caller *abi.Standing, d *proof.Record) (bool, error) {
	if !caller.Known || d.Caller == caller.Account || caller.Roles&abi.RoleAuditor != 0 {
		return caller.Known, nil
	}
	v, err := s.n.store.HeadView()
	if err != nil {
		return false, err
	}
	defer v.Release()
	raw, ok, err := v.Get(chain.DomainKey(d.Domain))
	if err != nil || !ok {
		return false, err
	}
	domain, err := chain.ParseDomain(raw)
	return domain.Owner == caller.Account, err
}
