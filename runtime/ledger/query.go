package ledger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/runtime/wasm"
	"github.com/seed79541315/postern/storage"
)

// Query runs a contract's query at the newest height, which it returns. The
// result is this node's word; nothing proves it. Errors carry a code, and
// abi.Aborted where the contract gave its own.
func (l *Ledger) Query(ctx context.Context, contract string, message []byte) (out []byte, height uint64, err error) {
	v, head, err := l.take()
	if err != nil {
		return nil, 0, err
	}
	defer v.Release()
	r := hot{v}
	c, err := readActive(r, contract)
	if err != nil {
		return nil, 0, l.outside(err)
	}
	h := &head.header
	in := abi.Input{Chain: h.Chain, Height: h.Height, Time: h.Time, Contract: contract, Owner: c.Owner, Message: message}
	e := &env{ledger: l, read: r, contract: contract, input: &in}
	res, err := l.runtime.Call(ctx, wasm.Call{
		Protocol: head.params.Protocol, Code: c.Code, Load: func() ([]byte, error) { return loadCode(r, c.Code) },
		Entry: abi.EntryQuery, Input: abi.AppendInput(nil, &in), Gas: head.params.QueryGas,
		Env: e,
	})
	var trap *wasm.Trap
	if errors.As(err, &trap) {
		e.failed(abi.EntryQuery, res.AbortCode, trap)
	}
	switch {
	case errors.As(err, &trap) && trap.Code == abi.CodeAborted:
		return nil, 0, fmt.Errorf("%w: %w", abi.Aborted(res.AbortCode), trap)
	case errors.As(err, &trap):
		return nil, 0, trap
	case err != nil && ctx.Err() != nil:
		return nil, 0, fmt.Errorf("%w: %w", abi.CodeTimeout, err)
	case err != nil:
		return nil, 0, l.unavailable(&fault{err})
	}
	return res.Output, h.Height, nil
}

// Prove proves an entry of the state, or its absence, at the newest height.
func (l *Ledger) Prove(key []byte) (proof.Entry, error) {
	v, head, err := l.take()
	if err != nil {
		return proof.Entry{}, err
	}
	defer v.Release()
	e := proof.Entry{Header: head.header, Validators: head.signers}
	if e.State, err = v.Prove(key); err != nil {
		return proof.Entry{}, l.unavailable(err)
	}
	_, certificate, _, err := l.store.Block(v.Height())
	if err != nil {
		return proof.Entry{}, l.unavailable(err)
	}
	if len(certificate) == 0 { // the genesis block has none
		return e, nil
	}
	e.Certificate, err = chain.ParseCertificate(certificate)
	return e, err
}

// Bounds of one Scan: pairs, and their bytes, so that an answer fits a frame.
const (
	maxScanPairs = 1000
	maxScanBytes = 64 << 10
)

// Scan reads state entries under a prefix from start on, in order of keys:
// at most limit, and fewer when they are large; more says that it stopped
// before the end. At least one entry is given if there is one.
func (l *Ledger) Scan(prefix, start []byte, limit int) (pairs [][2][]byte, more bool, height uint64, err error) {
	if len(prefix) == 0 || len(prefix) > storage.MaxKey || len(start) > storage.MaxKey || limit <= 0 {
		return nil, false, 0, abi.CodeBadArgument
	}
	v, _, err := l.take()
	if err != nil {
		return nil, false, 0, err
	}
	defer v.Release()
	limit = min(limit, maxScanPairs)
	it := v.Scan(prefix, start)
	defer it.Close()
	bytes := 0
	for it.Next() {
		bytes += len(it.Key()) + len(it.Value())
		if len(pairs) == limit || len(pairs) > 0 && bytes > maxScanBytes {
			return pairs, true, v.Height(), nil
		}
		pairs = append(pairs, [2][]byte{it.Key(), it.Value()})
	}
	if err := it.Err(); err != nil {
		return nil, false, 0, l.unavailable(err)
	}
	return pairs, false, v.Height(), nil
}

