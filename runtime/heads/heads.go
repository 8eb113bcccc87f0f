// Package heads exchanges signed heads: each validator's word, every few
// seconds, on where it sees the chain stand. A quorum of fresh ones tells a
// node that its chain is idle rather than that the node is cut off; the age of
// the quorum is the node's staleness. Nothing of it is stored.
//
// The caller's duties:
//
//  1. New over the ledger, then Run beside everything else: it signs this
//     node's own heads for as long as its key is in the validator set.
//  2. Give every head that a peer sends to Take, and pass on to the other
//     peers what Take calls fresh, and only that: so a head reaches all, once,
//     and a forged one nobody but its receiver.
//  3. Ask Staleness for every answer; it is cheap.
//
// Of Take's errors only abi.CodeMalformed and abi.CodeWrongChain are the
// peer's fault: a signature may look wrong because this node has not yet heard
// of a change of the set.
package heads

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// Ledger is whose heads are signed, and what those of others are compared with.
type Ledger interface {
	ChainID() abi.Hash
	// Head is the header of the last committed block.
	Head() chain.Header
	// ValidatorSet signs the next block.
	ValidatorSet() chain.ValidatorSet
	// Block reads a committed block: a chain.Block, a chain.Certificate and
	// the outcomes.
	Block(height uint64) (block, certificate, outcomes []byte, err error)
}

// interval is how often a validator signs a head.
const interval = 10 * time.Second

// Limits of what is taken.
const (
	maxAhead = 5000 // ms that a head's time may lie ahead of this node's clock
	minGap   = 1000 // ms between two heads of a validator that both count: what comes sooner is a flood
)

// Config is what a Tracker works with. All but Key and Send are required.
type Config struct {
	Ledger Ledger
	Key    chain.Signer // this node's; nil signs nothing
	Clock  func() (ms int64, trusted bool)
	Send   func(head []byte) // broadcasts; must not block
	Logger *slog.Logger
}

// Tracker holds the newest heads, two a validator. All methods may be used at
// the same time.
type Tracker struct {
	cfg   Config
	chain abi.Hash
	now   atomic.Pointer[standing]

	mu   sync.Mutex
	list map[uint64]*voice // by validator id, of the current set alone; guarded by mu
}

// voice is what a validator said. The newest head does not count while it is
// ahead of this node's chain; the one that did before it still does.
type voice struct {
	key     []byte
	newest  said
	counted said
}

// said is a head and when it came.
type said struct {
	head    chain.SignedHead
	at      time.Time // monotonic: no setting of the clock makes a head younger
	verdict verdict
}

// New checks the configuration.
func New(cfg Config) (*Tracker, error) {
	if cfg.Ledger == nil || cfg.Clock == nil || cfg.Logger == nil || (cfg.Key != nil && cfg.Send == nil) {
		return nil, errors.New("heads: Ledger, Clock, Logger and, with a Key, Send are required")
	}
	t := &Tracker{cfg: cfg, chain: cfg.Ledger.ChainID(), list: map[uint64]*voice{}}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.renew()
	return t, nil
}

// Run signs and sends this node's heads until ctx ends, and returns nil.
// While the node is no validator, or its clock is not trusted, it sends none.
func (t *Tracker) Run(ctx context.Context) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		if err := t.send(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (t *Tracker) send() error {
	id := t.id(t.cfg.Ledger.ValidatorSet())
	now, trusted := t.cfg.Clock()
	if id == 0 || !trusted {
		return nil
	}
	block := t.cfg.Ledger.Head()
	head := chain.SignedHead{Chain: t.chain, Height: block.Height, Block: block.Hash(), Time: now, Validator: id}
	if err := head.Sign(t.cfg.Key); err != nil {
		return fmt.Errorf("heads: signing: %w", err)
	}
	t.cfg.Send(head.Append(nil))
	return nil
}

// id is this node's in the set, or 0.
func (t *Tracker) id(set chain.ValidatorSet) uint64 {
	if t.cfg.Key == nil {
		return 0
	}
	id, _ := set.ID(t.cfg.Key.Public())
	return id
}

// Take takes an encoded head, and says whether it was new: the sender may have
// it from others. An error tells why it was not believed: CodeMalformed,
// CodeWrongChain, CodeBadSignature (also of validators unknown here),
// CodeBadArgument when its time lies more than five seconds ahead, CodeBadProof
// when it names another block than this node holds at its height.
func (t *Tracker) Take(raw []byte) (fresh bool, err error) {
	h, err := chain.ParseSignedHead(raw)
	if err != nil {
		return false, err
	}
	if h.Chain != t.chain {
		return false, fmt.Errorf("head of chain %x: %w", h.Chain[:4], abi.CodeWrongChain)
	}
	now, _ := t.cfg.Clock()
	if h.Time < 0 || h.Time > now+maxAhead {
		return false, fmt.Errorf("head of validator %d has time %d, this node's clock %d: %w", h.Validator, h.Time, now, abi.CodeBadArgument)
	}
	set := t.cfg.Ledger.ValidatorSet()
	if t.known(&h, set) {
		return false, nil
	}
	if err := h.Verify(set); err != nil {
		return false, err
	}
	return t.keep(h, set)
}

// known spares verifying what would not be kept: a repetition, a replay, one
// of a flood, or an echo of this node's own.
func (t *Tracker) known(h *chain.SignedHead, set chain.ValidatorSet) bool {
	if h.Validator == t.id(set) {
		return true
	}
	key, _ := set.Key(h.Validator)
	t.mu.Lock()
	defer t.mu.Unlock()
	v := t.list[h.Validator]
	return v != nil && bytes.Equal(v.key, key) && h.Time < v.newest.head.Time+minGap
}

// keep notes a verified head.
func (t *Tracker) keep(h chain.SignedHead, set chain.ValidatorSet) (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key, _ := set.Key(h.Validator)
	v := t.list[h.Validator]
	if v == nil || !bytes.Equal(v.key, key) {
		v = &voice{key: key}
	} else if h.Time < v.newest.head.Time+minGap {
		return false, nil // another stream was faster
	}
	v.newest = said{head: h, at: time.Now()}
	t.list[h.Validator] = v
	t.renew()
	if v.newest.verdict == disputed {
		return true, fmt.Errorf("validator %d holds another block at height %d: %w", h.Validator, h.Height, abi.CodeBadProof)
	}
	return true, nil
}
