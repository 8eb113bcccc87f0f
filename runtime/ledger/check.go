package ledger

import (
	"crypto/sha256"
	"fmt"
	"sync"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// Check decides whether a transaction may go into a block: that it is well
// formed, signed, for this chain and in time, that its sender may send, and
// that it was not executed before. What it lets pass may still fail in the
// block, where the state may be another; what it refuses would. The error
// carries an abi.Code.
func (l *Ledger) Check(raw []byte) (*chain.Tx, error) {
	t, err := chain.ParseTx(raw)
	if err != nil {
		return nil, err
	}
	v, head, err := l.take()
	if err != nil {
		return nil, err
	}
	defer v.Release()
	r := hot{v}
	if t.Tick != 0 {
		return t, l.checkTick(r, head, t.Tick)
	}
	// The cheap checks come before the signature, which costs the most.
	if t.Chain != l.chain {
		return nil, abi.CodeWrongChain
	}
	now, _ := l.now(head)
	if err := checkWindow(&t.Body, now); err != nil {
		return nil, err
	}
	if t.Gas > head.params.TxGas || t.Gas < PriceOf(t.Op, len(t.Args)) {
		return nil, fmt.Errorf("%d gas are declared, %s needs %d and the limit is %d: %w",
			t.Gas, t.Op, PriceOf(t.Op, len(t.Args)), head.params.TxGas, abi.CodeGasCap)
	}
	s, err := findSender(r, t.Key())
	if err != nil {
		return nil, l.outside(err)
	}
	if err := l.verify(t); err != nil {
		return nil, err
	}
	q, err := payer(r, s.id, &s.account, &head.params, now)
	if err := l.outside(refuseUnless(t.Gas <= q.Gas, abi.CodeGasQuota, err)); err != nil {
		return nil, err
	}
	if t.Sequence == 0 {
		_, seen, err := v.Plain(chain.WindowIDKey(chain.Minute(t.ValidUntil), t.ID))
		return t, l.outside(refuseUnless(!seen, abi.CodeReplayed, err))
	}
	last, err := readLane(r, s.id, t.Lane)
	return t, l.outside(refuseUnless(t.Sequence > last, abi.CodeOutOfSequence, err))
}

// checkTick lets a tick pass whose timer is due by this node's clock.
func (l *Ledger) checkTick(r reader, head *tip, due int64) error {
	if now, _ := l.now(head); due > now {
		return abi.CodeStaleTick
	}
	there, err := hasTimer(r, due)
	return l.outside(refuseUnless(there, abi.CodeStaleTick, err))
}

// outside gives any error without a code of its own the code of a failed node.
func (l *Ledger) outside(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := refusal(err); ok {
		return err
	}
	return l.unavailable(err)
}

// now is the node's clock, never below the time of the block at the head.
func (l *Ledger) now(head *tip) (ms int64, trusted bool) {
	ms, trusted = l.cfg.Clock()
	return max(ms, head.header.Time), trusted
}

// verify checks a transaction's signature once.
func (l *Ledger) verify(t *chain.Tx) error {
	digest := sha256.Sum256(t.Raw)
	if l.verified.has(digest) {
		return nil
	}
	if err := t.Envelope().Verify(); err != nil {
		return err
	}
	l.verified.add(digest)
	return nil
}

// verifyAll checks the signatures that were not checked before, in batch.
func (l *Ledger) verifyAll(txs []*chain.Tx) error {
	var digests []abi.Hash
	var envelopes []*chain.Envelope
	for _, t := range txs {
		if t.Tick != 0 {
			continue
		}
		if digest := sha256.Sum256(t.Raw); !l.verified.has(digest) {
			digests, envelopes = append(digests, digest), append(envelopes, t.Envelope())
		}
	}
	for i, good := range chain.VerifyAll(envelopes) {
		if !good {
			id := envelopes[i].ID()
			return fmt.Errorf("transaction %x: %w", id[:8], abi.CodeBadSignature)
		}
		l.verified.add(digests[i])
	}
	return nil
}

// rememberLimit is how many verified transactions each half of the memory
// holds: a few full blocks and the pool.
const rememberLimit = 8192

// rememberSet remembers digests of whole transactions, signature included: a
// transaction's id says nothing of its signature's bytes. Of the two halves
// the older is dropped when the newer is full.
type rememberSet struct {
	mu         sync.Mutex
	newer, old map[abi.Hash]struct{} // guarded by mu
}

func (s *rememberSet) init() { s.newer = make(map[abi.Hash]struct{}) }

func (s *rememberSet) has(h abi.Hash) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.newer[h]; ok {
		return true
	}
	_, ok := s.old[h]
	return ok
}

func (s *rememberSet) add(h abi.Hash) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.newer) >= rememberLimit {
		s.old, s.newer = s.newer, make(map[abi.Hash]struct{})
	}
	s.newer[h] = struct{}{}
}
