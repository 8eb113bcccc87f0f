package consensus

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hyperledger-labs/SmartBFT/pkg/types"
	"github.com/hyperledger-labs/SmartBFT/smartbftprotos"

	"github.com/seed79541315/postern/abi"
)

// ErrNotValidator comes from New and Run when the validator set lacks this
// node's id and key: it can follow, not vote.
var ErrNotValidator = errors.New("not in the validator set")

// Engine is one validator's part in consensus.
type Engine struct {
	cfg   Config
	chain abi.Hash
	queue *queue
	wake  chan struct{} // capacity one; wakes the pump
	state atomic.Int32
	up    chan struct{} // closed when Run is up
	told  atomic.Uint64 // height that the chain is said to have

	mu      sync.Mutex
	replica *replica // of the Run in progress, or nil
	peers   map[uint64]chan *smartbftprotos.Message
	readers sync.WaitGroup
}

const (
	stateNew int32 = iota
	stateStarting
	stateReady
	stateStopped
)

// New checks the configuration. It writes nothing.
func New(cfg Config) (*Engine, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	e := &Engine{cfg: cfg, chain: cfg.App.ChainID(), wake: make(chan struct{}, 1), up: make(chan struct{})}
	e.queue = newQueue(&e.cfg)
	return e, nil
}

// Run takes part in consensus until ctx ends, and then returns nil. It returns
// after everything it started has ended. An error that wraps ErrNotValidator
// means that the validator was voted out or has another key: the node goes on
// as a follower, and may call New again, over the same directory, when it is
// voted in again. Any other error means that the process must end. Run can be
// called once.
func (e *Engine) Run(ctx context.Context) error {
	if !e.state.CompareAndSwap(stateNew, stateStarting) {
		return errors.New("consensus: Run was called before")
	}
	defer e.state.Store(stateStopped)
	for {
		err := e.attempt(ctx)
		if !errors.Is(err, errAnew) || ctx.Err() != nil {
			return err
		}
		e.cfg.Logger.Warn("starting consensus anew", "height", e.cfg.App.Head().Height, "err", err)
		e.queue.restart()
	}
}

// errAnew ends an attempt, not Run.
var errAnew = errors.New("SmartBFT has to start anew")

// attempt runs SmartBFT once, from what the write-ahead log says.
func (e *Engine) attempt(ctx context.Context) error {
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err := e.run(inner, cancel)
	cause := context.Cause(inner)
	if ctx.Err() != nil && cause == context.Cause(ctx) {
		cause = nil
		if errors.Is(err, ctx.Err()) {
			err = nil
		}
	}
	switch {
	case err == nil && errors.Is(cause, errAnew) && ctx.Err() != nil:
		return nil // what was to begin anew has ended
	case err == nil && (cause == nil || errors.Is(cause, errAnew)):
		return cause
	case errors.Is(err, errAnew):
		err = nil // it is the cause
	}
	if err = errors.Join(cause, err); err != nil {
		return fmt.Errorf("consensus: %w", err)
	}
	return nil
}

func (e *Engine) run(ctx context.Context, fail func(error)) (err error) {
	log := &logger{e.cfg.Logger, fail}
	j, err := openJournal(e.cfg.WAL, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	// Before the sync: a validator that begins late begins at height 0 too.
	signed, err := e.openSigned(j)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, signed.close()) }()
	if err := e.catchUp(ctx); err != nil {
		// When all nodes start at once nobody can answer yet. What must not
		// be missing is found below.
		e.cfg.Logger.Warn("starting without a sync", "err", err)
	}
	if err := e.follow(ctx, j, signed); err != nil {
		return err
	}
	promises, err := j.promised()
	if err != nil {
		return err
	}
	r := &replica{cfg: &e.cfg, log: e.cfg.Logger, chain: e.chain, ctx: ctx, fail: fail, queue: e.queue,
		journal: j, signed: signed, wake: e.wake, promises: promises, entered: j.entered,
		ticks: make(chan time.Time, 4), asked: make(chan struct{}, 1), left: make(chan struct{}, 1), told: &e.told,
		states: map[uint64]types.ViewAndSeq{}, spoke: map[uint64]uint64{}, wishes: map[uint64]uint64{}, claims: map[uint64]claim{},
		order: newOrder()}
	return e.serve(ctx, r, log)
}

