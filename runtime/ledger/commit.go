package ledger

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/storage"
)

// Commit makes a certified block part of the ledger, in one commit of the
// store. The caller has verified the certificate; the block itself is
// executed here unless Propose or Verify did so. A block at or below the head
// is a no-op, one above the next height an error. An error at the next height
// means that this node cannot go on: its execution differs, or its store has
// failed.
func (l *Ledger) Commit(ctx context.Context, k *chain.Block, c *chain.Certificate) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	head := l.head.Load()
	if k.Header.Height <= head.header.Height {
		return nil
	}
	r, err := l.examine(ctx, k)
	if err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	next, err := l.write(r, c, head)
	if err != nil {
		return fmt.Errorf("committing block %d: %w", k.Header.Height, err)
	}
	l.executed.clear()
	l.publish(next)
	l.announce(r)
	return l.announceVersion(r, next.params.Protocol)
}

// write commits a result to the store. Before the store publishes the new
// height, readers must be able to find its tip and must know what changed.
func (l *Ledger) write(r *result, c *chain.Certificate, head *tip) (*tip, error) {
	v, err := l.store.HeadView()
	if err != nil {
		return nil, err
	}
	defer v.Release()
	h := r.block.Header
	next := &tip{header: h, hash: r.hash, signers: head.validators, validators: r.validators}
	after := newState(cold{v})
	after.top = r.top
	if err := next.readState(after); err != nil {
		return nil, err
	}
	if err := l.checkProtocol(next.params.Protocol); err != nil {
		return nil, err
	}
	plain, err := indexPlaces(v, r)
	if err != nil {
		return nil, err
	}
	plain, swept, err := sweep(v, l.swept, chain.Minute(h.Time), append(plain, r.plain...))
	if err != nil {
		return nil, err
	}
	if step, ok := stepOf(&h, c, next.validators); ok {
		plain = append(plain, step)
	}
	l.changed.raise(r.changes, h.Height)
	l.slot(h.Height).Store(next)
	err = l.store.Commit(storage.Block{
		Height: h.Height, Block: chain.AppendBlock(nil, r.block), Certificate: appendCertificate(c),
		Outcomes: chain.AppendOutcomes(nil, r.outcomes), Update: r.update, Plain: plain,
	})
	l.swept = swept
	return next, err
}

func appendCertificate(c *chain.Certificate) []byte {
	if c == nil {
		return []byte{}
	}
	return c.Append(nil)
}

// indexPlaces makes the index entries of a block's transactions.
func indexPlaces(v *storage.View, r *result) ([]storage.Change, error) {
	list := make([]storage.Change, 0, len(r.places))
	at := make(map[abi.Hash]struct{}, len(r.places))
	for _, weak := range []bool{false, true} {
		for _, p := range r.places {
			if _, done := at[p.id]; done || p.weak != weak {
				continue
			}
			at[p.id] = struct{}{}
			key := chain.TxIndexKey(p.id)
			if weak {
				if _, there, err := v.Plain(key); err != nil || there {
					if err != nil {
						return nil, err
					}
					continue
				}
			}
			value := binary.BigEndian.AppendUint64(make([]byte, 0, 12), r.block.Header.Height)
			list = append(list, storage.Change{Key: key, Value: binary.BigEndian.AppendUint32(value, uint32(p.index))})
		}
	}
	return list, nil
}

// announce tells whoever waits that a block was committed.
func (l *Ledger) announce(r *result) {
	l.counts.block(r)
	l.rates.giveBack(r.payers)
	l.relayed.giveBack(r.payers)
	r.failures.tell(l.cfg.Logger, r.block.Header.Height)
	for _, p := range r.places {
		l.waiters.wake(p.id, &abi.TxResult{
			ID: p.id, Height: r.block.Header.Height, Index: uint64(p.index), Outcome: r.outcomes[p.index],
		})
	}
	for _, code := range r.deployed {
		l.wantCompiled(code)
	}
	l.news.tell()
	for _, fn := range l.onCommit {
		fn(r.block)
	}
	if ids := accountsIn(r.changes); len(ids) > 0 {
		for _, fn := range l.onAccounts {
			fn(ids)
		}
	}
}

// accountsIn names the accounts and devices whose records changed: twice where
// both did. A new key of an account changes its record, too.
func accountsIn(changes []storage.Change) (ids []abi.Hash) {
	for i := range changes {
		switch key := changes[i].Key; key[0] {
		case 'a', 'd':
			ids = append(ids, abi.Hash(key[1:]))
		}
	}
	return ids
}

// maxCompiles bounds the queue of codes that wait for the compiler. What does
// not fit is compiled by the first call that needs it.
const maxCompiles = 64

func (l *Ledger) wantCompiled(code abi.Hash) {
	select {
	case l.compiles <- code:
	default:
	}
}

// Run compiles codes in the background, one at a time, until ctx ends: first
// those of wantContracts, then what is deployed, and everything in use for a
// protocol version that is proposed.
func (l *Ledger) Run(ctx context.Context) error {
	if err := l.wantContracts(); err != nil {
		return err
	}
	if err := l.lookForVersion(l.protocol()); err != nil {
		return err
	}
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case code := <-l.compiles:
			err = l.compile(ctx, l.protocol(), code)
		case version := <-l.versions:
			err = l.compileAll(ctx, version)
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// protocol is the version by which the next block is executed.
func (l *Ledger) protocol() uint64 { return l.head.Load().params.Protocol }

// wantContracts queues the codes that will be needed first: those of the
// contracts and versions that wait for their activation and of those that
// decide.
func (l *Ledger) wantContracts() error {
	v, err := l.store.HeadView()
	if err != nil {
		return err
	}
	defer v.Release()
	r := cold{v}
	err = each(r, chain.ContractPrefix(), func(key, _ []byte) (bool, error) {
		code, ok, err := pendingCode(r, string(key[1:]))
		if ok {
			l.wantCompiled(code)
		}
		return true, err
	})
	if err != nil {
		return err
	}
	return each(r, []byte{'p'}, func(_, value []byte) (bool, error) {
		d, err := chain.ParseDomain(value)
		if err != nil {
			return false, err
		}
		c, ok, err := load(r, chain.ContractKey(d.Contract), chain.ParseContract)
		if ok && c.Status == chain.ContractActive {
			l.wantCompiled(c.Code)
		}
		return true, err
	})
}

// pendingCode is the code of a contract that waits for its activation, or of
// the version of one that does.
func pendingCode(r reader, contract string) (code abi.Hash, ok bool, err error) {
	c, ok, err := load(r, chain.ContractKey(contract), chain.ParseContract)
	switch {
	case err != nil || !ok:
		return code, false, err
	case c.Status == chain.ContractPending:
		return c.Code, true, nil
	case c.Pending == 0:
		return code, false, nil
	}
	v, ok, err := load(r, chain.VersionKey(contract, c.Pending), chain.ParseContractVersion)
	return v.Code, ok, err
}

// compile compiles a code that is on the ledger for a protocol version.
func (l *Ledger) compile(ctx context.Context, protocol uint64, code abi.Hash) error {
	if l.runtime.Ready(protocol, code) {
		return nil
	}
	blob, err := l.codeBytes(code)
	if err == nil {
		err = l.runtime.Compile(ctx, protocol, code, blob)
	}
	if err != nil {
		return fmt.Errorf("compiling code %x: %w", code[:8], err)
	}
	return nil
}

func (l *Ledger) codeBytes(code abi.Hash) ([]byte, error) {
	v, err := l.store.HeadView()
	if err != nil {
		return nil, err
	}
	defer v.Release()
	return loadCode(cold{v}, code)
}
