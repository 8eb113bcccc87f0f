package ledger

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/storage"
)

// execution runs one block: begin, timers, transactions in their order,
// finish. It reads the parent's View past the cache and writes nothing
// outside itself, so a speculative one may just be dropped. What it computes
// depends on the parent's state, the header's time and the transactions alone.
type execution struct {
	ledger *Ledger
	ctx    context.Context
	view   *storage.View
	parent *tip
	params chain.Params
	header chain.Header // chain, protocol, height, time, parent
	state  *state

	window   map[string]struct{} // plain keys of this block's window ids
	plain    []storage.Change    // new window ids
	outcomes [][]byte
	timerGas uint64 // used by timers
	timers   int    // outcomes of timers, which come first
	places   []place
	payers   []abi.Hash // of the recorded transactions
	deployed []abi.Hash // codes that will be needed
	codes    blockCodes // that ran
	sets     [2]knownSet
	failures failures
}

// place is where a transaction's outcome stands. A weak one does not replace
// an earlier place of the same transaction: a replay that was refused says
// nothing of what the transaction did.
type place struct {
	id    abi.Hash
	index int
	weak  bool
}

// begin starts the execution of the block that follows parent at a time.
func (l *Ledger) begin(ctx context.Context, v *storage.View, parent *tip, time int64) (*execution, error) {
	x := &execution{
		ledger: l, ctx: ctx, view: v, parent: parent, params: parent.params,
		header: chain.Header{
			Chain: l.chain, Protocol: parent.params.Protocol, Height: parent.header.Height + 1, Time: time,
			Parent: parent.hash, Validators: parent.validators.Hash(),
		},
		state:  newState(cold{v}),
		sets:   [2]knownSet{{parent.validators.Append(nil), parent.validators}},
		window: make(map[string]struct{}),
		codes:  newBlockCodes(parent.params.Profile),
	}
	if v.Height() != parent.header.Height {
		return nil, fmt.Errorf("state is at height %d, the head at %d", v.Height(), parent.header.Height)
	}
	l.runtime.BeginBlock()
	return x, x.closeMinutes()
}

// result is an executed block, ready to be committed.
type result struct {
	block      *chain.Block
	hash       abi.Hash
	validators chain.ValidatorSet // of the next block
	outcomes   [][]byte
	update     *storage.Update
	changes    []storage.Change // of the state, in order of keys
	top        *overlay         // the same
	plain      []storage.Change
	places     []place
	payers     []abi.Hash
	deployed   []abi.Hash
	failures   failures
}

// finish computes the roots.
func (x *execution) finish(txs [][]byte) (*result, error) {
	x.ledger.runtime.EndBlock()
	changes := x.state.top.changes(nil)
	update, err := x.view.Update(changes)
	if err != nil {
		return nil, &fault{err}
	}
	set, err := x.validators()
	if err != nil {
		return nil, err
	}
	h := x.header
	h.Transactions, h.Outcomes, h.State = proof.Root(txs), proof.Root(x.outcomes), update.Root()
	h.NextValidators = set.Hash()
	return &result{
		validators: set,
		block:      &chain.Block{Header: h, Txs: txs}, hash: h.Hash(), outcomes: x.outcomes,
		update: update, changes: changes, top: x.state.top, plain: x.plain, places: x.places,
		payers: x.payers, deployed: x.deployed, failures: x.failures,
	}, nil
}

// gasLeft is how much gas transactions may declare, after the timers ran.
func (x *execution) gasLeft() uint64 { return x.params.BlockGas - x.timerGas }

func (x *execution) addOutcome(o *chain.Outcome) {
	x.outcomes = append(x.outcomes, chain.AppendOutcome(nil, o))
}

// transaction executes t and adds its outcome. An error is a fault.
func (x *execution) transaction(t *chain.Tx) error {
	o := chain.Outcome{ID: t.ID}
	if t.Tick != 0 {
		code, err := x.tick(t.Tick)
		if err != nil {
			return err
		}
		o.Code = code
		x.addOutcome(&o)
		return nil
	}
	recorded, err := x.signed(t, &o)
	if err != nil {
		return err
	}
	x.places = append(x.places, place{t.ID, len(x.outcomes), !recorded})
	x.addOutcome(&o)
	return nil
}

// signed runs a signed transaction into o. It is recorded when the guards let
// it pass: then the same transaction will not run again.
func (x *execution) signed(t *chain.Tx, o *chain.Outcome) (recorded bool, err error) {
	x.state.growth = 0
	start := x.state.mark()
	r, err := x.admit(t)
	if err == nil {
		err = x.guard(t, r.sender.id)
	}
	if err == nil && !r.purse.affords(x.state.growth) {
		x.state.rollback(start)
		err = abi.CodeStorageQuota
	}
	if err != nil {
		code, ok := refusal(err)
		if !ok {
			return false, err
		}
		o.Code = code
		return false, nil
	}
	x.payers = append(x.payers, r.purse.account)
	before := x.state.mark()
	if t.Gas > r.purse.Gas {
		err = abi.CodeGasQuota
	} else {
		err = r.operate(t)
	}
	return true, x.settle(r, before, err, o)
}

// admit checks all that a transaction must be before it is recorded and
// charged: its time, its sender, its gas cap. It writes nothing.
func (x *execution) admit(t *chain.Tx) (*running, error) {
	if err := checkWindow(&t.Body, x.header.Time); err != nil {
		return nil, err
	}
	s, err := findSender(x.state, t.Key())
	if err != nil {
		return nil, err
	}
	if t.Gas == 0 || t.Gas > x.params.TxGas {
		return nil, abi.CodeGasCap
	}
	r := &running{x: x, sender: s, tx: &t.ID, limit: t.Gas}
	r.purse, err = payer(x.state, s.id, &s.account, &x.params, x.header.Time)
	return r, err
}

// running is an operation or a timer in execution.
type running struct {
	x      *execution
	sender sender // zero for a timer
	tx     *abi.Hash
	purse  purse
	limit  uint64 // gas
	used   uint64
	events []chain.Event
	output []byte
	abort  uint16
	// deployed is the code that a deployment will need, once it is settled.
	deployed *abi.Hash
}

// spend takes gas for what the ledger itself does.
func (r *running) spend(gas uint64) error {
	if gas > r.limit-r.used {
		r.used = r.limit
		return abi.CodeGasCap
	}
	r.used += gas
	return nil
}

// settled is a refusal whose changes stay: what it found wrong is cleared
// away by the same transaction.
type settled struct{ code abi.Code }

func (s *settled) Error() string { return s.code.Error() }
func (s *settled) Unwrap() error { return s.code }

// settle turns the end of an operation into its outcome, rolls back what
// failed, and charges the payer. err is a refusal, nil or a fault.
func (x *execution) settle(r *running, before mark, err error, o *chain.Outcome) error {
	if err == nil && !r.purse.affords(x.state.growth) {
		err = abi.CodeStorageQuota
	}
	o.Gas, o.Events, o.Result = r.used, r.events, r.output
	if err != nil {
		code, ok := refusal(err)
		if !ok {
			return err
		}
		o.Code, o.Abort, o.Events, o.Result = code, r.abort, nil, nil
		if clear := (*settled)(nil); !errors.As(err, &clear) {
			x.state.rollback(before)
		}
	} else if r.deployed != nil {
		x.deployed = append(x.deployed, *r.deployed)
	}
	r.purse.charge(r.used, x.state.growth)
	return x.state.setFree(chain.QuotaKey(r.purse.account), r.purse.Append(nil))
}
