package ledger

import (
	"crypto/sha256"
	"fmt"
	"sync"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/storage"
)

// Check decides whether a transaction may go into a block: that it is well
// formed, signed, for this chain and in time, that its sender may send and its
// payer pay, that the payer has not sent too many of late, and that it was not
// executed before. What it lets pass may still fail in the block, where the
// state may be another; what it refuses would, but for the payer's rate. payer
// is the account whose quota it uses, a device's owner; zero for a tick. The
// error carries an abi.Code.
func (l *Ledger) Check(raw []byte) (tx *chain.Tx, payer abi.Hash, err error) {
	return l.check(raw, l.rates)
}

// CheckRelayed is Check for a transaction that another node has let in, which
// held it to its payer's rate. Here the rate is 16 times as high.
func (l *Ledger) CheckRelayed(raw []byte) (tx *chain.Tx, payer abi.Hash, err error) {
	return l.check(raw, l.relayed)
}

func (l *Ledger) check(raw []byte, rates *rates) (t *chain.Tx, by abi.Hash, err error) {
	if t, err = chain.ParseTx(raw); err != nil {
		return nil, by, err
	}
	v, head, err := l.take()
	if err != nil {
		return nil, by, err
	}
	defer v.Release()
	if t.Tick != 0 {
		return t, by, l.checkTick(hot{v}, head, t.Tick)
	}
	s, by, err := l.checkBody(hot{v}, head, t)
	if err != nil {
		return nil, by, l.outside(err)
	}
	if err := l.verifyWithin(t, by, rates); err != nil {
		return nil, by, err
	}
	return t, by, l.outside(checkReplay(v, s, t))
}

// checkBody checks all that costs less than the signature.
func (l *Ledger) checkBody(r reader, head *tip, t *chain.Tx) (s sender, by abi.Hash, err error) {
	if t.Chain != l.chain {
		return s, by, abi.CodeWrongChain
	}
	now, _ := l.now(head)
	if err := checkWindow(&t.Body, now); err != nil {
		return s, by, err
	}
	if t.Gas > head.params.TxGas || t.Gas < PriceOf(t.Op, len(t.Args)) {
		return s, by, fmt.Errorf("%d gas are declared, %s needs %d and the limit is %d: %w",
			t.Gas, t.Op, PriceOf(t.Op, len(t.Args)), head.params.TxGas, abi.CodeGasCap)
	}
	if s, err = findSender(r, t.Key()); err != nil {
		return s, by, err
	}
	if err := l.checkFollows(r, t); err != nil {
		return s, by, err
	}
	q, err := payer(r, s.id, &s.account, &head.params, now)
	return s, q.account, refuseUnless(t.Gas <= q.Gas, abi.CodeGasQuota, err)
}

// checkReplay refuses what was executed before.
func checkReplay(v *storage.View, s sender, t *chain.Tx) error {
	if t.Sequence == 0 {
		_, seen, err := v.Plain(chain.WindowIDKey(chain.Minute(t.ValidUntil), t.ID))
		return refuseUnless(!seen, abi.CodeReplayed, err)
	}
	last, err := readLane(hot{v}, s.id, t.Lane)
	return refuseUnless(t.Sequence > last, abi.CodeOutOfSequence, err)
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

// verify checks a transaction's signature once. What was checked before costs
// nothing.
func (l *Ledger) verify(t *chain.Tx) error {
	digest := sha256.Sum256(t.Raw)
	if l.verified.has(digest) {
		return nil
	}
	err := t.Envelope().Verify()
	if err == nil {
		l.verified.add(digest)
	}
	return err
}

// verifyWithin is verify within the payer's rate. Garbage takes no token.
func (l *Ledger) verifyWithin(t *chain.Tx, payer abi.Hash, rates *rates) error {
	digest := sha256.Sum256(t.Raw)
	if l.verified.has(digest) {
		return nil
	}
	now, _ := l.cfg.Clock()
	if !rates.has(payer, now) {
		return abi.CodeRateLimited
	}
	if err := t.Envelope().Verify(); err != nil {
		return err
	}
	if !rates.take(payer, now) {
		return abi.CodeRateLimited
	}
	l.verified.add(digest)
	return nil
}

// VerifyRelayed checks the signatures of transactions that other nodes have let
// in, all in one batch, which takes half the time, as far as their payers'
// rates go. CheckRelayed then need not. What it does not find good it leaves
// for CheckRelayed to judge.
func (l *Ledger) VerifyRelayed(raws [][]byte) {
	v, head, err := l.take()
	if err != nil {
		return
	}
	defer v.Release()
	now, _ := l.cfg.Clock()
	var digests, payers []abi.Hash
	var envelopes []*chain.Envelope
	for _, raw := range raws {
		t, err := chain.ParseTx(raw)
		digest := sha256.Sum256(raw)
		if err != nil || t.Tick != 0 || l.verified.has(digest) {
			continue
		}
		if _, payer, err := l.checkBody(hot{v}, head, t); err == nil && l.relayed.has(payer, now) {
			digests, payers, envelopes = append(digests, digest), append(payers, payer), append(envelopes, t.Envelope())
		}
	}
	for i, good := range chain.VerifyAll(envelopes) {
		if good && l.relayed.take(payers[i], now) {
			l.verified.add(digests[i])
		}
	}
}

// CheckSignatures verifies the signatures in a block that is to be committed
// soon, so that Commit need not: other cores can do it while the blocks before
// are executed. What does not verify is left to Commit to find.
func (l *Ledger) CheckSignatures(k *chain.Block) {
	txs := make([]*chain.Tx, 0, len(k.Txs))
	for _, raw := range k.Txs {
		if t, err := chain.ParseTx(raw); err == nil {
			txs = append(txs, t)
		}
	}
	_ = l.verifyAll(txs)
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
