package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/storage/disk"
)

// Config is what a Spool works with. Everything but the limits is required.
type Config struct {
	Dir string // made if it is not there; nothing else may lie in it

	// Check judges a transaction by the state that the node has: that it is well
	// formed and signed, that its sender is known and its payer can pay.
	Check func(raw []byte) (*chain.Tx, abi.Hash, error)
	// Submit hands a transaction to consensus. It may be called again with the
	// same one.
	Submit func(ctx context.Context, raw []byte) (abi.Hash, error)
	// Wait waits until a transaction is committed. It looks before it waits: with
	// an ended ctx it tells what is known now, abi.CodeTimeout being that the
	// transaction is not on the ledger.
	Wait func(ctx context.Context, id abi.Hash) (abi.TxResult, error)
	// Online says whether blocks are made as far as the node knows.
	Online func() bool

	Logger *slog.Logger

	MaxBytes   int           // of all that is kept; 4 MiB
	MaxSender  int           // bytes of what one key handed in; 256 KiB
	MaxEntries int           // transactions kept: an inode each; 4096
	MaxAge     time.Duration // after which one is given up; 7 days
}

func (c *Config) validate() error {
	if c.Dir == "" || c.Check == nil || c.Submit == nil || c.Wait == nil || c.Online == nil || c.Logger == nil {
		return errors.New("spool: everything but the limits is required")
	}
	orDefault(&c.MaxBytes, 4<<20)
	orDefault(&c.MaxSender, 256<<10)
	orDefault(&c.MaxEntries, 4096)
	orDefault(&c.MaxAge, 7*24*time.Hour)
	return nil
}

