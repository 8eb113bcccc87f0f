package ledger

import (
	"bytes"
	"context"
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
)

// blockHead is room in bytes for a block's header and the heads around it.
const blockHead = 512

// txHead is the longest head of a transaction within a block.
const txHead = 5

// Propose makes the next block of the first transactions of raws that fit in
// bytes and gas, and executes it. What cannot be part of any block (it does
// not parse, is for another chain, has a bad signature, or stands there
// twice) is left out. The header's time is now, or just above the parent's;
// where a code had to be compiled first, it is the clock's after that. The
// error is abi.CodeNotFound when nothing is left to propose.
func (l *Ledger) Propose(ctx context.Context, now int64, raws [][]byte) (*chain.Block, error) {
	now, err := l.prepare(ctx, now)
	if err != nil {
		return nil, err
	}
	before, _ := l.cfg.Clock()
	k, err := l.propose(ctx, now, raws)
	if after, _ := l.cfg.Clock(); err == nil && after > before+slowBlock {
		return l.propose(ctx, max(now, after), raws)
	}
	return k, err
}

// slowBlock is how long, in ms, making a block may take before it is made once
// more with a later time. Codes that were not compiled are the only reason, the
// first block of a new protocol version the usual time; they are compiled now.
const slowBlock = 2000

// propose makes and executes a block of a time, in ms.
func (l *Ledger) propose(ctx context.Context, now int64, raws [][]byte) (*chain.Block, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	txs := l.usable(raws)
	v, err := l.store.HeadView()
	if err != nil {
		return nil, err
	}
	defer v.Release()
	head := l.head.Load()
	x, err := l.begin(ctx, v, head, max(now, head.header.Time+1))
	if err != nil {
		return nil, err
	}
	if err := x.runTimers(); err != nil {
		return nil, err
	}
	taken := x.prefix(txs)
	if len(taken) == 0 {
		return nil, fmt.Errorf("none of %d transactions can be proposed: %w", len(raws), abi.CodeNotFound)
	}
	body := make([][]byte, 0, len(taken))
	for _, t := range taken {
		if len(body) > 0 && x.codes.half() {
			break // the rest would find too little room for code
		}
		if err := x.transaction(t); err != nil {
			return nil, err
		}
		body = append(body, t.Raw)
	}
	r, err := x.finish(body)
	if err != nil {
		return nil, err
	}
	l.executed.put(r)
	return r.block, nil
}

// prepare compiles what the activations due by now need, and gives the time of
// the block. Compiling a large guest takes seconds: a block that was given its
// time before would be too old for the other validators when it is done.
func (l *Ledger) prepare(ctx context.Context, now int64) (int64, error) {
	if due, ok := l.NextTimer(); !ok || due > now {
		return now, nil
	}
	codes, err := l.dueCodes(now)
	if err != nil {
		return 0, err
	}
	waited := false
	for _, code := range codes {
		waited = waited || !l.runtime.Ready(l.protocol(), code)
		if err := l.compile(ctx, l.protocol(), code); err != nil {
			return 0, err
		}
	}
	if waited {
		ms, _ := l.cfg.Clock()
		now = max(now, ms)
	}
	return now, nil
}

// dueCodes are the codes of the activations due by now, as many as one block
// can run.
func (l *Ledger) dueCodes(now int64) (codes []abi.Hash, err error) {
	v, err := l.store.HeadView()
	if err != nil {
		return nil, err
	}
	defer v.Release()
	r, left := cold{v}, l.head.Load().params.BlockTimers
	err = each(r, chain.TimerPrefix(), func(key, value []byte) (bool, error) {
		if chain.TimerDue(key) > now || left == 0 {
			return false, nil
		}
		left--
		t, err := chain.ParseTimer(value)
		if err != nil || t.Kind != chain.TimerActivate && t.Kind != chain.TimerUpgrade {
			return true, err
		}
		code, ok, err := pendingCode(r, t.Contract)
		if ok {
			codes = append(codes, code)
		}
		return true, err
	})
	return codes, err
}

// usable parses transactions and leaves out what would spoil a block.
func (l *Ledger) usable(raws [][]byte) []*chain.Tx {
	txs := make([]*chain.Tx, 0, len(raws))
	ids := make(map[abi.Hash]struct{}, len(raws))
	for _, raw := range raws {
		t, err := chain.ParseTx(raw)
		if err == nil && t.Tick == 0 {
			if t.Chain != l.chain {
				err = abi.CodeWrongChain
			} else {
				err = l.verify(t)
			}
		}
		if err != nil {
			l.cfg.Logger.Warn("a transaction is left out of a block", "err", err)
			continue
		}
		if _, twice := ids[t.ID]; !twice {
			ids[t.ID] = struct{}{}
			txs = append(txs, t)
		}
	}
	return txs
}

// prefix is the first transactions that fit. One that would not fit into any
// block does not stand in the way of the others.
func (x *execution) prefix(txs []*chain.Tx) []*chain.Tx {
	room, gas := abi.MaxBlock-blockHead, x.gasLeft()
	var taken []*chain.Tx
	for _, t := range txs {
		if declaredGas(t) > x.params.BlockGas/2 {
			continue
		}
		if len(t.Raw)+txHead > room || declaredGas(t) > gas {
			break
		}
		room -= len(t.Raw) + txHead
		gas -= declaredGas(t)
		taken = append(taken, t)
	}
	return taken
}

