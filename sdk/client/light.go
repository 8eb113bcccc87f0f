package client

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
)

// ErrUnknownValidators says that a header, or a step, was signed by validators
// that nothing has led to yet: the steps after StepsAfter of its height may.
// What no step leads to is false, so it comes with abi.CodeBadProof.
var ErrUnknownValidators = errors.New("signed by validators that are not trusted")

// maxSeen is how many certified headers a light client remembers, to find
// another one that contradicts them; 2 KiB each with sixteen validators.
const maxSeen = 64

// LightClient verifies what the validators of a chain certified. It needs no
// connection and asks nobody: whoever uses it brings headers, proofs and, as
// the validators change, the steps from one set of them to the next. Client
// has one and brings it what it needs.
//
// It begins with the validators of the bundle's genesis and, where there is
// one, those of its checkpoint: then it is led from the checkpoint on, and
// from the genesis only to what lies before. It is safe for concurrent use.
type LightClient struct {
	bundle  *Bundle // as it was given
	chain   abi.Hash
	genesis *chain.Genesis

	mu     sync.Mutex  // guards what follows
	sets   []era       // ascending; the first is the genesis's
	seen   []Certified // the newest certified headers, oldest first
	height uint64      // newest that was certified, or that the bundle names
	newest Checkpoint  // zero height: none
}

// era is a validator set and the block behind which it signs.
type era struct {
	after      uint64
	block      abi.Hash // of height after; zero for the genesis's
	validators chain.ValidatorSet
	hash       abi.Hash   // of validators
	step       proof.Step // that led here; empty for the genesis and a checkpoint
}

// isStep says whether a step led to the era.
func (e *era) isStep() bool { return e.step.Next != nil }

// certified is the header behind which the era begins; of a checkpoint's only
// the height is known.
func (e *era) certified() Certified {
	if !e.isStep() {
		return Certified{Header: chain.Header{Height: e.after}}
	}
	return Certified{e.step.Header, e.step.Certificate}
}

// NewLight makes a light client that trusts a bundle.
func NewLight(b *Bundle) (*LightClient, error) {
	genesis, err := chain.ParseGenesis(b.Genesis)
	if err != nil {
		return nil, fmt.Errorf("trust bundle: %w", err)
	}
	l := &LightClient{bundle: b, chain: b.Chain(), genesis: genesis, height: b.Height}
	l.sets = []era{{validators: genesis.Validators, hash: genesis.Validators.Hash()}}
	if c := b.Checkpoint; c != nil {
		if err := c.validate(); err != nil {
			return nil, err
		}
		l.sets = append(l.sets, era{after: c.Height, block: c.Block, validators: c.Validators, hash: c.Validators.Hash()})
		l.height, l.newest = max(l.height, c.Height), *c
	}
	return l, nil
}

// Chain is the chain's id.
func (l *LightClient) Chain() abi.Hash { return l.chain }

// Genesis is the chain's genesis. It must not be modified.
func (l *LightClient) Genesis() *chain.Genesis { return l.genesis }

// Height is the newest that was certified, or that the bundle names. Who asks
// for something of now takes it before asking and refuses what is older.
func (l *LightClient) Height() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.height
}

// Checkpoint is the newest point to begin from another time, nil if it is
// still the genesis.
func (l *LightClient) Checkpoint() *Checkpoint {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.newest.Height == 0 {
		return nil
	}
	c := l.newest
	c.Validators = slices.Clone(c.Validators)
	return &c
}

// Bundle is what the light client would begin with now: the bundle that it was
// given, with the newest checkpoint and height. Who keeps it begins there
// another time, however often the validators change meanwhile.
func (l *LightClient) Bundle() *Bundle {
	b := *l.bundle
	b.Checkpoint, b.Height = l.Checkpoint(), l.Height()
	return &b
}

// StepsAfter is the height after which steps are needed to verify a block of
// the given height: that of the last change of the validators known below it.
func (l *LightClient) StepsAfter(height uint64) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sets[l.before(height)].after
}

// before is the index of the era that signs a block of the height, as far as
// the changes are known.
func (l *LightClient) before(height uint64) int {
	i, _ := slices.BinarySearchFunc(l.sets, height, func(e era, height uint64) int {
		if e.after < height {
			return -1
		}
		return 1
	})
	return max(0, i-1)
}