func orDefault[T int | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

// ErrNoLane refuses a transaction that its window guards, not a lane: it would
// expire here.
var ErrNoLane = fmt.Errorf("only transactions of a lane are kept for later: %w", abi.CodeNotReady)

// Spool holds transactions for later. All methods may be used at the same time.
type Spool struct {
	cfg  Config
	disk disk.Disk
	wake chan struct{} // there is something to do

	writing sync.Mutex // held while a file is written; taken before mu

	mu      sync.Mutex
	lanes   map[lane]*row       // those that hold something; guarded by mu
	order   []*row              // the same, oldest first; guarded by mu
	ids     map[abi.Hash]*entry // guarded by mu
	bytes   int                 // of all; guarded by mu
	senders map[abi.Hash]int    // bytes, by key; guarded by mu
	refused []Refusal           // oldest first; guarded by mu
	stats   Stats               // its totals; guarded by mu
}

// row is what a lane holds.
type row struct {
	lane    lane
	entries []*entry  // ascending by sequence, never empty while it is in lanes; guarded by Spool.mu
	busy    bool      // a worker has it; guarded by Spool.mu
	after   time.Time // when it is tried again; guarded by Spool.mu
	delay   time.Duration
}

// entry is a transaction that lies in its file.
type entry struct {
	id       abi.Hash
	sequence uint64
	size     int
	since    time.Time
}

// Open takes up what lies in the folder. A file that a crash left unfinished is
// removed: nobody was told that it is there.
func Open(cfg Config) (*Spool, error) { return open(cfg, disk.OS{}) }

func open(cfg Config, d disk.Disk) (*Spool, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &Spool{cfg: cfg, disk: d, wake: make(chan struct{}, 1), lanes: map[lane]*row{}, ids: map[abi.Hash]*entry{}, senders: map[abi.Hash]int{}}
	for _, dir := range []string{cfg.Dir, s.refusedDir()} {
		if err := d.MkdirAll(dir); err != nil {
			return nil, fmt.Errorf("opening the spool: %w", err)
		}
	}
	// The names of the folders themselves have to last as well.
	if err := errors.Join(d.SyncDir(filepath.Dir(cfg.Dir)), d.SyncDir(cfg.Dir)); err != nil {
		return nil, fmt.Errorf("opening the spool: %w", err)
	}
	if err := s.recover(); err != nil {
		return nil, fmt.Errorf("opening the spool %s: %w", cfg.Dir, err)
	}
	return s, s.recoverRefused()
}

// recover reads the folder. Names ascend, and so do the sequences of a lane.
func (s *Spool) recover() error {
	files, err := s.disk.List(s.cfg.Dir)
	if err != nil {
		return err
	}
	torn := 0
	for _, f := range files {
		path := filepath.Join(s.cfg.Dir, f.Name)
		raw, err := disk.ReadFile(s.disk, path, abi.MaxTransaction)
		if err != nil && !errors.Is(err, abi.CodeTooLarge) {
			return err
		}
		l, e, ok := parseFile(f, raw)
		if err != nil || !ok {
			torn++
			if err := s.disk.Remove(path); err != nil {
				return err
			}
			continue
		}
		s.add(l, e)
	}
	if torn > 0 {
		s.cfg.Logger.Warn("unfinished files of the spool were removed", "files", torn)
	}
	if len(s.ids) > 0 {
		s.cfg.Logger.Info("the spool holds transactions of an earlier run", "transactions", len(s.ids), "bytes", s.bytes)
	}
	return nil
}

// parseFile checks that a file holds what its name says, whole.
func parseFile(f disk.Info, raw []byte) (lane, *entry, bool) {
	l, sequence, ok := parseName(f.Name)
	if !ok {
		return lane{}, nil, false
	}
	t, err := chain.ParseTx(raw)
	if err != nil || t.Sequence != sequence || laneOf(t) != l || t.Envelope().Verify() != nil {
		return lane{}, nil, false
	}
	return l, &entry{id: t.ID, sequence: sequence, size: len(raw), since: f.Time}, true
}

func laneOf(t *chain.Tx) lane { return lane{chain.AccountID(t.Key()), t.Lane} }

// add enters a transaction. The caller holds mu, or nobody else has the Spool.
func (s *Spool) add(l lane, e *entry) {
	r := s.lanes[l]
	if r == nil {
		r = &row{lane: l}
		s.lanes[l] = r
		s.order = append(s.order, r)
	}
	r.entries = append(r.entries, e)
	s.ids[e.id] = e
	s.bytes += e.size
	s.senders[l.key] += e.size
}

// Put keeps a transaction until there are blocks again, and returns its id once
// it is durable. One that is kept already counts as just kept. Errors carry a
// code: those of Check, abi.CodeOutOfSequence behind a later one of its lane,
// abi.CodeBusy when too much is kept, ErrNoLane, and abi.CodeUnavailable when the
// disk does not take it; then it may be kept nevertheless, or not.
func (s *Spool) Put(raw []byte) (abi.Hash, error) {
	t, err := chain.ParseTx(raw)
	if err != nil {
		return abi.Hash{}, err
	}
	if t.Tick != 0 || t.Sequence == 0 {
		return abi.Hash{}, ErrNoLane
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	l := laneOf(t)
	if kept, err := s.admit(l, t); kept || err != nil {
		return t.ID, err
	}
	if _, _, err := s.cfg.Check(raw); err != nil {
		return abi.Hash{}, err
	}
	if err := s.write(fileName(l, t.Sequence), raw); err != nil {
		s.cfg.Logger.Error("the spool takes nothing: its disk fails or is full", "err", err)
		return abi.Hash{}, fmt.Errorf("%w: the gateway cannot keep it: %w", abi.CodeUnavailable, err)
	}
	s.mu.Lock()
	s.add(l, &entry{id: t.ID, sequence: t.Sequence, size: len(raw), since: time.Now()})
	s.stats.Taken++
	s.mu.Unlock()
	s.poke()
	return t.ID, nil
}

// admit says whether a transaction is kept already, and refuses what there is no
// room for or what comes too late for its lane.
func (s *Spool) admit(l lane, t *chain.Tx) (kept bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids[t.ID] != nil {
		return true, nil
	}
	if r := s.lanes[l]; r != nil {
		if last := r.entries[len(r.entries)-1].sequence; t.Sequence <= last {
			return false, fmt.Errorf("sequence %d of the lane is kept already: %w", last, abi.CodeOutOfSequence)
		}
	}
	switch size := len(t.Raw); {
	case len(s.ids) >= s.cfg.MaxEntries || s.bytes+size > s.cfg.MaxBytes:
		return false, fmt.Errorf("%d transactions of %d bytes are kept: %w", len(s.ids), s.bytes, abi.CodeBusy)
	case s.senders[l.key]+size > s.cfg.MaxSender:
		return false, fmt.Errorf("%d bytes of this sender are kept: %w", s.senders[l.key], abi.CodeBusy)
	}
	return false, nil
}

// write makes a file durable, or tries to leave none. The caller holds writing.
func (s *Spool) write(name string, raw []byte) error {
	path := filepath.Join(s.cfg.Dir, name)
	f, err := s.disk.CreateNew(path)
	if errors.Is(err, fs.ErrExist) { // what an earlier try could not take away
		if err = s.disk.Remove(path); err == nil {
			f, err = s.disk.CreateNew(path)
		}
	}
	if err != nil {
		return err
	}
	if _, err = f.Write(raw); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = s.disk.SyncDir(s.cfg.Dir)
	}
	if err != nil {
		return errors.Join(err, s.disk.Remove(path))
	}
	return nil
}

func (s *Spool) poke() {
	select {
	case s.wake <- struct{}{}:
	default: // Run has yet to look anyway
	}
}

// Holds says whether a transaction's lane has something here, so that it has to
// go the same way. It is false for what cannot be read.
func (s *Spool) Holds(raw []byte) bool {
	if s.Len() == 0 {
		return false
	}
	t, err := chain.ParseTx(raw)
	if err != nil || t.Sequence == 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lanes[laneOf(t)] != nil
}

// Has says whether the transaction is kept.
func (s *Spool) Has(id abi.Hash) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ids[id] != nil
}

// Stats is a moment's figures; those of all time count from Open on.
type Stats struct {
	Kept, Bytes    int
	Taken, Refused uint64 // of all time
}

// Stats returns the figures of now.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.stats
	stats.Kept, stats.Bytes = len(s.ids), s.bytes
	return stats
}

// Len is how many transactions are kept.
func (s *Spool) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.ids)
}