// Block returns what was committed at a height: the encoded block, its
// certificate (empty for block 0) and its outcomes. The error is
// abi.CodeNotFound when there is none.
func (l *Ledger) Block(height uint64) (block, certificate, outcomes []byte, err error) {
	block, certificate, outcomes, err = l.store.Block(height)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil, nil, fmt.Errorf("block %d: %w", height, abi.CodeNotFound)
	}
	if err != nil {
		err = l.unavailable(err)
	}
	return block, certificate, outcomes, err
}

// Tx tells where a committed transaction stands, with its bytes. The error is
// abi.CodeNotFound when this node's index does not have it.
func (l *Ledger) Tx(id abi.Hash) (abi.TxResult, error) {
	v, _, err := l.take()
	if err != nil {
		return abi.TxResult{}, err
	}
	place, ok, err := v.Plain(chain.TxIndexKey(id))
	v.Release()
	switch {
	case err != nil:
		return abi.TxResult{}, l.unavailable(err)
	case !ok:
		return abi.TxResult{}, abi.CodeNotFound
	case len(place) != 12:
		return abi.TxResult{}, l.unavailable(fmt.Errorf("index entry of %d bytes", len(place)))
	}
	t := abi.TxResult{ID: id, Height: binary.BigEndian.Uint64(place), Index: uint64(binary.BigEndian.Uint32(place[8:]))}
	raw, _, outcomes, err := l.Block(t.Height)
	if err != nil {
		return abi.TxResult{}, err
	}
	k, err := chain.ParseBlock(raw)
	if err != nil {
		return abi.TxResult{}, l.unavailable(&fault{err})
	}
	list, err := chain.ParseOutcomes(outcomes)
	if err != nil || t.Index >= uint64(len(list)) {
		return abi.TxResult{}, l.unavailable(faultf("outcomes of block %d: %w", t.Height, err))
	}
	// The outcomes of timers come before those of transactions.
	timers := uint64(len(list) - len(k.Txs))
	if t.Index < timers {
		return abi.TxResult{}, l.unavailable(faultf("index of %x names the outcome of a timer", id))
	}
	t.Outcome, t.Tx = list[t.Index], k.Txs[t.Index-timers]
	return t, nil
}

// maxWaiters bounds the calls of Wait at one time.
const maxWaiters = 4096

// waiters are the calls of Wait, by transaction.
type waiters struct {
	mu    sync.Mutex
	byID  map[abi.Hash][]chan abi.TxResult // guarded by mu
	count int                              // guarded by mu
}

func (w *waiters) init() { w.byID = make(map[abi.Hash][]chan abi.TxResult) }

func (w *waiters) add(id abi.Hash) (chan abi.TxResult, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.count == maxWaiters {
		return nil, abi.CodeBusy
	}
	ch := make(chan abi.TxResult, 1)
	w.byID[id] = append(w.byID[id], ch)
	w.count++
	return ch, nil
}

func (w *waiters) remove(id abi.Hash, ch chan abi.TxResult) {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := w.byID[id]
	for i, c := range list {
		if c == ch {
			list = append(list[:i:i], list[i+1:]...)
			w.count--
			break
		}
	}
	if len(list) == 0 {
		delete(w.byID, id)
	} else {
		w.byID[id] = list
	}
}

func (w *waiters) wake(id abi.Hash, t *abi.TxResult) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, ch := range w.byID[id] {
		select {
		case ch <- *t:
		default: // it was told of an earlier outcome
		}
	}
}

// Wait waits until a transaction is committed. It may be called before or
// after the transaction was submitted. The error is abi.CodeTimeout when ctx
// ends first: the transaction may still be committed.
func (l *Ledger) Wait(ctx context.Context, id abi.Hash) (abi.TxResult, error) {
	ch, err := l.waiters.add(id)
	if err != nil {
		return abi.TxResult{}, err
	}
	defer l.waiters.remove(id, ch)
	if t, err := l.Tx(id); !errors.Is(err, abi.CodeNotFound) {
		return t, err
	}
	select {
	case t := <-ch:
		return t, nil
	case <-ctx.Done():
		return abi.TxResult{}, fmt.Errorf("%w: %w", abi.CodeTimeout, ctx.Err())
	}
}
