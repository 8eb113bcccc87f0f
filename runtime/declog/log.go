package declog

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/storage/disk"
)

// Config is what a Log works with. Everything but Budget and
// AnchorEvery is required.
type Config struct {
	Dir     string       // folder of the log; made if it is not there
	Key     []byte       // KeySize bytes; encrypts what is recorded
	Chain   abi.Hash     // the chain's id
	Account abi.Hash     // the gateway's
	Signer  chain.Signer // the account's current key, ed25519; signs heads
	Clock   func() int64 // ms since 1970; only gaps tell it

	// Budget is how many bytes of records are kept; 0 means DefaultBudget. What
	// is not anchored yet is kept in any case.
	Budget int64
	// AnchorEvery is how often the head is anchored while there is something
	// new in it; 0 means a minute.
	AnchorEvery time.Duration

	// Anchored is the log's newest anchor on the ledger, of which Size is 0
	// when there is none.
	Anchored func() (chain.Anchored, error)
	// Submit makes a durable transaction of the gateway's account of the
	// arguments of a chain.OpAnchor.
	Submit func(ctx context.Context, args []byte) error
	// Prove proves what stands in the newest state under a key, with all
	// changes of the validators up to there.
	Prove func(key []byte) (*proof.Entry, []proof.Step, error)

	Logger *slog.Logger

	segment int64 // tests make it small; 0 means segmentSize
}

// DefaultBudget is what a gateway keeps of its records, in bytes: at 300 bytes
// a decision, some 800,000.
const DefaultBudget = 256 << 20

// KeySize is the length of the key in bytes.
const KeySize = 32

func (c *Config) validate() error {
	if c.Dir == "" || len(c.Key) != KeySize || c.Chain == (abi.Hash{}) || c.Account == (abi.Hash{}) || c.Signer == nil || c.Clock == nil ||
		c.Anchored == nil || c.Submit == nil || c.Prove == nil || c.Logger == nil {
		return errors.New("declog: everything but Budget and AnchorEvery is required")
	}
	if c.Budget == 0 {
		c.Budget = DefaultBudget
	}
	if c.AnchorEvery == 0 {
		c.AnchorEvery = time.Minute
	}
	if c.segment == 0 {
		c.segment = segmentSize
	}
	return nil
}

// Limits of a log.
const (
	// maxWaiting and maxWaitingBytes are what may wait for a sync: at 20,000
	// decisions a second, what comes in five syncs. What is lost in a crash is
	// no more, and what a gateway of 64 MiB can spare.
	maxWaiting      = 4096
	maxWaitingBytes = 2 << 20
	// patience is how long Append waits for room before it refuses.
	patience = time.Second
	// syncAfter is how long records gather before they are written. The disk
	// has the rest of 50 ms.
	syncAfter = 20 * time.Millisecond
	// syncAt is how many bytes are written at once without waiting for more.
	syncAt = maxWaitingBytes / 4
	// segmentSize is after how many bytes a new file is begun; files are
	// what is pruned.
	segmentSize = 4 << 20
	// maxRequest is the longest request that is recorded, in bytes: no frame
	// holds a longer one.
	maxRequest = 128 << 10
)

// Log is a decision log that is being written. All methods may be used at the
// same time.
type Log struct {
	cfg  Config
	wake chan struct{} // something waits for a sync

	writing sync.Mutex // held while files are written or read; taken before mu
	files   files      // guarded by writing
	out     out        // guarded by writing
	anchor  anchoring

	mu      sync.Mutex
	err     error         // why nothing is taken any more; guarded by mu
	full    bool          // the disk is; guarded by mu
	next    uint64        // number of the next record; guarded by mu
	waiting int           // records that are not synced; guarded by mu
	bytes   int           // the same in bytes; guarded by mu
	open    []byte        // what the next write takes along; guarded by mu
	count   int           // records in open; guarded by mu
	spare   []byte        // what open goes on in after the next write; guarded by mu
	room    chan struct{} // closed at the next sync; guarded by mu
	salts   []byte        // random bytes that are not used yet; guarded by mu
	stop    context.CancelCauseFunc
	figures Stats // guarded by mu
}

// out is the file that is written.
type out struct {
	file    disk.File
	cipher  cipher.AEAD
	written int      // hashes of files.fresh that are in the files of the levels
	pending *writing // what is being written; it stays when the disk is full
	spare   []byte   // room for the next frame
}

// Open opens the log in a folder, or begins one. A tail that a crash tore is
// cut, and what may be missing is recorded as a gap. It refuses a log that is
// damaged or was changed, an older copy than it has signed, and one of another
// chain, account or key.
func Open(cfg Config) (*Log, error) { return open(cfg, disk.OS{}) }

