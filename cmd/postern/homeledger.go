package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/runtime/declog"
	"github.com/seed79541315/postern/sdk/client"
	"github.com/seed79541315/postern/storage"
)

// homeLedger reads the ledger of a home: from its database while the node is
// stopped, and nobody starts it meanwhile; else from the node that runs, whose
// answers are checked.
type homeLedger struct {
	home   home
	lock   *os.File
	store  *storage.Store // nil while the node runs
	client *client.Client // nil while it does not
}

func openHomeLedger(c *cli.Context, h home) (*homeLedger, error) {
	l := &homeLedger{home: h}
	var err error
	if l.lock, err = h.lockExisting(); err != nil {
		if !h.exists() {
			return nil, err
		}
		l.client, _, err = connect(c, operatorKeyFile)
		return l, err
	}
	l.store, err = storage.Open(storage.Config{Dir: h.path("data"), Logger: newLogger("error")})
	if err == nil && l.store.Head().Empty {
		err = fmt.Errorf("%s holds no block yet; start its node once", h)
	}
	if err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *homeLedger) close() {
	if l.client != nil {
		l.client.Close()
	}
	if l.store != nil {
		l.store.Close()
	}
	if l.lock != nil {
		l.lock.Close()
	}
}

// block reads a block with its certificate.
func (l *homeLedger) block(ctx context.Context, height uint64) (*chain.Block, *chain.Certificate, error) {
	if l.client != nil {
		b, err := l.client.Block(ctx, height)
		if err != nil {
			return nil, nil, err
		}
		return b.Block, &b.Certificate, nil
	}
	raw, rawCertificate, _, err := l.store.Block(height)
	if err != nil {
		return nil, nil, err
	}
	k, err := chain.ParseBlock(raw)
	if err != nil {
		return nil, nil, err
	}
	certificate, err := chain.ParseCertificate(rawCertificate)
	return k, &certificate, err
}

// prove proves what stands in the newest state under a key.
func (l *homeLedger) prove(ctx context.Context, key []byte) (*proof.Entry, []proof.Step, error) {
	if l.client != nil {
		return proveByClient(ctx, l.client, key)
	}
	v, err := l.store.HeadView()
	if err != nil {
		return nil, nil, err
	}
	defer v.Release()
	k, certificate, err := l.block(ctx, v.Height())
	if err != nil {
		return nil, nil, err
	}
	_, genesis, err := l.home.genesis()
	if err != nil {
		return nil, nil, err
	}
	e := &proof.Entry{Header: k.Header, Certificate: *certificate, Validators: genesis.Validators}
	if e.State, err = v.Prove(key); err != nil {
		return nil, nil, err
	}
	all, err := storedSteps(l.store)
	steps := stepsBelow(all, k.Header.Height)
	if len(steps) > 0 {
		e.Validators = steps[len(steps)-1].Next
	}
	return e, steps, err
}

// stepsBelow are the changes of the validators that lead to those of a height.
func stepsBelow(steps []proof.Step, height uint64) []proof.Step {
	n := 0
	for n < len(steps) && steps[n].Header.Height < height {
		n++
	}
	return steps[:n]
}

func proveByClient(ctx context.Context, cl *client.Client, key []byte) (*proof.Entry, []proof.Step, error) {
	p, known, err := cl.Prove(ctx, key)
	if err != nil {
		return nil, nil, err
	}
	e := &proof.Entry{Header: known.Header, Certificate: known.Certificate, Validators: known.Validators}
	if e.State, err = proof.ParseState(p.State); err != nil {
		return nil, nil, err
	}
	var steps []proof.Step
	for _, raw := range p.Steps {
		s, err := proof.ParseStep(raw)
		if err != nil {
			return nil, nil, err
		}
		steps = append(steps, s)
	}
	return e, steps, nil
}

// anchored is the newest anchor of an account's log; its size is 0 if there is
// none.
func (l *homeLedger) anchored(ctx context.Context, account abi.Hash) (a chain.Anchored, err error) {
	if l.store != nil {
		return anchoredOn(l.store, account)
	}
	e, err := l.client.Get(ctx, chain.AnchorKey(account))
	if err != nil || !e.Present {
		return a, err
	}
	return chain.ParseAnchored(e.Value)
}

// heads are the anchors of an account's log: the newest, and, from a database,
// the earlier ones that the ledger keeps.
func (l *homeLedger) heads(ctx context.Context, account abi.Hash) (newest chain.Anchored, heads []declog.Head, err error) {
	newest, err = l.anchored(ctx, account)
	if err != nil || newest.Size == 0 {
		return newest, nil, err
	}
	heads = []declog.Head{{Size: newest.Size, Root: newest.Root, From: "the ledger"}}
	if l.store == nil {
		return newest, heads, nil
	}
	v, err := l.store.HeadView()
	if err != nil {
		return newest, nil, err
	}
	defer v.Release()
	it := v.Scan(chain.AnchorAtPrefix(account), nil)
	defer it.Close()
	for it.Next() {
		at, err := chain.ParseAnchoredAt(it.Value())
		if err != nil {
			return newest, nil, fmt.Errorf("an anchor: %w", err)
		}
		size := binary.BigEndian.Uint64(it.Key()[len(it.Key())-8:])
		heads = append(heads, declog.Head{Size: size, Root: at.Root, From: fmt.Sprintf("block %d", at.Height)})
	}
	return newest, heads, it.Err()
}