// serve runs SmartBFT until ctx ends, and stops it.
func (e *Engine) serve(ctx context.Context, r *replica, log *logger) error {
	if err := r.start(log); err != nil {
		return err
	}
	e.readers.Go(r.assist)
	e.readers.Go(r.putInOrder)
	e.open(r)
	r.ask()
	e.cfg.Logger.Info("consensus is up", "validator", e.cfg.ID, "validators", len(r.Nodes()), "height", e.cfg.App.Head().Height)
	r.pump(ctx, e.wake)
	if !errors.Is(context.Cause(ctx), errAnew) {
		e.state.Store(stateStopped)
	}
	return e.close(r)
}

// openSigned opens the record of this validator's votes, which only a new
// chain may lack.
func (e *Engine) openSigned(j *journal) (*signedFile, error) {
	head := e.cfg.App.Head().Height
	signed, err := openSigned(e.cfg.WAL, e.chain, mayBegin(head, j))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, noRecord(e.cfg.WAL, head)
	}
	return signed, err
}

// follow waits until the ledger has everything that this validator has
// already voted for or recorded. A ledger that lacks it was restored from an
// older copy, and a vote would be a second one for the same height.
func (e *Engine) follow(ctx context.Context, j *journal, signed *signedFile) error {
	for {
		if err := e.cfg.member(e.cfg.App.ValidatorSet()); err != nil {
			return err
		}
		head := e.cfg.App.Head().Height
		voted, behind := lacks(head, signed.height, j)
		if !behind {
			return nil
		}
		if len(e.cfg.App.ValidatorSet()) == 1 {
			return missingBlocks(e.cfg.WAL, head, voted)
		}
		e.cfg.Logger.Warn("following without a vote: this validator has voted beyond the ledger it was restored to",
			"height", head, "voted", voted)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(followPause):
		}
		if err := e.catchUp(ctx); err != nil {
			e.cfg.Logger.Warn("sync failed", "err", err)
		}
	}
}

// catchUp syncs while SmartBFT does not run.
func (e *Engine) catchUp(ctx context.Context) error {
	return e.cfg.sync(ctx, e.queue, func([]*request) {})
}

// followPause is between two attempts to catch up.
const followPause = time.Second

// open lets messages and transactions in.
func (e *Engine) open(r *replica) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.replica, e.peers = r, map[uint64]chan *smartbftprotos.Message{}
	if e.state.Swap(stateReady) == stateStarting {
		close(e.up)
	}
}

// Ready is closed when Run is up and Submit may be called.
func (e *Engine) Ready() <-chan struct{} { return e.up }

// errStuck comes when SmartBFT's controller waits for a view that has ended.
var errStuck = errors.New("SmartBFT did not stop")

// close stops SmartBFT and waits for what this engine started. After a failure
// SmartBFT may wait for a goroutine of its own that has ended; the process is
// about to end as well, so the wait is bounded.
func (e *Engine) close(r *replica) error {
	e.mu.Lock()
	e.replica = nil
	e.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.bft.Stop()
		e.readers.Wait()
	}()
	patience := stopTimeout
	if errors.Is(context.Cause(r.ctx), errHangs) {
		patience = stuckTimeout // it is likely that it does not stop
	}
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	defer func() { r.tickers[0].Stop(); r.tickers[1].Stop() }()
	select {
	case <-done:
		return nil
	case <-timeout.C:
		return fmt.Errorf("%w within %v", errStuck, patience)
	}
}

// Stats is a moment's figures.
type Stats struct {
	Waiting int    // requests in line
	Pooled  int    // requests in the pool
	Leader  uint64 // the leader's id, 0 before Run is up
}

// Stats returns the figures of now.
func (e *Engine) Stats() Stats {
	var s Stats
	s.Waiting, s.Pooled = e.queue.sizes()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.replica != nil {
		s.Leader = e.replica.bft.GetLeaderID()
	}
	return s
}
