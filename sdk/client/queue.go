package client

import (
	"bytes"
	"fmt"
	"sync"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/journal"
)

// QueueConfig configures a Queue. Path is required.
type QueueConfig struct {
	Path string // of the file; Path with ".tmp" is used as well
	Lane uint64 // of the client's account; nobody else may use it

	MaxBytes   int // that wait at a time; 256 KiB
	MaxEntries int // that wait at a time; 1024

	// Done is told of each transaction that leaves the queue, from Run; nil:
	// nobody is.
	Done func(Sent)

	Disk journal.Disk // nil: the file system
}

// Sent is what became of a queued transaction: the error is nil if it was
// executed, an *OutcomeError if it was committed and failed, and otherwise says
// why it never will be.
type Sent struct {
	ID        abi.Hash
	Committed *Committed // nil: no block has it
	Err       error
}

// Queue keeps the transactions of a device that may be offline. They stand in one
// lane, are signed when they are put in, and lie in a file that is synced before
// Put returns. Run sends them in order, each once, whatever crashes.
//
// The caller's duties: one Queue at a time for a lane and a path; Run in one
// goroutine; Close after Run has returned.
type Queue struct {
	client *Client
	config QueueConfig
	wake   chan struct{}

	writing sync.Mutex       // held while the file is written; taken before mu
	journal *journal.Journal // guarded by writing
	torn    bool             // the file has to be written anew first; guarded by writing

	mu      sync.Mutex
	pending []*queued // oldest first; guarded by mu
	bytes   int       // of pending; guarded by mu
	last    uint64    // last sequence that was given out; guarded by mu
	closed  bool      // guarded by mu

	on     *link // whose gateway keeps the first of pending for later; owned by Run
	handed int   // how many; owned by Run
}

// queued is a signed transaction of the lane.
type queued struct {
	sequence uint64
	id       abi.Hash
	raw      []byte
}

// The file's first record is the owner: {1: chain id, 2: account id of the key, 3:
// lane, 4: last sequence given out}. The others are transactions.

// OpenQueue opens a queue of the client's key, which need not be connected (New).
// A tail that a crash tore is cut: nobody was told that it is there. A file of
// another chain, key or lane is refused with abi.CodeBadArgument, a damaged one
// with journal.ErrDamaged.
func (c *Client) OpenQueue(config QueueConfig) (*Queue, error) {
	if config.Path == "" {
		return nil, fmt.Errorf("queue: Path is required: %w", abi.CodeBadArgument)
	}
	if config.MaxBytes <= 0 {
		config.MaxBytes = 256 << 10
	}
	if config.MaxEntries <= 0 {
		config.MaxEntries = 1024
	}
	if config.Disk == nil {
		config.Disk = journal.OS{}
	}
	q := &Queue{client: c, config: config, wake: make(chan struct{}, 1)}
	j, records, _, err := journal.Open(config.Path, config.Disk)
	if err != nil {
		return nil, err
	}
	q.journal = j
	if err := q.take(records); err != nil {
		return nil, fmt.Errorf("queue %s: %w", config.Path, err)
	}
	if err := q.rewrite(); err != nil {
		return nil, err
	}
	return q, nil
}

// take reads the records of a file.
func (q *Queue) take(records [][]byte) error {
	// A file that is lost must not have the lane begin again below what was sent:
	// sequences of a new one begin at its time.
	q.last = uint64(max(0, time.Now().UnixMilli()))
	if len(records) == 0 {
		return nil
	}
	last, err := q.parseOwner(records[0])
	if err != nil {
		return err
	}
	q.last = last
	for _, raw := range records[1:] {
		t, err := chain.ParseTx(bytes.Clone(raw))
		if err != nil {
			return err
		}
		if t.Chain != q.client.Chain() || t.Lane != q.config.Lane || t.Sequence == 0 {
			return fmt.Errorf("transaction %x is not of the lane: %w", t.ID[:4], abi.CodeBadArgument)
		}
		q.pending = append(q.pending, &queued{sequence: t.Sequence, id: t.ID, raw: t.Raw})
		q.bytes += len(t.Raw)
		q.last = max(q.last, t.Sequence)
	}
	return nil
}

func (q *Queue) appendOwner(b []byte, last uint64) []byte {
	id, account := q.client.Chain(), chain.AccountID(q.client.config.Key.Public())
	b = cbor.AppendMap(b, 4)
	b = cbor.AppendBytes(cbor.AppendUint(b, 1), id[:])
	b = cbor.AppendBytes(cbor.AppendUint(b, 2), account[:])
	b = cbor.AppendUint(cbor.AppendUint(b, 3), q.config.Lane)
	return cbor.AppendUint(cbor.AppendUint(b, 4), last)
}

