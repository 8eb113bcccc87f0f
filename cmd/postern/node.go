package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/net/gateway"
	"github.com/seed79541315/postern/net/web"
	"github.com/seed79541315/postern/net/webhook"
	"github.com/seed79541315/postern/runtime/behaviour"
	"github.com/seed79541315/postern/runtime/consensus"
	"github.com/seed79541315/postern/runtime/declog"
	"github.com/seed79541315/postern/runtime/ledger"
	"github.com/seed79541315/postern/runtime/outbox"
	"github.com/seed79541315/postern/runtime/spool"
	"github.com/seed79541315/postern/runtime/wasm"
	"github.com/seed79541315/postern/sdk/key"
	"github.com/seed79541315/postern/storage"
)

// outsideGo is the resident memory, in MiB, that Go's memory limit does not
// count: the program's own pages and compiled contracts.
const outsideGo = 24

// guestBudgets shares out what a node has above the memory of a lean one: half
// to compiled contracts, a quarter to idle instances, in bytes.
func guestBudgets(memory int) (code, pool int) {
	more := max(0, memory-leanMemory) << 20
	return wasm.DefaultCodeBytes + more/2, wasm.DefaultPoolBytes + more/4
}

// node is a running node: every part of it, put together here and only here.
type node struct {
	home      home
	log       *slog.Logger
	clock     func() (ms int64, trusted bool)
	lock      *os.File
	genesis   *chain.Genesis
	store     *storage.Store
	runtime   *wasm.Runtime
	outbox    *outbox.Outbox
	decisions *declog.Log
	verdicts  *outbox.Outbox
	behaviour *behaviour.Monitor
	hook      *hook           // nil where none is configured
	webhooks  *webhook.Sender // nil where none are
	sealer    *sealer
	evidence  *evidenceTimes
	searches  *searchSeal
	spool     *spool.Spool
	ledger    *ledger.Ledger
	snapshots *ledger.Snapshots
	role      *role
	peering   *peering // nil when off
	gateway   *gateway.Server
	web       *web.Server // nil when off
	key       *key.Key
	account   abi.Hash // its account

	quicAddr, webAddr, peerAddr string
}

// openNode opens everything in the order that recovery needs: database,
// contract host, ledger, consensus, and the ports last. On an error it closes
// what it had opened.
func openNode(ctx context.Context, h home, cfg config, log *slog.Logger) (*node, error) {
	code, _ := guestBudgets(cfg.Memory)
	debug.SetMemoryLimit(int64(cfg.Memory-outsideGo)<<20 - int64(code-wasm.DefaultCodeBytes))
	n := &node{home: h, log: log, clock: cfg.clock, role: &role{ready: make(chan struct{})}}
	if n.clock == nil {
		n.clock = clockOf(cfg.Clock)
	}
	if cfg.listen == nil {
		cfg.listen = listenUDP
	}
	if err := n.open(ctx, cfg); err != nil {
		return nil, errors.Join(err, n.close())
	}
	return n, nil
}

func (n *node) open(ctx context.Context, cfg config) (err error) {
	if n.home.isBackup() {
		return fmt.Errorf("%s is a backup: make a home of it with postern restore --home DIR %s, and start that", n.home, shellWord(string(n.home)))
	}
	if n.lock, err = n.home.lock(); err != nil {
		return err
	}
	if n.key, err = key.Load(n.home.path(nodeKeyFile)); errors.Is(err, abi.CodeBadKey) {
		return fmt.Errorf("%w; put it back from a backup; without one, the other validators can give this one a new key (postern validator propose replace)", err)
	}
	if err != nil {
		return err
	}
	if err := n.openLedger(ctx, cfg); err != nil {
		return err
	}
	if cfg.adoptLedger {
		if err := n.adoptLedger(); err != nil {
			return err
		}
	}
	if err := n.openPeering(cfg); err != nil {
		return err
	}
	if _, votes := n.validatorID(); !votes && n.peering == nil {
		return fmt.Errorf("%s is no validator of this chain, and without the peer port (peer = \"off\") the node cannot follow others: put the right key back, or open the port", n.home.path(nodeKeyFile))
	}
	return n.openPorts(cfg)
}