// Advance is led over a change of the validators by an encoded proof.Step.
// Steps come in the order of their heights; one that is known already changes
// nothing. An error leaves everything as it is: ErrUnknownValidators if steps
// before it are missing, a *ForkError if it contradicts what was certified.
func (l *LightClient) Advance(step []byte) error {
	s, err := proof.ParseStep(bytes.Clone(step))
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	i := l.before(s.Header.Height)
	from := &l.sets[i]
	if s.Header.Chain == l.chain && s.Header.Validators != from.hash {
		return fmt.Errorf("step at height %d: %w: %w", s.Header.Height, ErrUnknownValidators, abi.CodeBadProof)
	}
	trusted := proof.Trusted{Chain: l.chain, Validators: from.validators, Height: from.after}
	if err := trusted.Advance(&s); err != nil {
		return err
	}
	if err := l.consistent(i, Certified{s.Header, s.Certificate}); err != nil {
		return err
	}
	l.insert(i+1, &s)
	return nil
}

// insert adds the era that a good step leads to, unless it is there; a step to
// a checkpoint takes its place.
func (l *LightClient) insert(at int, s *proof.Step) {
	next := era{after: s.Header.Height, block: s.Header.Hash(), validators: s.Next, hash: s.Header.NextValidators, step: *s}
	if at < len(l.sets) && l.sets[at].after == next.after {
		l.sets[at] = next
	} else {
		l.sets = slices.Insert(l.sets, at, next)
	}
	l.height = max(l.height, next.after)
	if next.after > l.newest.Height {
		l.newest = Checkpoint{Height: next.after, Block: next.block, Validators: next.validators}
	}
}

// Header accepts a header if the validators of its height certified it and
// nothing that was certified before contradicts it. It returns who could sign.
// The error is ErrUnknownValidators if steps are missing, or a *ForkError.
func (l *LightClient) Header(h *chain.Header, c *chain.Certificate) (chain.ValidatorSet, error) {
	return l.header(h, c, nil)
}

// header is Header with the validators that somebody says signed it: those are
// good for a checkpoint's own block, whose hash is trusted.
func (l *LightClient) header(h *chain.Header, c *chain.Certificate, said chain.ValidatorSet) (chain.ValidatorSet, error) {
	if h.Chain != l.chain {
		return nil, fmt.Errorf("header of chain %x: %w", h.Chain[:4], abi.CodeWrongChain)
	}
	if h.Height == 0 {
		return nil, fmt.Errorf("the genesis block is not certified: %w", abi.CodeBadProof)
	}
	validators, vouched := l.signers(h, said)
	if validators == nil {
		return nil, fmt.Errorf("header of height %d: %w: %w", h.Height, ErrUnknownValidators, abi.CodeBadProof)
	}
	if err := c.Verify(h, validators); err != nil {
		return nil, err
	}
	if vouched {
		return validators, nil
	}
	return validators, l.take(Certified{*h, *c})
}

// signers is the set that signs the block of a header, nil if it is not known.
// Vouched says that the header is a checkpoint's, and the set the one that
// hashes to what stands in it.
func (l *LightClient) signers(h *chain.Header, said chain.ValidatorSet) (set chain.ValidatorSet, vouched bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := l.before(h.Height)
	if l.sets[i].hash == h.Validators {
		return l.sets[i].validators, false
	}
	if i+1 < len(l.sets) && l.sets[i+1].after == h.Height && l.sets[i+1].block == h.Hash() {
		for _, set := range []chain.ValidatorSet{l.sets[i+1].validators, said} {
			if set.Hash() == h.Validators {
				return set, true
			}
		}
	}
	return nil, false
}

// take remembers a certified header, if it contradicts none.
func (l *LightClient) take(f Certified) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := l.before(f.Header.Height)
	if l.sets[i].hash != f.Header.Validators {
		return contradiction(l.sets[i].certified(), f) // a step came meanwhile
	}
	if err := l.consistent(i, f); err != nil {
		return err
	}
	if !slices.ContainsFunc(l.seen, func(g Certified) bool { return g.Header == f.Header }) {
		l.remember(f)
	}
	h := &f.Header
	l.height = max(l.height, h.Height)
	if h.Height > l.newest.Height && h.NextValidators == l.sets[i].hash && i == len(l.sets)-1 {
		l.newest = Checkpoint{Height: h.Height, Block: h.Hash(), Validators: l.sets[i].validators}
	}
	return nil
}

