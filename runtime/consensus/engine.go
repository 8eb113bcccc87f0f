package consensus

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hyperledger-labs/SmartBFT/pkg/consensus"
	"github.com/hyperledger-labs/SmartBFT/pkg/types"
	"github.com/hyperledger-labs/SmartBFT/smartbftprotos"
	"google.golang.org/protobuf/proto"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
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
	if e.cfg.Syncer != nil {
		if err := e.cfg.Syncer.Sync(ctx); err != nil {
			// When all nodes start at once nobody can answer yet. What must
			// not be missing is found below.
			e.cfg.Logger.Warn("starting without a sync", "err", err)
		}
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
		ticks: make(chan time.Time, 4), asked: make(chan struct{}, 1), left: make(chan struct{}, 1), told: &e.told, states: map[uint64]types.ViewAndSeq{}, spoke: map[uint64]uint64{}}
	return e.serve(ctx, r, log)
}

// serve runs SmartBFT until ctx ends, and stops it.
func (e *Engine) serve(ctx context.Context, r *replica, log *logger) error {
	if err := r.start(log); err != nil {
		return err
	}
	e.readers.Go(r.assist)
	e.open(r)
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
		if err := e.cfg.Syncer.Sync(ctx); err != nil {
			e.cfg.Logger.Warn("sync failed", "err", err)
		}
	}
}

// followPause is between two attempts to catch up.
const followPause = time.Second

// start gives SmartBFT what it needs and starts it.
func (r *replica) start(log *logger) error {
	latest, sequence, err := lastDecision(r.cfg.App)
	if err != nil {
		return err
	}
	metadata, err := parseMetadata(latest.Proposal.Metadata)
	if err != nil {
		return err
	}
	r.set, r.sequence = r.cfg.App.ValidatorSet(), sequence
	r.recovery.entries, r.recovery.inFlight = r.journal.restore(r.cfg.App.Head().Height)
	for i := range r.tickers {
		r.tickers[i] = time.NewTicker(tickPeriod(len(r.set)))
	}
	r.bft = &consensus.Consensus{
		Config:            smartConfig(r.cfg.ID),
		Application:       r,
		Assembler:         r,
		WAL:               r,
		WALInitialContent: r.recovery.entries,
		Comm:              r,
		Signer:            r,
		Verifier:          r,
		RequestInspector:  r,
		Synchronizer:      r,
		Logger:            log,
		Metadata:          r.journal.resume(metadata),
		LastProposal:      latest.Proposal,
		LastSignatures:    latest.Signatures,
		Scheduler:         r.tickers[0].C,
		ViewChangerTicker: r.ticks,
	}
	if err := guard(r.bft.Start); err != nil {
		return err
	}
	r.resend()
	return nil
}

// resend broadcasts the proposal that this node made before it crashed: on
// recovery SmartBFT broadcasts only its own prepare for it, and the others,
// who may never have seen the proposal, would wait.
func (r *replica) resend() {
	p := r.journal.last
	if r.journal.phase != phaseProposed || p.GetSeq() != r.cfg.App.Head().Height+1 || r.bft.GetLeaderID() != r.cfg.ID {
		return
	}
	m := &smartbftprotos.Message{Content: &smartbftprotos.Message_PrePrepare{PrePrepare: p}}
	for _, id := range r.Nodes() {
		if id != r.cfg.ID {
			r.SendConsensus(id, m)
		}
	}
}

// guard calls f in a goroutine, for SmartBFT ends the calling one when it
// panics.
func guard(f func() error) error {
	done := make(chan error, 1)
	go func() {
		err := errors.New("SmartBFT gave up")
		defer func() { done <- err }()
		err = f()
	}()
	return <-done
}

// smartConfig is SmartBFT's configuration. Batches are made here and not by
// it: a count of one lets the leader begin a block at the first request,
// and AssembleProposal takes everything that is in the pool.
func smartConfig(id uint64) types.Configuration {
	return types.Configuration{
		SelfID:                        id,
		RequestBatchMaxCount:          1,
		RequestBatchMaxBytes:          maxBatchBytes,
		RequestBatchMaxInterval:       time.Second, // how often an idle leader looks into an empty pool
		RequestMaxBytes:               abi.MaxTransaction + uint64(len(abi.Hash{})),
		RequestPoolSize:               2 * maxPooled,
		RequestPoolSubmitTimeout:      50 * time.Millisecond,
		RequestForwardTimeout:         300 * time.Millisecond,
		RequestComplainTimeout:        3 * time.Second,
		RequestAutoRemoveTimeout:      24 * time.Hour, // the queue decides
		IncomingMessageBufferSize:     200,
		LeaderHeartbeatTimeout:        3 * time.Second,
		LeaderHeartbeatCount:          10,
		NumOfTicksBehindBeforeSyncing: 10,
		ViewChangeResendInterval:      400 * time.Millisecond,
		ViewChangeTimeout:             time.Second,
		CollectTimeout:                300 * time.Millisecond,
	}
}

