package consensus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// App is the ledger. Its methods are called from several goroutines.
type App interface {
	// Head is the header of the last committed block.
	Head() chain.Header
	// ChainID is the hash of the genesis.
	ChainID() abi.Hash
	// ValidatorSet signs the next block.
	ValidatorSet() chain.ValidatorSet
	// Block reads a committed block: a chain.Block, a chain.Certificate
	// (none for block 0) and the outcomes.
	Block(height uint64) (block, certificate, outcomes []byte, err error)
	// Check parses and verifies a transaction that wants into a block, within
	// the rate of its payer: the account whose quota it uses.
	Check(raw []byte) (tx *chain.Tx, payer abi.Hash, err error)
	// CheckRelayed is Check for what another node let in already.
	CheckRelayed(raw []byte) (tx *chain.Tx, payer abi.Hash, err error)
	// Propose builds a block of a prefix of raws that fits. With
	// abi.CodeNotFound none of them can stand in any block, and they are
	// dropped; any other error ends Run.
	Propose(ctx context.Context, now int64, raws [][]byte) (*chain.Block, error)
	// Verify executes a block unless it did so already. An error is a vote
	// against the block.
	Verify(ctx context.Context, block *chain.Block) error
	// Commit makes a block durable before it returns. An error ends Run.
	Commit(ctx context.Context, block *chain.Block, certificate *chain.Certificate) error
	// NextTimer is when (ms) the next timer of a contract is due.
	NextTimer() (due int64, ok bool)
}

// Transport carries bytes to another validator. It authenticates both ends,
// keeps the order of messages, never blocks (a message may be lost when a peer
// is slow), and keeps transactions apart from consensus, so that a flood of
// the first does not delay the second. It must not change the bytes, which
// several receivers share.
type Transport interface {
	Send(to uint64, message []byte)
	SendTransaction(to uint64, raw []byte)
}

// Syncer brings the App up to date from peers.
type Syncer interface {
	Sync(ctx context.Context) error
}

// Limits. The pool's bounds keep Submit from ever waiting for SmartBFT, and
// its gas bound keeps a request from growing so old there that its holder
// deposes an honest leader.
const (
	MaxMessage = 16 << 20 // bytes of a consensus message: a NewView of 21 validators holds 15 pairs of blocks, each 256 KiB, twice over

	maxPooled      = 2000      // requests in SmartBFT's pool
	maxPooledBytes = 1 << 20   // their bytes: four blocks
	maxBatchBytes  = 240 << 10 // bytes of transactions handed to one Propose; the block's frame has the rest of abi.MaxBlock
	maxPeerQueue   = 128       // messages of one peer waiting to be handled; its stream waits beyond that
	maxClockSkew   = 5000      // ms that a block's time may lie on either side of the voter's clock
	stopTimeout    = 10 * time.Second
	stuckTimeout   = 3 * time.Second // for a SmartBFT that does not go on
)

// Config is what an Engine needs. Zero values of the last group are useful.
type Config struct {
	ID     uint64       // this validator's id in the validator set
	Key    chain.Signer // its ed25519 key
	WAL    string       // directory of the write-ahead log and of the last-signed height
	App    App
	Clock  func() (ms int64, trusted bool)
	Logger *slog.Logger

	Transport Transport // may be nil with one validator
	Syncer    Syncer    // may be nil with one validator

	BatchInterval time.Duration // at least this long between two batches; an idle chain waits for nothing; 0 = 5 ms
	QueueCount    int           // requests that wait in front of the pool, half of them of one sender; 0 = 4096
	QueueBytes    int           // their bytes; 0 = 8 MiB
	PoolGas       uint64        // declared gas admitted to the pool; 0 = 1,000,000,000, one second
}

func (c *Config) validate() error {
	if err := checkProcessor(strconv.IntSize); err != nil {
		return err
	}
	if c.ID == 0 || c.Key == nil || c.WAL == "" || c.App == nil || c.Clock == nil || c.Logger == nil {
		return errors.New("consensus: ID, Key, WAL, App, Clock and Logger are required")
	}
	set := c.App.ValidatorSet()
	if err := c.member(set); err != nil {
		return fmt.Errorf("consensus: %w", err)
	}
	if len(set) > 1 && (c.Transport == nil || c.Syncer == nil) {
		return fmt.Errorf("consensus: %d validators need a Transport and a Syncer", len(set))
	}
	c.BatchInterval = orDefault(c.BatchInterval, 5*time.Millisecond)
	c.QueueCount = orDefault(c.QueueCount, 4096)
	c.QueueBytes = orDefault(c.QueueBytes, 8<<20)
	c.PoolGas = orDefault(c.PoolGas, 1_000_000_000)
	return nil
}

// member is an error unless the set names this validator with its key.
func (c *Config) member(set chain.ValidatorSet) error {
	key, ok := set.Key(c.ID)
	switch {
	case !ok:
		return fmt.Errorf("validator %d: %w", c.ID, ErrNotValidator)
	case !bytes.Equal(key, c.Key.Public()):
		return fmt.Errorf("validator %d has another key now: %w", c.ID, ErrNotValidator)
	}
	return nil
}

func orDefault[T int | uint64 | time.Duration](v, d T) T {
	if v <= 0 {
		return d
	}
	return v
}

// checkProcessor refuses what SmartBFT cannot run on: it uses 64-bit atomics
// on a field that 32-bit processors do not align.
func checkProcessor(intSize int) error {
	if intSize < 64 {
		return errors.New("consensus: this is a 32-bit processor, on which the consensus engine cannot run: let this node follow and serve devices, and validate on a 64-bit one")
	}
	return nil
}
