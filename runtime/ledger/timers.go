package ledger

import (
	"errors"
	"math"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
)

// addTimer adds a timer that is due at a time, at the earliest at the next
// block, so that nobody gets ahead of timers that are due already. It returns
// the timer's number.
func (x *execution) addTimer(due int64, t *chain.Timer) (uint64, error) {
	number, _, err := load(x.state, chain.TimerNumberKey(), parseUint)
	if err != nil {
		return 0, err
	}
	if err := x.state.setFree(chain.TimerNumberKey(), cbor.AppendUint(nil, number+1)); err != nil {
		return 0, err
	}
	due = max(due, x.header.Time+1)
	return number, x.state.set(chain.TimerKey(due, number), t.Append(nil))
}

// schedule adds a timer of a contract.
func (x *execution) schedule(contract string, payer abi.Hash, due int64, msg []byte) (uint64, error) {
	c, ok, err := load(x.state, chain.ContractKey(contract), chain.ParseContract)
	if err != nil || !ok {
		return 0, refuseUnless(ok, abi.CodeUnknownContract, err)
	}
	if c.Timers >= x.params.ContractTimers {
		return 0, abi.CodeTooManyTimers
	}
	c.Timers++
	if err := x.state.set(chain.ContractKey(contract), c.Append(nil)); err != nil {
		return 0, err
	}
	return x.addTimer(due, &chain.Timer{Kind: chain.TimerContract, Contract: contract, Message: msg, Account: payer})
}

// dueTimer is a timer whose time has come.
type dueTimer struct{ key, value []byte }

// runTimers runs the timers that are due, in the order of their keys: at most
// Params.BlockTimers, and no further one once they might use more than half
// of the block's gas, or ran half of the code that a block may. The rest runs
// in the next block.
func (x *execution) runTimers() error {
	var due []dueTimer
	err := each(x.state, chain.TimerPrefix(), func(key, value []byte) (bool, error) {
		if chain.TimerDue(key) > x.header.Time || uint64(len(due)) == x.params.BlockTimers {
			return false, nil
		}
		due = append(due, dueTimer{key, value})
		return true, nil
	})
	if err != nil {
		return err
	}
	for _, d := range due {
		if x.timerGas+x.params.TxGas > x.params.BlockGas/2 || x.codes.half() {
			return nil
		}
		if err := x.timer(d); err != nil {
			return err
		}
	}
	return nil
}

// timer runs one timer and adds its outcome. It is gone, however it ends, and
// its payer has the bytes back.
func (x *execution) timer(d dueTimer) error {
	t, err := chain.ParseTimer(d.value)
	if err != nil {
		return faultf("timer %x: %w", d.key, err)
	}
	account, ok, err := load(x.state, chain.AccountKey(t.Account), chain.ParseAccount)
	if err != nil || !ok {
		return errors.Join(err, missing(ok, "payer of a timer"))
	}
	x.state.growth = 0
	if err := x.state.delete(d.key); err != nil {
		return err
	}
	r := &running{x: x}
	if r.purse, err = payer(x.state, t.Account, &account, &x.params, x.header.Time); err != nil {
		return err
	}
	r.limit = min(x.params.TxGas, r.purse.Gas)
	o := chain.Outcome{ID: chain.TimerID(d.key)}
	switch t.Kind {
	case chain.TimerContract:
		err = x.contractTimer(r, &t, &o)
	case chain.TimerActivate:
		err = x.activate(r, &t, &o)
	case chain.TimerUpgrade:
		err = x.activateUpgrade(r, &t, &o)
	case chain.TimerProposal:
		err = x.proposalTimer(r, &t, &o)
	case chain.TimerUpload:
		r.used = min(gasTimer, r.limit)
		err = x.settle(r, x.state.mark(), x.expireUpload(&t), &o)
	default:
		return faultf("timer %x is of kind %d", d.key, t.Kind)
	}
	if err != nil {
		return err
	}
	x.timerGas += o.Gas
	x.timers++
	x.addOutcome(&o)
	return nil
}

// contractTimer runs a contract's timer entry.
func (x *execution) contractTimer(r *running, t *chain.Timer, o *chain.Outcome) error {
	c, ok, err := load(x.state, chain.ContractKey(t.Contract), chain.ParseContract)
	if err != nil || !ok {
		return errors.Join(err, missing(ok, "contract of a timer"))
	}
	c.Timers--
	if err := x.state.set(chain.ContractKey(t.Contract), c.Append(nil)); err != nil {
		return err
	}
	before := x.state.mark()
	err = r.spendTimer()
	if err == nil {
		err = r.enter(abi.EntryTimer, t.Contract, &c, &abi.Input{Message: t.Message})
	}
	return x.settle(r, before, err, o)
}

// spendTimer takes a timer's own price. A payer who has less loses
// the timer.
func (r *running) spendTimer() error {
	if err := r.spend(gasTimer); err != nil {
		return abi.CodeGasQuota
	}
	return nil
}

// activate runs a contract's init and makes it active, or failed if init
// fails. A contract without init becomes active if it was given no message.
func (x *execution) activate(r *running, t *chain.Timer, o *chain.Outcome) error {
	key := chain.ContractKey(t.Contract)
	c, ok, err := load(x.state, key, chain.ParseContract)
	if err != nil || !ok {
		return errors.Join(err, missing(ok, "contract to be activated"))
	}
	if err := x.settle(r, x.state.mark(), x.begun(r, abi.EntryInit, t, &c), o); err != nil {
		return err
	}
	// Init may have scheduled timers, which count in the record.
	if c, _, err = load(x.state, key, chain.ParseContract); err != nil {
		return err
	}
	status := chain.VersionActive
	c.Status, c.Failure, c.FailureCode = chain.ContractActive, 0, 0
	if o.Code != abi.OK {
		status = chain.VersionFailed
		c.Status, c.Failure, c.FailureCode = chain.ContractFailed, o.Code, o.Abort
	}
	if err := x.state.setFree(key, c.Append(nil)); err != nil {
		return err
	}
	return x.decideVersion(t.Contract, c.Version, status, o)
}

// tick tells whether a tick's timer is due in this block. A tick does nothing
// else: the timers have run.
func (x *execution) tick(due int64) (abi.Code, error) {
	if due > x.header.Time {
		return abi.CodeStaleTick, nil
	}
	there, err := hasTimer(x.state.base, due)
	if err != nil || there {
		return abi.OK, err
	}
	return abi.CodeStaleTick, nil
}

// hasTimer says whether a timer is due at exactly this time.
func hasTimer(r reader, due int64) (found bool, err error) {
	prefix := chain.TimerKey(due, math.MaxUint64)[:9]
	err = each(r, prefix, func(_, _ []byte) (bool, error) {
		found = true
		return false, nil
	})
	return found, err
}