// Verify checks a block that another validator proposed, up to the roots that
// its execution leads to. The leader's clock is the consensus' to judge.
func (l *Ledger) Verify(ctx context.Context, k *chain.Block) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := l.examine(ctx, k)
	return err
}

// examine gives the result of a block that follows the head, executing it
// unless that was done. The caller holds mu.
func (l *Ledger) examine(ctx context.Context, k *chain.Block) (*result, error) {
	if r := l.executed.find(k); r != nil {
		return r, nil
	}
	txs, err := l.checkForm(k)
	if err != nil {
		return nil, fmt.Errorf("block %d: %w", k.Header.Height, err)
	}
	r, err := l.execute(ctx, k, txs)
	if err != nil {
		return nil, fmt.Errorf("block %d: %w", k.Header.Height, err)
	}
	l.executed.put(r)
	return r, nil
}

// checkForm checks everything about a block that needs no execution.
func (l *Ledger) checkForm(k *chain.Block) ([]*chain.Tx, error) {
	head, h := l.head.Load(), &k.Header
	switch {
	case h.Chain != l.chain:
		return nil, abi.CodeWrongChain
	case h.Protocol != head.params.Protocol:
		return nil, fmt.Errorf("protocol version %d: %w", h.Protocol, abi.CodeUnknownVersion)
	case h.Height != head.header.Height+1 || h.Parent != head.hash:
		return nil, fmt.Errorf("it does not follow block %d: %w", head.header.Height, abi.CodeBadArgument)
	case h.Time <= head.header.Time:
		return nil, fmt.Errorf("its time is not above its parent's: %w", abi.CodeBadArgument)
	case h.Validators != head.validators.Hash():
		return nil, fmt.Errorf("its validators are not those of the parent: %w", abi.CodeBadProof)
	case len(k.Txs) == 0:
		return nil, fmt.Errorf("it is empty: %w", abi.CodeBadArgument)
	case len(chain.AppendBlock(nil, k)) > abi.MaxBlock:
		return nil, abi.CodeTooLarge
	case proof.Root(k.Txs) != h.Transactions:
		return nil, fmt.Errorf("root of the transactions: %w", abi.CodeBadProof)
	}
	txs := make([]*chain.Tx, len(k.Txs))
	for i, raw := range k.Txs {
		t, err := chain.ParseTx(raw)
		if err != nil {
			return nil, fmt.Errorf("transaction %d: %w", i, err)
		}
		if t.Tick == 0 && t.Chain != l.chain {
			return nil, fmt.Errorf("transaction %d: %w", i, abi.CodeWrongChain)
		}
		txs[i] = t
	}
	return txs, l.verifyAll(txs)
}

// execute runs a block and compares what comes out with its header.
func (l *Ledger) execute(ctx context.Context, k *chain.Block, txs []*chain.Tx) (*result, error) {
	v, err := l.store.HeadView()
	if err != nil {
		return nil, err
	}
	defer v.Release()
	x, err := l.begin(ctx, v, l.head.Load(), k.Header.Time)
	if err != nil {
		return nil, err
	}
	if err := x.runTimers(); err != nil {
		return nil, err
	}
	if err := x.checkGas(txs); err != nil {
		return nil, err
	}
	for _, t := range txs {
		if err := x.transaction(t); err != nil {
			return nil, err
		}
	}
	r, err := x.finish(k.Txs)
	if err != nil {
		return nil, err
	}
	return r, compare(&r.block.Header, &k.Header)
}

func (x *execution) checkGas(txs []*chain.Tx) error {
	left := x.gasLeft()
	for _, t := range txs {
		if declaredGas(t) > left {
			return fmt.Errorf("it declares more gas than a block has: %w", abi.CodeBlockFull)
		}
		left -= declaredGas(t)
	}
	return nil
}

// compare finds what differs between the header that execution gives and the
// one that was proposed.
func compare(ours, theirs *chain.Header) error {
	for _, root := range []struct {
		name         string
		ours, theirs abi.Hash
	}{
		{"outcomes", ours.Outcomes, theirs.Outcomes},
		{"state", ours.State, theirs.State},
		{"next validators", ours.NextValidators, theirs.NextValidators},
	} {
		if root.ours != root.theirs {
			return fmt.Errorf("execution gives another root of the %s, %x and not %x: %w", root.name, root.ours[:8], root.theirs[:8], abi.CodeBadProof)
		}
	}
	if *ours != *theirs {
		return fmt.Errorf("execution gives another header: %w", abi.CodeBadProof)
	}
	return nil
}

// maxExecuted bounds the speculative results that are kept: the leader's own,
// and those of views that changed. A block's changes are a few MiB at most.
const maxExecuted = 4

// executed keeps the results of blocks that may follow the head.
type executed struct{ results []*result }

func (e *executed) put(r *result) {
	if len(e.results) == maxExecuted {
		e.results = append(e.results[:0], e.results[1:]...)
	}
	e.results = append(e.results, r)
}

// find gives the result of exactly this block: a header alone does not prove
// that the transactions beside it are its own.
func (e *executed) find(k *chain.Block) *result {
	for _, r := range e.results {
		if r.block.Header == k.Header && sameTxs(r.block.Txs, k.Txs) {
			return r
		}
	}
	return nil
}

func sameTxs(a, b [][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !bytes.Equal(a[i], b[i]) {
			return false
		}
	}
	return true
}

func (e *executed) clear() { clear(e.results); e.results = e.results[:0] }
