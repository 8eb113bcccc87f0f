package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/runtime/wasm"
	"github.com/seed79541315/postern/storage"
)

// Config is what a Ledger works with. Store, Runtime, Clock and Logger are
// required.
type Config struct {
	Store   *storage.Store
	Runtime *wasm.Runtime
	// Chain is the chain that the store must hold; zero takes what is there.
	Chain abi.Hash
	// Clock is this node's clock in ms since 1970 and whether it is known to
	// be right. Decisions and Check use it, block execution never.
	Clock func() (ms int64, trusted bool)
	// Staleness is the age of this node's state in ms; nil means 0.
	Staleness func() uint64
	// Isolated says whether this gateway isolates a device by itself; nil means
	// none. Such a device, and whoever asks about it, is denied.
	Isolated func(device abi.Hash) bool
	// Submit makes a durable transaction of this node's gateway account out
	// of the encoded arguments of a chain.OpCall. Decisions use it for their
	// follow-ups; without it such a decision is a denial.
	Submit func(ctx context.Context, call []byte) error
	// Log keeps every decision that an authenticated caller gets; what it does
	// not take is a denial. Without it decisions are numbered and not kept.
	Log Log
	// TxRate is how many transactions a second Check lets pass for one payer
	// beyond those that are committed, TxBurst how many of them may be on
	// their way at once. 0 means 200 and 2000.
	TxRate, TxBurst int
	Logger          *slog.Logger
}

func (c *Config) validate() error {
	if c.Store == nil || c.Runtime == nil || c.Clock == nil || c.Logger == nil {
		return errors.New("ledger: Store, Runtime, Clock and Logger are required")
	}
	if c.Staleness == nil {
		c.Staleness = func() uint64 { return 0 }
	}
	if c.Isolated == nil {
		c.Isolated = func(abi.Hash) bool { return false }
	}
	if c.TxRate <= 0 {
		c.TxRate = 200
	}
	if c.TxBurst <= 0 {
		c.TxBurst = 2000
	}
	return nil
}

// Ledger is the state machine over a store. All methods may be used at the
// same time; Propose, Verify and Commit take turns.
type Ledger struct {
	cfg     Config
	store   *storage.Store
	runtime *wasm.Runtime
	genesis *chain.Genesis
	chain   abi.Hash

	head atomic.Pointer[tip]
	tips [4]atomic.Pointer[tip] // by height; written before the store publishes the height

	mu       sync.Mutex  // held by Propose, Verify and Commit
	executed executed    // guarded by mu
	swept    uint64      // plain window ids of minutes below are gone; guarded by mu
	verified rememberSet // raw transactions whose signature is good
	rates    *rates      // of payers, for what is submitted here
	relayed  *rates      // for what other nodes let in

	changed    changeSlots
	callers    callerTable
	domains    domainTable
	records    recordNumbers
	scratch    sync.Pool // of *decision
	recordings sync.Pool // of *proof.Record
	waiters    waiters
	news       news
	recent     recentEvents
	compiles   chan abi.Hash
	versions   chan uint64
	onCommit   []func(*chain.Block) // set before Run
	onAccounts []func([]abi.Hash)   // set before Run
	counts     counters
}

// tip is what is known of a committed height beside its state.
type tip struct {
	header     chain.Header
	hash       abi.Hash
	params     chain.Params
	signers    chain.ValidatorSet // of this block
	validators chain.ValidatorSet // of the next
	timer      int64              // due time of the first timer, 0 if there is none
}

// Open opens the chain in the store. It refuses an empty store, one that
// holds another chain than cfg.Chain, and protocol versions that this program
// does not know.
func Open(ctx context.Context, cfg Config) (*Ledger, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	l := &Ledger{cfg: cfg, store: cfg.Store, runtime: cfg.Runtime, compiles: make(chan abi.Hash, maxCompiles), versions: make(chan uint64, 1)}
	l.scratch.New = func() any { return newDecision(l) }
	l.recordings.New = func() any { return new(proof.Record) }
	l.rates, l.relayed = newRates(cfg.TxRate, cfg.TxBurst), newRates(relayShare*cfg.TxRate, relayShare*cfg.TxBurst)
	l.waiters.init()
	l.verified.init()
	if err := l.readGenesis(); err != nil {
		return nil, fmt.Errorf("opening the ledger: %w", err)
	}
	t, err := l.readHead()
	if err != nil {
		return nil, fmt.Errorf("opening the ledger: %w", err)
	}
	l.publish(t)
	now, _ := l.now(t)
	l.records.init(now)
	cfg.Logger.InfoContext(ctx, "ledger", "chain", fmt.Sprintf("%x", l.chain[:8]), "name", l.genesis.Name, "height", t.header.Height)
	return l, nil
}