func (n *node) openLedger(ctx context.Context, cfg config) error {
	raw, genesis, err := n.home.genesis()
	if err != nil {
		return err
	}
	n.genesis = genesis
	if err := n.openStore(ctx, cfg, raw); err != nil {
		return err
	}
	code, pool := guestBudgets(cfg.Memory)
	n.runtime, err = wasm.New(ctx, wasm.Config{
		Engine: engines[cfg.Engine], CacheDir: n.home.path("cache"), CodeBytes: code, PoolBytes: pool,
		Profile: genesis.Params.Profile, Logger: n.log,
	})
	if err != nil {
		return fmt.Errorf("starting the contract host: %w", err)
	}
	if err := n.identify(); err != nil {
		return err
	}
	if n.outbox, err = n.openLane(chain.ChainID(raw), "outbox", outboxLane); err != nil {
		if _, known, _ := accountOn(n.store, n.key.Public()); !known {
			err = fmt.Errorf("%w; or put %s back: the ledger knows no account of the key in it", err, n.home.path(nodeKeyFile))
		}
		return err
	}
	if err := n.openDecisions(cfg, chain.ChainID(raw)); err != nil {
		return err
	}
	n.ledger, err = ledger.Open(ctx, ledger.Config{
		Store: n.store, Runtime: n.runtime, Chain: chain.ChainID(raw), Clock: n.clock, Staleness: n.staleness, Isolated: n.isolates, Submit: n.followUp, Log: n.decisions,
		TxRate: cfg.TxRate, TxBurst: cfg.TxBurst, Logger: newWordyLog(n.log, n.store),
	})
	if err != nil {
		return err
	}
	if err := n.openSpool(); err != nil {
		return err
	}
	n.ledger.OnCommit(func(*chain.Block) { n.decisions.Committed() })
	if err := n.openBehaviour(cfg, chain.ChainID(raw)); err != nil {
		return err
	}
	n.openHook(cfg.Hook)
	if err := n.openWebhooks(cfg); err != nil {
		return err
	}
	n.openSealer()
	n.snapshots, err = n.ledger.KeepSnapshots(ledger.SnapshotConfig{Storage: n.place(cfg, "snapshots"), KeepBlocks: cfg.KeepBlocks, Logger: n.log})
	return err
}

// place is where something of the database lies in the home.
func (n *node) place(cfg config, folder string) storage.Config {
	place := cfg.store
	place.Dir, place.Logger = n.home.path(folder), n.log
	return place
}

// openStore opens the database of the chain with this genesis: the one that is
// there, one that a peer's snapshot makes, or one with the genesis alone.
func (n *node) openStore(ctx context.Context, cfg config, raw []byte) (err error) {
	genesis := n.genesis
	if n.joinsFirst(cfg, genesis) {
		if err := n.join(ctx, cfg, raw, genesis); err != nil {
			return err
		}
	}
	if genesis.Origin != nil && n.storeIsNew(cfg) {
		return noStateError(n.home, genesis.Origin)
	}
	place := n.place(cfg, "data")
	if n.store, err = storage.Open(place); err != nil {
		return fmt.Errorf("opening the database in %s: %w", place.Dir, err)
	}
	if err := syncDir(string(n.home)); err != nil { // the data folder may be new
		return err
	}
	if n.store.Head().Empty {
		if _, err := ledger.Init(n.store, raw); err != nil {
			return fmt.Errorf("writing the genesis block: %w", err)
		}
	}
	return n.checkGenesis(raw)
}

// checkGenesis refuses a genesis that the ledger did not begin with, before
// anything else that belongs to another chain is found and blamed.
func (n *node) checkGenesis(raw []byte) error {
	block, _, _, err := n.store.Block(0)
	if err != nil {
		return err
	}
	k, err := chain.ParseBlock(block)
	if err == nil && len(k.Txs) == 1 && !bytes.Equal(k.Txs[0], raw) {
		err = fmt.Errorf("%s is not what the ledger in %s began with: %s", n.home.path("genesis.cbor"), n.home.path("data"), genesisRemedy)
	}
	return err
}

// outboxLane is the lane of the gateway's account that the outbox has to
// itself.
const outboxLane = 1

// openLane opens the node's own transactions of one lane. Ledger and consensus
// are there by the time that it runs.
func (n *node) openLane(id abi.Hash, file string, lane uint64) (*outbox.Outbox, error) {
	return outbox.Open(outbox.Config{
		Path: n.home.path(file), Chain: id, Key: n.key, Account: n.account, Lane: lane, Gas: n.callGas,
		Submit:   n.submit,
		Wait:     func(ctx context.Context, id abi.Hash) (abi.TxResult, error) { return n.ledger.Wait(ctx, id) },
		Sequence: func() (uint64, error) { return lastSequence(n.store, n.account, lane) },
		Logger:   n.log,
	})
}

// callGas is what the chain's parameters of now give a call.
func (n *node) callGas() uint64 {
	p := n.ledger.Params()
	return p.GasFor(chain.OpCall)
}

// lastSequence is the last one of a lane on the ledger.
func lastSequence(s *storage.Store, account abi.Hash, lane uint64) (uint64, error) {
	v, err := s.HeadView()
	if err != nil {
		return 0, err
	}
	defer v.Release()
	b, ok, err := v.Get(chain.LaneKey(account, lane))
	if err != nil || !ok {
		return 0, err
	}
	r := cbor.NewReader(b)
	last := r.Uint()
	return last, r.Done()
}

