package declog

import (
	"context"
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
)

// Receipt proves the decision with a number, all of it disclosed. If the ledger
// has no head yet that covers it, it is abi.CodeNotReady, or, with now, the head
// is anchored and waited for until ctx ends. abi.CodeNotFound means that there
// is no such decision, or none any more.
func (l *Log) Receipt(ctx context.Context, number uint64, now bool) (*proof.Receipt, error) {
	it, err := l.find(number)
	if err != nil {
		return nil, err
	}
	a, err := l.cfg.Anchored()
	if err != nil {
		return nil, err
	}
	if a.Size <= it.Position {
		if !now {
			return nil, fmt.Errorf("record %d is not anchored yet: %w", number, abi.CodeNotReady)
		}
		if err := l.anchorNow(ctx, it.Position); err != nil {
			return nil, fmt.Errorf("anchoring record %d: %w", number, err)
		}
	}
	e, steps, err := l.cfg.Prove(chain.AnchorKey(l.cfg.Account))
	if err != nil {
		return nil, err
	}
	l.writing.Lock()
	defer l.writing.Unlock()
	return l.files.receipt(l.cfg.Account, it, e, steps)
}

// Decision reads the decision with a number, anchored or not, once it is synced.
func (l *Log) Decision(number uint64) (*proof.Record, error) {
	it, err := l.find(number)
	if err != nil {
		return nil, err
	}
	return it.Decision, nil
}

// anchorNow sees to an anchor that covers a position. One that is under way may
// not: then another one follows, since the demand outlasts it.
func (l *Log) anchorNow(ctx context.Context, position uint64) error {
	before := l.anchor.failures()
	select {
	case l.anchor.demand <- struct{}{}:
	default: // Run has yet to look anyway
	}
	_, err := l.await(ctx, position+1, before)
	return err
}

// find reads the record with a number, once it is synced.
func (l *Log) find(number uint64) (*Item, error) {
	l.writing.Lock()
	defer l.writing.Unlock()
	if err := l.flushLocked(); err != nil {
		return nil, err
	}
	return l.files.decision(number)
}

// decision is the decision with a number.
func (f *files) decision(number uint64) (*Item, error) {
	it, err := f.item(number)
	if err == nil && it.Gap != nil {
		err = fmt.Errorf("record %d was lost when this gateway crashed, or never was; the log says so: %w", number, abi.CodeNotFound)
	}
	return it, err
}

// receipt makes the receipt of a decision from the proof of the log's anchor.
func (f *files) receipt(account abi.Hash, it *Item, e *proof.Entry, steps []proof.Step) (*proof.Receipt, error) {
	value, present, err := e.State.Verify(e.Header.State, chain.AnchorKey(account))
	if err != nil {
		return nil, err
	}
	if !present {
		return nil, fmt.Errorf("the log is not anchored yet: %w", abi.CodeNotReady)
	}
	a, err := chain.ParseAnchored(value)
	if err != nil {
		return nil, err
	}
	if a.Size <= it.Position {
		return nil, fmt.Errorf("record %d is not anchored yet: %w", it.number(), abi.CodeNotReady)
	}
	path, err := prove(a.Size, it.Position, f.tree.reader(f.source))
	if err != nil {
		return nil, err
	}
	return &proof.Receipt{
		Account: account, Record: it.Decision.Disclose(0), Anchor: *e, Steps: steps,
		Log: proof.LogProof{Index: it.Position, Path: path, Checkpoint: a.Note},
	}, nil
}
