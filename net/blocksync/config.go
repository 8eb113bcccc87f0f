package blocksync

import (
	"context"
	"errors"
	"log/slog"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/net/peer"
)

// Errors that a caller tells apart.
var (
	// ErrLedger wraps what Ledger.Commit said of a block that a quorum has
	// certified: this node cannot go on.
	ErrLedger = errors.New("the ledger refused a certified block")
	// ErrFork comes when two certified blocks contradict one another: more
	// validators lie than the chain can bear, or the ledger is damaged.
	ErrFork = errors.New("a certified block does not follow this node's chain")
	// ErrPruned comes when no peer in reach keeps the blocks that this node
	// needs next: it has to join anew by a snapshot.
	ErrPruned = errors.New("no peer keeps the blocks that are needed next")
	// ErrNoPeers comes from Sync when nobody answered.
	ErrNoPeers = errors.New("no peer answered")
	// ErrNoSnapshot comes from Join when no peer in reach has one.
	ErrNoSnapshot = errors.New("no peer has a snapshot")
)

// Peers is how other nodes are reached. A peer.Network is one.
type Peers interface {
	Connected() []peer.Info
	Changed() <-chan struct{} // closed at the next change of Connected
	Open(ctx context.Context, to peer.Key, request []byte) (peer.Stream, error)
	Misbehaved(key peer.Key, why error)
}

// Ledger is what is brought up to date. Its methods are called from several
// goroutines.
type Ledger interface {
	ChainID() abi.Hash
	Head() chain.Header
	ValidatorSet() chain.ValidatorSet // signs the next block
	Block(height uint64) (block, certificate, outcomes []byte, err error)
	Base() uint64 // the lowest block above 0 that is kept
	// Commit makes a certified block part of the ledger. It checks all that
	// execution tells; a block at or below the head is a no-op.
	Commit(ctx context.Context, block *chain.Block, c *chain.Certificate) error
	Committed() <-chan struct{} // closed at the next commit
}

// Config is what a Syncer works with. Peers and Ledger are required; a zero
// limit stands for its default.
type Config struct {
	Peers     Peers
	Ledger    Ledger
	Snapshots SnapshotSource // nil: none are served
	// Ahead is told of verified blocks before their turn to be committed, from
	// several goroutines: whoever checks their transactions' signatures there
	// saves Commit the time. May be nil.
	Ahead func(*chain.Block)
	// Behind is what signed heads of the validators say: the height of one
	// above this node's, if there is one. It is a hint that the peer which
	// Follow listens to keeps something back. May be nil.
	Behind func() (height uint64, ok bool)
	Logger *slog.Logger // nil: none

	WindowBytes int // of fetched blocks that wait to be committed; 4 MiB
	MaxRequests int // served at a time; the next are refused; 64
}

// validate checks c and fills in the defaults.
func (c *Config) validate() error {
	if c.Peers == nil || c.Ledger == nil {
		return errors.New("blocksync: Peers and Ledger are required")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.WindowBytes <= 0 {
		c.WindowBytes = 4 << 20
	}
	if c.MaxRequests <= 0 {
		c.MaxRequests = 64
	}
	return nil
}