// followUp makes a transaction of the gateway's account of what a decision
// wants called.
func (n *node) followUp(ctx context.Context, call []byte) error {
	_, err := n.outbox.Put(ctx, chain.OpCall, call)
	return err
}

// engines are the settings of the Wasm engine.
var engines = map[string]wasm.Engine{"auto": wasm.EngineAuto, "compiler": wasm.EngineCompiler, "interpreter": wasm.EngineInterpreter}

func (n *node) adoptLedger() error {
	if err := consensus.AdoptLedger(n.home.path("wal"), n.ledger); err != nil {
		return err
	}
	n.log.Warn("the ledger was adopted as it is; blocks above it are given up", "height", n.ledger.Head().Height)
	return nil
}

// run runs every part until ctx ends or one of them fails, then closes all.
// ready is called once the node answers.
func (n *node) run(ctx context.Context, ready func() error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return n.storeFailure(ctx) })
	group.Go(func() error { return n.snapshots.Run(ctx) })
	group.Go(func() error { return n.ledger.Run(ctx) })
	group.Go(func() error { return n.runRole(ctx) })
	if n.peering != nil {
		n.peering.run(ctx, group)
	}
	group.Go(func() error { return n.outbox.Run(ctx) })
	group.Go(func() error { return n.decisions.Run(ctx) })
	group.Go(func() error { return n.verdicts.Run(ctx) })
	group.Go(func() error { return n.behaviour.Run(ctx) })
	group.Go(func() error { return n.spool.Run(ctx) })
	group.Go(func() error { return n.watchReleases(ctx) })
	group.Go(func() error { return n.sealer.Run(ctx) })
	if n.hook != nil {
		group.Go(func() error { return n.watchStatuses(ctx) })
		group.Go(func() error { return n.hook.Run(ctx) })
	}
	if n.webhooks != nil {
		group.Go(func() error { return n.webhooks.Run(ctx) })
	}
	group.Go(func() error { return n.gateway.Run(ctx) })
	if n.web != nil {
		group.Go(func() error { return n.web.Run(ctx) })
	}
	group.Go(func() error {
		select {
		case <-n.role.ready:
		case <-ctx.Done(): // the error of what failed ends the group
			return nil
		}
		if !n.votes() {
			n.log.Warn("the clock is not synchronised: this node makes no blocks, and conditions on time deny; " +
				"run a time daemon, or vouch for the clock with clock = \"trusted\" in postern.toml")
		}
		if err := n.writeRunFile(); err != nil {
			return err
		}
		return ready()
	})
	err := group.Wait()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	os.Remove(n.home.path("run.json"))
	return errors.Join(err, n.close())
}

// votes says whether this chain can make blocks: its one validator does not
// vote while its clock is not known to be right.
func (n *node) votes() bool {
	_, trusted := n.clock()
	return trusted || len(n.ledger.ValidatorSet()) > 1
}

// storeFailure ends the node when its database fails: what is in memory may
// no longer be what is on disk.
func (n *node) storeFailure(ctx context.Context) error {
	select {
	case <-n.store.Failed():
	case <-ctx.Done():
	}
	return n.store.Err()
}

func (n *node) close() error {
	var errs []error
	if n.runtime != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		errs = append(errs, n.runtime.Close(ctx))
	}
	if n.decisions != nil {
		errs = append(errs, n.decisions.Close())
	}
	for _, o := range []*outbox.Outbox{n.outbox, n.verdicts} {
		if o != nil {
			errs = append(errs, o.Close())
		}
	}
	if n.store != nil {
		if err := n.store.Close(); !errors.Is(err, storage.ErrFatal) { // whoever met the failure has said it
			errs = append(errs, err)
		}
	}
	if n.lock != nil {
		errs = append(errs, n.lock.Close())
	}
	return errors.Join(errs...)
}

// runFile says where a running node answers; tools on the same host read it.
type runFile struct {
	PID  int    `json:"pid"`
	Quic string `json:"quic"`
	Web  string `json:"web,omitempty"`
	Peer string `json:"peer,omitempty"`
}

func (n *node) writeRunFile() error {
	b, err := json.Marshal(runFile{os.Getpid(), n.quicAddr, n.webURL(), n.peerAddr})
	if err != nil {
		return err
	}
	path := n.home.path("run.json")
	if err := os.WriteFile(path+".tmp", b, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

func (n *node) webURL() string {
	if n.webAddr == "" {
		return ""
	}
	return "https://" + reachable(n.webAddr)
}
