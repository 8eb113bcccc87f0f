package ledger

import (
	"errors"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/runtime/wasm"
)

// readActive reads the record of a contract that answers.
func readActive(r reader, name string) (chain.Contract, error) {
	c, ok, err := load(r, chain.ContractKey(name), chain.ParseContract)
	if err != nil || !ok {
		return c, refuseUnless(ok, abi.CodeUnknownContract, err)
	}
	return c, standing(c.Status)
}

func standing(s chain.ContractStatus) error {
	switch s {
	case chain.ContractActive:
		return nil
	case chain.ContractPending:
		return abi.CodeContractPending
	}
	return abi.CodeContractFailed
}

// call runs a contract's execute for the sender.
func (r *running) call(a *chain.Call) error {
	c, err := readActive(r.x.state, a.Contract)
	if err != nil {
		return err
	}
	return r.enter(abi.EntryExecute, a.Contract, &c, &abi.Input{
		Caller: &r.sender.id, Roles: r.sender.account.Roles, Device: r.sender.device, Transaction: r.tx, Message: a.Message,
	})
}

// enter runs an entry point of a contract with the gas that is left. It fills
// in what the input says of chain, block and contract.
func (r *running) enter(entry abi.Entry, name string, c *chain.Contract, in *abi.Input) error {
	x := r.x
	if err := x.runs(c.Code); err != nil {
		return err
	}
	in.Chain, in.Height, in.Time = x.header.Chain, x.header.Height, x.header.Time
	in.Contract, in.Owner = name, c.Owner
	e := &env{ledger: x.ledger, read: x.state, run: r, contract: name, input: in}
	res, err := x.ledger.runtime.Call(x.ctx, wasm.Call{
		Protocol: x.header.Protocol, Code: c.Code,
		Load:  func() ([]byte, error) { return loadCode(x.state, c.Code) },
		Entry: entry, Input: abi.AppendInput(nil, in), Gas: r.limit - r.used, Block: true,
		Env: e,
	})
	r.used += res.GasUsed
	r.abort = res.AbortCode
	if err != nil {
		e.failed(entry, res.AbortCode, err)
		return asTrap(err)
	}
	if len(res.Output) > abi.MaxOutcomeData {
		e.failed(entry, 0, abi.CodeResultTooLong)
		return abi.CodeResultTooLong
	}
	r.output = res.Output
	return nil
}

// asTrap makes any error of the contract host that is no trap a fault.
func asTrap(err error) error {
	var t *wasm.Trap
	if errors.As(err, &t) {
		return t.Code
	}
	return &fault{err}
}

// bind binds a policy domain to a contract: operators may, and a contract's
// owner for a domain that is his or not taken.
func (r *running) bind(a *chain.Bind) error {
	s := r.x.state
	c, ok, err := load(s, chain.ContractKey(a.Contract), chain.ParseContract)
	if err != nil || !ok {
		return refuseUnless(ok, abi.CodeUnknownContract, err)
	}
	d, taken, err := load(s, chain.DomainKey(a.Domain), chain.ParseDomain)
	if err != nil {
		return err
	}
	if !r.sender.has(abi.RoleOperator) {
		if c.Owner != r.sender.id {
			return abi.CodeNotPermitted
		}
		if taken && d.Owner != r.sender.id {
			return abi.CodeDomainTaken
		}
	}
	d = chain.Domain{Contract: a.Contract, Owner: r.sender.id}
	return s.set(chain.DomainKey(a.Domain), d.Append(nil))
}