// tickPeriod is how often SmartBFT's two clocks tick. One validator has no
// leader to watch and no view to change; worse, a view change that it began
// after refusing its own proposal would never end and would stop it for good.
func tickPeriod(validators int) time.Duration {
	if validators == 1 {
		return 365 * 24 * time.Hour
	}
	return 100 * time.Millisecond
}

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
	timeout := time.NewTimer(stopTimeout)
	defer timeout.Stop()
	defer func() { r.tickers[0].Stop(); r.tickers[1].Stop() }()
	select {
	case <-done:
		return nil
	case <-timeout.C:
		return fmt.Errorf("SmartBFT did not stop within %v", stopTimeout)
	}
}

// Submit takes a client's transaction: checks it once, puts it in line, and
// passes it on to the other validators, again while it is in no block. It returns the transaction's id before
// the transaction is in a block. Errors carry an abi.Code: those of App.Check,
// CodeBusy when the line is full, CodeNotReady before Run is up and
// CodeShuttingDown after.
func (e *Engine) Submit(ctx context.Context, raw []byte) (abi.Hash, error) {
	id, q, err := e.enqueue(ctx, raw, e.cfg.App.Check)
	if err != nil || q == nil {
		return id, err
	}
	e.queue.passed(q, time.Now())
	e.cfg.passOn(q.raw)
	return id, nil
}

// passOn sends a transaction to the other validators.
func (c *Config) passOn(raw []byte) {
	if c.Transport == nil {
		return
	}
	for _, v := range c.App.ValidatorSet() {
		if v.ID != c.ID {
			c.Transport.SendTransaction(v.ID, raw)
		}
	}
}

// HandleTransaction takes a transaction that another validator passed on.
func (e *Engine) HandleTransaction(ctx context.Context, raw []byte) error {
	_, _, err := e.enqueue(ctx, raw, e.cfg.App.CheckRelayed)
	return err
}

// enqueue returns no request if it was in line already.
func (e *Engine) enqueue(ctx context.Context, raw []byte, check func([]byte) (*chain.Tx, abi.Hash, error)) (abi.Hash, *request, error) {
	if err := errors.Join(ctx.Err(), e.ready()); err != nil {
		return abi.Hash{}, nil, err
	}
	tx, payer, err := check(raw)
	if err != nil {
		return abi.Hash{}, nil, err
	}
	if tx.Tick != 0 {
		return abi.Hash{}, nil, fmt.Errorf("validators make their own ticks: %w", abi.CodeBadArgument)
	}
	q := newRequest(tx, payer, 0)
	added, err := e.queue.add(q)
	if err != nil || !added {
		return tx.ID, nil, err
	}
	poke(e.wake)
	return tx.ID, q, nil
}

func (e *Engine) ready() error {
	switch e.state.Load() {
	case stateReady:
		return nil
	case stateStopped:
		return abi.CodeShuttingDown
	}
	return abi.CodeNotReady
}

// Handle takes a consensus message of the validator from, whom the transport
// has authenticated. It blocks while that peer's earlier messages are being
// handled, so call it from the goroutine that reads the peer's stream. Before
// Run is up and after, messages are dropped, as are malformed ones.
func (e *Engine) Handle(from uint64, message []byte) {
	if len(message) > MaxMessage {
		e.cfg.Logger.Warn("dropped a consensus message that is too large", "from", from, "bytes", len(message))
		return
	}
	m := &smartbftprotos.Message{}
	if err := proto.Unmarshal(message, m); err != nil || m.Content == nil {
		e.cfg.Logger.Warn("dropped a malformed consensus message", "from", from)
		return
	}
	if r, line := e.lineOf(from); line != nil {
		select {
		case line <- m:
		case <-r.ctx.Done():
		}
	}
}

// lineOf returns the peer's line of messages, and starts its reader.
func (e *Engine) lineOf(from uint64) (*replica, chan<- *smartbftprotos.Message) {
	e.mu.Lock()
	defer e.mu.Unlock()
	r := e.replica
	if r == nil || from == e.cfg.ID || !slices.Contains(r.Nodes(), from) {
		return nil, nil
	}
	line := e.peers[from]
	if line == nil {
		line = make(chan *smartbftprotos.Message, maxPeerQueue)
		e.peers[from] = line
		e.readers.Go(func() { r.read(from, line) })
	}
	return r, line
}

// read hands a peer's messages to SmartBFT. It is a goroutine of its own
// because SmartBFT may end the one that calls it.
func (r *replica) read(from uint64, line <-chan *smartbftprotos.Message) {
	for {
		select {
		case <-r.ctx.Done():
			return
		case m := <-line:
			if !r.heard(from, m) {
				r.take(from, m)
			}
		}
	}
}

// Behind says that the chain has a height by the word of more validators than
// may lie. If the ledger does not get there within fifteen seconds, Run starts
// SmartBFT anew, with a sync: on an idle chain nothing else tells it that it
// missed the last block.
func (e *Engine) Behind(height uint64) {
	e.told.Store(height)
	poke(e.wake)
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