// parseOwner reads the first record, which has to be this queue's but for the
// sequence.
func (q *Queue) parseOwner(b []byte) (last uint64, err error) {
	r := cbor.NewReader(b)
	for f := r.Fields(); f.Next(); {
		if f.Key() == 4 {
			last = r.Uint()
		} else {
			r.Skip()
		}
	}
	if err := r.Done(); err != nil {
		return 0, malformed(err)
	}
	if !bytes.Equal(b, q.appendOwner(nil, last)) {
		return 0, fmt.Errorf("it belongs to another chain, key or lane: %w", abi.CodeBadArgument)
	}
	return last, nil
}

// Put signs a transaction of an operation and returns its id once it is durable.
// After an error it may be sent or not. Errors: abi.CodeBusy when too much waits,
// abi.CodeTooLarge, abi.CodeUnavailable when the file cannot be written, such as
// on a full disk; then a later Put may succeed. A gas of 0 is what Client.Sign
// declares.
func (q *Queue) Put(op chain.Op, args Args, gas uint64) (abi.Hash, error) {
	q.writing.Lock()
	defer q.writing.Unlock()
	if q.torn {
		if err := q.rewrite(); err != nil {
			return abi.Hash{}, err
		}
	}
	e, err := q.stage(op, args, gas)
	if err != nil {
		return abi.Hash{}, err
	}
	if err := q.journal.Append(e.raw); err != nil {
		q.torn = true
		return abi.Hash{}, fmt.Errorf("%w: %w", abi.CodeUnavailable, err)
	}
	q.mu.Lock()
	q.pending = append(q.pending, e)
	q.bytes += len(e.raw)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default: // Run has yet to look anyway
	}
	return e.id, nil
}

// stage signs the next transaction. The caller holds writing.
func (q *Queue) stage(op chain.Op, args Args, gas uint64) (*queued, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return nil, fmt.Errorf("the queue is closed: %w", abi.CodeShuttingDown)
	case len(q.pending) >= q.config.MaxEntries || q.bytes >= q.config.MaxBytes:
		return nil, fmt.Errorf("%d transactions of %d bytes wait in the queue: %w", len(q.pending), q.bytes, abi.CodeBusy)
	}
	if gas == 0 {
		gas = q.client.gasFor(op)
	}
	body := chain.Body{Chain: q.client.Chain(), Lane: q.config.Lane, Sequence: q.last + 1, Gas: gas, Op: op, Args: args.Append(nil)}
	raw, err := chain.SignTx(&body, q.client.config.Key)
	if err != nil {
		return nil, err
	}
	t, err := chain.ParseTx(raw)
	if err != nil {
		return nil, err
	}
	q.last++
	return &queued{sequence: q.last, id: t.ID, raw: raw}, nil
}

// rewrite has the file hold what is pending and nothing else. The caller holds
// writing, or nobody else has the queue yet.
func (q *Queue) rewrite() error {
	q.mu.Lock()
	records := [][]byte{q.appendOwner(nil, q.last)}
	for _, e := range q.pending {
		records = append(records, e.raw)
	}
	q.mu.Unlock()
	if err := q.journal.Replace(records); err != nil {
		q.torn = true
		return fmt.Errorf("%w: %w", abi.CodeUnavailable, err)
	}
	q.torn = false
	return nil
}

// Len is how many transactions wait.
func (q *Queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.pending)
}

// Close closes the file. What waits is sent after the next OpenQueue.
func (q *Queue) Close() error {
	q.writing.Lock()
	defer q.writing.Unlock()
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	return q.journal.Close()
}

// at is the i-th oldest transaction that waits, nil if there are fewer.
func (q *Queue) at(i int) *queued {
	q.mu.Lock()
	defer q.mu.Unlock()
	if i >= len(q.pending) {
		return nil
	}
	return q.pending[i]
}

// compactAt is how many bytes of sent transactions a file holds before it is
// written anew, unless it is drained: a rewrite costs three syncs.
const compactAt = 64 << 10

// drop takes a transaction out, and writes the file anew when that pays: what is
// left in it of the sent ones is found to be sent after a crash.
func (q *Queue) drop(e *queued) {
	q.writing.Lock()
	defer q.writing.Unlock()
	q.mu.Lock()
	kept := make([]*queued, 0, len(q.pending))
	for _, p := range q.pending {
		if p != e {
			kept = append(kept, p)
		}
	}
	q.pending = kept
	q.bytes -= len(e.raw)
	live, closed := q.bytes, q.closed
	q.mu.Unlock()
	if spent := q.journal.Size() - live; !closed && (len(kept) == 0 || spent > compactAt && spent > live) {
		_ = q.rewrite() // Put tries again; the old file is as good
	}
}

// done takes a transaction out that needs no more sending.
func (q *Queue) done(e *queued, committed *Committed, err error) {
	q.drop(e)
	if q.config.Done != nil {
		q.config.Done(Sent{ID: e.id, Committed: committed, Err: err})
	}
}
