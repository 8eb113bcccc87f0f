package outbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/storage/disk"
)

// Config is what an Outbox works with. Everything but Lane is required.
type Config struct {
	Path    string        // of the file; Path with ".tmp" is used as well
	Chain   abi.Hash      // the chain's id
	Key     chain.Signer  // the account's current key
	Account abi.Hash      // the account's id
	Lane    uint64        // nobody else may use it
	Gas     func() uint64 // gas cap of the next transaction

	// Submit hands a transaction to consensus. It may be called again with
	// the same one.
	Submit func(ctx context.Context, raw []byte) (abi.Hash, error)
	// Wait waits until a transaction is committed. It looks before it waits:
	// with an ended ctx it tells what is known now, abi.CodeTimeout being that
	// the transaction is not on the ledger.
	Wait func(ctx context.Context, id abi.Hash) (abi.TxResult, error)
	// Sequence is the last sequence of the lane on the ledger, 0 for a new one.
	Sequence func() (uint64, error)

	Logger *slog.Logger
}

func (c *Config) validate() error {
	if c.Path == "" || c.Chain == (abi.Hash{}) || c.Key == nil || c.Account == (abi.Hash{}) || c.Gas == nil ||
		c.Submit == nil || c.Wait == nil || c.Sequence == nil || c.Logger == nil {
		return errors.New("outbox: everything but Lane is required")
	}
	return nil
}

// Bounds of what waits in an outbox; Put answers CodeBusy beyond them.
const (
	// maxFile bounds what is read of a file in bytes; the outbox keeps its own
	// below half of it, see compactAt.
	maxFile = 8 << 20
	// maxEntries is some ten seconds of work, a block a transaction: who is
	// further behind than that should hear of it.
	maxEntries = 1024
	// maxBytes is what a gateway of 64 MiB can spare: all that waits is in
	// memory as well, and on disk at most twice.
	maxBytes = 1 << 20
	// compactAt is how many bytes of finished transactions a file holds before
	// it is written anew, if that is also half of it or more: a rewrite costs
	// three syncs and shall be rare next to the one of each Put.
	compactAt = 64 << 10
)

// Outbox holds the transactions that this node has yet to see in a block. All
// methods may be used at the same time.
type Outbox struct {
	cfg  Config
	disk disk.Disk
	wake chan struct{} // something is pending

	writing sync.Mutex // held while the file is written; taken before mu
	file    disk.File  // guarded by writing
	size    int        // bytes of the file; guarded by writing

	mu      sync.Mutex
	err     error                   // why nothing is taken any more; guarded by mu
	last    uint64                  // last sequence given out; guarded by mu
	open    *batch                  // what the next write takes along; guarded by mu
	pending []*entry                // in the file and not done, oldest first; guarded by mu
	count   int                     // of open, being written and pending; guarded by mu
	bytes   int                     // the same; guarded by mu
	stop    context.CancelCauseFunc // of Run; guarded by mu
}

// batch is what one write and one sync make durable.
type batch struct {
	entries []*entry // complete once it is no longer open
	written bool     // guarded by writing
	err     error    // guarded by writing
}

// Open reads the file, or begins one, and takes up what the ledger does not
// have yet. A tail that a crash tore is cut: nobody was told that it is there.
// It refuses a file that is damaged elsewhere, and one of another chain,
// account, lane or key.
func Open(cfg Config) (*Outbox, error) { return open(cfg, disk.OS{}) }

func open(cfg Config, d disk.Disk) (*Outbox, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	onLedger, err := cfg.Sequence()
	if err != nil {
		return nil, fmt.Errorf("opening the outbox: reading the lane's sequence: %w", err)
	}
	o := &Outbox{cfg: cfg, disk: d, wake: make(chan struct{}, 1), last: onLedger}
	if err := o.recover(onLedger); err != nil {
		return nil, fmt.Errorf("opening the outbox %s: %w", cfg.Path, err)
	}
	o.writing.Lock()
	defer o.writing.Unlock()
	if err := o.rewrite(); err != nil {
		return nil, fmt.Errorf("opening the outbox: %w", err)
	}
	return o, nil
}