// remember keeps f among the newest headers.
func (l *LightClient) remember(f Certified) {
	f.Certificate = cloneCertificate(f.Certificate)
	at, _ := slices.BinarySearchFunc(l.seen, f, func(a, b Certified) int { return cmp.Compare(a.Header.Height, b.Header.Height) })
	l.seen = slices.Insert(l.seen, at, f)
	if len(l.seen) > maxSeen {
		l.seen = slices.Delete(l.seen, 0, 1)
	}
}

// consistent checks a header that era i certified against what else is known
// between that era's beginning and the next one's.
func (l *LightClient) consistent(i int, f Certified) error {
	from := &l.sets[i]
	if f.Header.Height == from.after+1 && from.block != (abi.Hash{}) && f.Header.Parent != from.block {
		return contradiction(from.certified(), f)
	}
	end := ^uint64(0)
	if i+1 < len(l.sets) {
		next := &l.sets[i+1]
		end = next.after
		if next.isStep() && contradict(&next.step.Header, &f.Header) || !next.isStep() && next.contradicts(&f.Header) {
			return contradiction(next.certified(), f)
		}
	}
	for _, g := range l.seen {
		if g.Header.Height > from.after && g.Header.Height <= end && contradict(&g.Header, &f.Header) {
			return contradiction(g, f)
		}
	}
	return nil
}

// contradicts says whether a header cannot stand before or in a checkpoint, of
// which only the hash and the validators behind it are known.
func (e *era) contradicts(h *chain.Header) bool {
	return h.Height == e.after && (h.Hash() != e.block || h.NextValidators != e.hash)
}

// contradict says whether no chain holds both headers, which one validator set
// certified: they are of one height and differ, or the upper does not stand on
// the lower, or the lower hands over to other validators.
func contradict(a, b *chain.Header) bool {
	if a.Height > b.Height {
		a, b = b, a
	}
	switch {
	case a.Height == b.Height:
		return *a != *b
	case a.NextValidators != a.Validators:
		return true
	}
	return b.Height == a.Height+1 && b.Parent != a.Hash()
}

// Entry verifies an encoded proof.Entry of a state key: its header as Header
// does, and the way from there to the entry or to its absence. One whose
// height is below floor is abi.CodeTooStale.
func (l *LightClient) Entry(raw, key []byte, floor uint64) (*Entry, error) {
	e, err := proof.ParseEntry(raw)
	if err != nil {
		return nil, malformed(err)
	}
	return l.entry(raw, &e, key, floor)
}

func (l *LightClient) entry(raw []byte, e *proof.Entry, key []byte, floor uint64) (*Entry, error) {
	h := &e.Header
	if h.Chain != l.chain {
		return nil, fmt.Errorf("proof of chain %x: %w", h.Chain[:4], abi.CodeWrongChain)
	}
	if h.Height == 0 && floor == 0 {
		return nil, fmt.Errorf("the chain has no certified block yet: %w", abi.CodeNotReady)
	}
	if len(e.Validators) > 0 && e.Validators.Hash() != h.Validators {
		return nil, fmt.Errorf("the validators are not the header's: %w", abi.CodeBadProof)
	}
	validators, err := l.header(h, &e.Certificate, e.Validators)
	if err != nil {
		return nil, err
	}
	if h.Height < floor {
		return nil, fmt.Errorf("proof of height %d, but height %d was seen: %w", h.Height, floor, abi.CodeTooStale)
	}
	value, present, err := e.State.Verify(h.State, key)
	if err != nil {
		return nil, err
	}
	return &Entry{
		Present: present, Value: value, Height: h.Height, Header: *h, Proof: raw,
		Signers: len(e.Certificate.Signatures), Certificate: e.Certificate, Validators: validators,
	}, nil
}

// steps are the encoded steps that lead to the validators of a height: from
// the genesis, or from the checkpoint if nothing has led to that.
func (l *LightClient) steps(height uint64) (steps [][]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.sets[:l.before(height)+1] {
		switch e := &l.sets[i]; {
		case e.isStep():
			steps = append(steps, e.step.Append(nil))
		case i > 0 && l.sets[i-1].hash != e.hash: // nothing leads to this checkpoint
			steps = nil
		}
	}
	return steps
}

// unexplained is the height up to which steps are missing that lead from the
// genesis to the signers of an accepted header; 0 if none are.
func (l *LightClient) unexplained(h *chain.Header) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := l.before(h.Height)
	for i := range l.sets[:last+1] {
		if e := &l.sets[i]; i > 0 && !e.isStep() && l.sets[i-1].hash != e.hash {
			return e.after
		}
	}
	if l.sets[last].hash != h.Validators {
		return h.Height // a checkpoint's own
	}
	return 0
}