func open(cfg Config, d disk.Disk) (*Log, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	l := &Log{cfg: cfg, wake: make(chan struct{}, 1), room: make(chan struct{}), files: files{disk: d, dir: cfg.Dir, key: cfg.Key}}
	l.anchor.init()
	l.writing.Lock()
	defer l.writing.Unlock()
	if err := l.recover(); err != nil {
		if l.out.file != nil {
			err = errors.Join(err, l.out.file.Close())
		}
		return nil, fmt.Errorf("opening the decision log in %s: %w", cfg.Dir, err)
	}
	return l, nil
}

// Append records a decision and returns the number that it is answered with.
// Number and Salt of r are set here. It does not keep r or what it points to.
// Errors carry a code: CodeLogUnavailable while the disk is full and for good
// once it failed, CodeBusy and CodeTimeout when too much waits for the disk,
// CodeShuttingDown after Close.
func (l *Log) Append(ctx context.Context, r *proof.Record) (uint64, error) {
	if len(r.Request) > maxRequest {
		return 0, fmt.Errorf("a request of %d bytes: %w", len(r.Request), abi.CodeTooLarge)
	}
	if !utf8.ValidString(r.Domain) || !utf8.ValidString(r.Contract) || !utf8.ValidString(r.ReasonID) {
		return 0, fmt.Errorf("a name is not UTF-8: %w", abi.CodeBadArgument)
	}
	for {
		number, room, err := l.stage(r)
		if room == nil {
			return number, err
		}
		if err := wait(ctx, room); err != nil {
			return 0, err
		}
	}
}

// wait waits for room.
func wait(ctx context.Context, room <-chan struct{}) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-room:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", abi.CodeTimeout, ctx.Err())
	case <-timer.C:
		return fmt.Errorf("the disk takes longer than %v: %w", patience, abi.CodeBusy)
	}
}

// stage adds a record to what is written next. If there is no room for it, it
// returns what is closed when there may be.
func (l *Log) stage(r *proof.Record) (number uint64, room <-chan struct{}, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.refusal(); err != nil {
		return 0, nil, err
	}
	if l.waiting >= maxWaiting || l.bytes >= maxWaitingBytes {
		return 0, l.room, nil
	}
	r.Number, r.Salt = l.next, l.salt()
	before := len(l.open)
	l.open = r.Append(l.open)
	l.next++
	l.count++
	l.waiting++
	l.bytes += len(l.open) - before
	if l.count == 1 || len(l.open) >= syncAt {
		l.signal()
	}
	return r.Number, nil, nil
}

// refusal is why nothing is taken; the caller holds mu.
func (l *Log) refusal() error {
	if l.err != nil {
		return l.err
	}
	if l.full {
		return fmt.Errorf("%w: the disk is full", abi.CodeLogUnavailable)
	}
	return nil
}

func (l *Log) signal() {
	select {
	case l.wake <- struct{}{}:
	default: // Run has yet to look anyway
	}
}

// salt takes a salt from the store; the caller holds mu.
func (l *Log) salt() (s proof.Salt) {
	if len(l.salts) == 0 {
		l.salts = make([]byte, 256*proof.SaltSize)
		rand.Read(l.salts)
	}
	copy(s[:], l.salts)
	l.salts = l.salts[proof.SaltSize:]
	return s
}

// fail ends everything; it returns the first reason.
func (l *Log) fail(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
		if l.stop != nil {
			l.stop(err)
		}
	}
	return l.err
}

// Stats are figures of a log.
type Stats struct {
	Records  uint64 // that the log ever had
	Waiting  int    // of them, not synced yet
	Anchored uint64 // of them, below the newest anchor
	Bytes    int64  // of the records that are kept
	Syncs    uint64 // since Open
	Written  uint64 // bytes since Open
	Full     bool   // the disk is full, and everything denied
}

// Stats returns the log's figures.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.figures
	s.Waiting, s.Full = l.waiting, l.full
	s.Records += uint64(l.waiting)
	return s
}

// Close writes what waits and ends the log, so that the next Open finds no gap.
// It is called once Run has returned.
func (l *Log) Close() error {
	failed := l.fail(fmt.Errorf("%w: the decision log is closed", abi.CodeShuttingDown))
	l.writing.Lock()
	defer l.writing.Unlock()
	if l.out.file == nil {
		return nil
	}
	var err error
	if errors.Is(failed, abi.CodeShuttingDown) {
		err = l.finish()
	}
	err = errors.Join(err, l.out.file.Close())
	l.out.file = nil
	return err
}

// notThere says whether an error is that of a missing file.
func notThere(err error) bool { return errors.Is(err, fs.ErrNotExist) }