// recover reads the file.
func (o *Outbox) recover(onLedger uint64) error {
	raw, err := disk.ReadFile(o.disk, o.cfg.Path, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	c, err := parseFile(raw)
	if err != nil {
		return fmt.Errorf("%w; put the file back from a copy of this node's disk, or move it away and start again: what it held and no block has is then never done", err)
	}
	if c.owner != o.owner() {
		return fmt.Errorf("it belongs to chain %x, account %x, lane %d; put back this node's own, or move it away",
			c.owner.chain[:8], c.owner.account[:8], c.owner.lane)
	}
	o.last = max(o.last, c.last)
	for _, e := range c.entries {
		if e.sequence <= onLedger {
			continue
		}
		if !bytes.Equal(e.key, o.cfg.Key.Public()) {
			return fmt.Errorf("transaction %x waits in it, signed by another key; put the old key back until it is done: %w", e.id[:8], abi.CodeKeyNotCurrent)
		}
		o.pending = append(o.pending, e)
		o.count++
		o.bytes += len(e.raw)
	}
	if c.torn > 0 {
		o.cfg.Logger.Warn("the outbox's unfinished tail is cut", "bytes", c.torn)
	}
	if o.count > 0 {
		o.cfg.Logger.Info("the outbox holds transactions of an earlier run", "transactions", o.count)
	}
	return nil
}

func (o *Outbox) owner() owner { return owner{o.cfg.Chain, o.cfg.Account, o.cfg.Lane} }

// Put makes a transaction of the operation and returns its id once it is
// durable: from then on it will be committed, once and in the order of Put.
// After an error it may be committed or not. Errors carry a code: CodeBusy
// when too much waits, CodeTooLarge, CodeTimeout when ctx has ended before,
// CodeShuttingDown after Close, and CodeInternal for good once the file could
// not be written. An end of ctx while the file is written changes nothing.
func (o *Outbox) Put(ctx context.Context, op chain.Op, args []byte) (abi.Hash, error) {
	if err := ctx.Err(); err != nil {
		return abi.Hash{}, fmt.Errorf("%w: %w", abi.CodeTimeout, err)
	}
	onLedger, err := o.cfg.Sequence()
	if err != nil {
		return abi.Hash{}, fmt.Errorf("reading the lane's sequence: %w", err)
	}
	e, b, err := o.stage(onLedger, op, args)
	if err != nil {
		return abi.Hash{}, err
	}
	o.writing.Lock()
	defer o.writing.Unlock()
	if !b.written { // the first of a batch writes for all
		o.flush(b)
	}
	if b.err != nil {
		return abi.Hash{}, b.err
	}
	return e.id, nil
}

// stage signs a transaction and adds it to the open batch.
func (o *Outbox) stage(onLedger uint64, op chain.Op, args []byte) (*entry, *batch, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return nil, nil, o.err
	}
	if o.count >= maxEntries || o.bytes >= maxBytes {
		return nil, nil, fmt.Errorf("%d transactions of %d bytes wait in the outbox: %w", o.count, o.bytes, abi.CodeBusy)
	}
	e, err := o.sign(max(o.last, onLedger)+1, op, args)
	if err != nil {
		return nil, nil, err
	}
	o.last = e.sequence
	o.count++
	o.bytes += len(e.raw)
	if o.open == nil {
		o.open = &batch{}
	}
	o.open.entries = append(o.open.entries, e)
	return e, o.open, nil
}

func (o *Outbox) sign(sequence uint64, op chain.Op, args []byte) (*entry, error) {
	body := chain.Body{Chain: o.cfg.Chain, Lane: o.cfg.Lane, Sequence: sequence, Gas: o.cfg.Gas(), Op: op, Args: args}
	raw, err := chain.SignTx(&body, o.cfg.Key)
	if err != nil {
		return nil, err
	}
	t, err := chain.ParseTx(raw)
	if err != nil {
		return nil, err
	}
	return &entry{sequence: sequence, id: t.ID, key: t.Key(), raw: raw}, nil
}

// flush writes the open batch, which is b: only flush ends a batch, and one
// begins only then. The caller holds writing.
func (o *Outbox) flush(b *batch) {
	o.mu.Lock()
	o.open = nil
	err := o.err
	o.mu.Unlock()
	if err == nil {
		err = o.append(framing.Append(nil, appendEntries(nil, b.entries)))
	}
	b.written, b.err = true, err
	if err != nil {
		return
	}
	o.mu.Lock()
	o.pending = append(o.pending, b.entries...)
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default: // Run has yet to look anyway
	}
}

// append writes and syncs. The caller holds writing.
func (o *Outbox) append(frame []byte) error {
	_, err := o.file.Write(frame)
	if err == nil {
		err = o.file.Sync()
	}
	if err != nil {
		return o.fail(fmt.Errorf("%w: writing the outbox: %w", abi.CodeInternal, err))
	}
	o.size += len(frame)
	return nil
}

// fail ends everything: after a failed write or sync nobody knows what is in
// the file. It returns the first reason.
func (o *Outbox) fail(err error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = err
		if o.stop != nil {
			o.stop(err)
		}
	}
	return o.err
}

// rewrite puts a file in place that holds what is pending and nothing else.
// The caller holds writing.
func (o *Outbox) rewrite() error {
	o.mu.Lock()
	whose := o.owner()
	b := appendFile(nil, &whose, o.last, o.pending)
	o.mu.Unlock()
	f, err := disk.ReplaceOpen(o.disk, o.cfg.Path, b)
	if err != nil {
		return o.fail(fmt.Errorf("%w: writing the outbox anew: %w", abi.CodeInternal, err))
	}
	if o.file != nil {
		err = o.file.Close() // all it held is in the new one
	}
	o.file, o.size = f, len(b)
	if err != nil {
		return o.fail(fmt.Errorf("%w: closing the old outbox: %w", abi.CodeInternal, err))
	}
	return nil
}

// Close ends the outbox; what waits in it is taken up by the next Open. It is
// called once Run has returned.
func (o *Outbox) Close() error {
	o.fail(abi.CodeShuttingDown)
	o.writing.Lock()
	defer o.writing.Unlock()
	return o.file.Close()
}