// readGenesis reads block 0 and checks that it is the right chain's.
func (l *Ledger) readGenesis() error {
	raw, _, _, err := l.store.Block(0)
	if errors.Is(err, storage.ErrNotFound) {
		return fmt.Errorf("the store is empty; make a chain or join one: %w", abi.CodeNotFound)
	}
	if err != nil {
		return err
	}
	k, err := chain.ParseBlock(raw)
	if err != nil || len(k.Txs) != 1 {
		return fmt.Errorf("block 0 holds no genesis: %w", errors.Join(err, abi.CodeMalformed))
	}
	if l.genesis, err = chain.ParseGenesis(k.Txs[0]); err != nil {
		return err
	}
	l.chain = chain.ChainID(k.Txs[0])
	if want := l.cfg.Chain; want != (abi.Hash{}) && want != l.chain || k.Header.Chain != l.chain {
		return fmt.Errorf("the store holds chain %x, not %x: %w", l.chain[:8], want[:8], abi.CodeWrongChain)
	}
	return nil
}

// readHead makes the tip of the newest committed block.
func (l *Ledger) readHead() (*tip, error) {
	v, err := l.store.HeadView()
	if err != nil {
		return nil, err
	}
	defer v.Release()
	raw, _, _, err := l.store.Block(v.Height())
	if err != nil {
		return nil, err
	}
	k, err := chain.ParseBlock(raw)
	if err != nil {
		return nil, fmt.Errorf("block %d: %w", v.Height(), err)
	}
	if k.Header.Height != v.Height() || k.Header.State != v.Root() || k.Header.Chain != l.chain {
		return nil, fmt.Errorf("block %d is not the one that the state belongs to: %w", v.Height(), abi.CodeBadProof)
	}
	t := &tip{header: k.Header, hash: k.Header.Hash()}
	if err := t.readState(cold{v}); err != nil {
		return nil, err
	}
	if err := l.checkProtocol(t.params.Protocol); err != nil {
		return nil, err
	}
	if err := t.readSigners(v, l.genesis); err != nil {
		return nil, err
	}
	return t, nil
}

// readState fills in what stands in the state of the tip's height, and is not
// known.
func (t *tip) readState(r reader) error {
	var ok bool
	var err error
	if t.params, ok, err = load(r, chain.ParamsKey(), chain.ParseParams); err != nil || !ok {
		return errors.Join(err, missing(ok, "parameters"))
	}
	if t.validators == nil {
		if t.validators, ok, err = load(r, chain.ValidatorsKey(), chain.ParseValidatorSet); err != nil || !ok {
			return errors.Join(err, missing(ok, "validators"))
		}
	}
	return each(r, chain.TimerPrefix(), func(key, _ []byte) (bool, error) {
		t.timer = chain.TimerDue(key)
		return false, nil
	})
}

func missing(ok bool, what string) error {
	if ok {
		return nil
	}
	return faultf("the state holds no %s", what)
}

// publish makes t the newest tip. Its slot among tips is filled beforehand by
// Commit, since readers may hold a View of its height already.
func (l *Ledger) publish(t *tip) {
	l.slot(t.header.Height).Store(t)
	l.head.Store(t)
}

func (l *Ledger) slot(height uint64) *atomic.Pointer[tip] { return &l.tips[height%uint64(len(l.tips))] }

// take returns the newest View with the tip of its height. The caller
// releases the View.
func (l *Ledger) take() (*storage.View, *tip, error) {
	for {
		v, err := l.store.View()
		if err != nil {
			return nil, nil, l.unavailable(err)
		}
		if t := l.slot(v.Height()).Load(); t != nil && t.header.Height == v.Height() {
			return v, t, nil
		}
		v.Release() // held up for whole blocks between the two reads
	}
}

// unavailable gives an error of storage its code for outsiders.
func (l *Ledger) unavailable(err error) error {
	switch {
	case errors.Is(err, storage.ErrBusy):
		return fmt.Errorf("%w: %w", abi.CodeBusy, err)
	case errors.Is(err, storage.ErrClosed):
		return fmt.Errorf("%w: %w", abi.CodeShuttingDown, err)
	}
	return fmt.Errorf("%w: %w", abi.CodeInternal, err)
}

// Head is the header of the newest committed block.
func (l *Ledger) Head() chain.Header { return l.head.Load().header }

// ChainID names the chain.
func (l *Ledger) ChainID() abi.Hash { return l.chain }

// Genesis is what the chain began with; it must not be modified.
func (l *Ledger) Genesis() *chain.Genesis { return l.genesis }

// ValidatorSet is the set that signs the next block.
func (l *Ledger) ValidatorSet() chain.ValidatorSet { return l.head.Load().validators }

// Params are the chain's parameters at the newest height.
func (l *Ledger) Params() chain.Params { return l.head.Load().params }

// Base is the lowest block above 0 that this node keeps.
func (l *Ledger) Base() uint64 { return max(1, l.store.Base()) }

// NextTimer is when the first timer is due, in ms of header time.
func (l *Ledger) NextTimer() (due int64, ok bool) {
	t := l.head.Load()
	return t.timer, t.timer != 0
}

// OnCommit adds a function that is called after each commit, in the order of
// heights. It must not block. It is called before Run.
func (l *Ledger) OnCommit(fn func(*chain.Block)) { l.onCommit = append(l.onCommit, fn) }

// OnAccounts adds a function that is called after each commit that changed
// records of accounts or devices, with their ids, some of them twice. It must not
// block, nor keep the list. OnAccounts is called before Run.
func (l *Ledger) OnAccounts(fn func([]abi.Hash)) { l.onAccounts = append(l.onAccounts, fn) }
