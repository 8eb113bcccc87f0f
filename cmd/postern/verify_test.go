package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"log/slog"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/storage"
)

// record is a database that a test fills with blocks that its validators sign.
type record struct {
	t      *testing.T
	store  *storage.Store
	id     abi.Hash
	set    chain.ValidatorSet // signs the next block
	first  chain.ValidatorSet
	parent abi.Hash
	height uint64
}

func signerOf(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// setOf is a set of validators with the names, numbered from first on.
func setOf(first uint64, names ...string) (set chain.ValidatorSet) {
	for i, name := range names {
		set = append(set, chain.Validator{ID: first + uint64(i), Key: signerOf(name).Public().(ed25519.PublicKey)})
	}
	return set
}

// newRecord begins a chain of one validator, "a".
func newRecord(t *testing.T) *record {
	store, err := storage.Open(storage.Config{Dir: "data", Memory: true, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	r := &record{t: t, store: store, id: abi.Hash{1}, first: setOf(1, "a")}
	r.set = r.first
	r.commit(r.set, nil, func(*storage.Block, *chain.Header) {})
	return r
}

// commit writes a block behind which next signs, signed by the names, as change
// left it.
func (r *record) commit(next chain.ValidatorSet, names []string, change func(b *storage.Block, h *chain.Header)) {
	r.t.Helper()
	view, err := r.store.HeadView()
	if err != nil {
		r.t.Fatal(err)
	}
	defer view.Release()
	update, err := view.Update([]storage.Change{{Key: chain.ValidatorsKey(), Value: next.Append(nil)}})
	if err != nil {
		r.t.Fatal(err)
	}
	empty := chain.AppendOutcomes(nil, nil)
	h := chain.Header{Chain: r.id, Protocol: 1, Height: r.height, Time: int64(r.height) + 1, Parent: r.parent, State: update.Root(),
		Transactions: proof.Root(nil), Outcomes: proof.Root(nil), Validators: r.set.Hash(), NextValidators: next.Hash()}
	b := storage.Block{Height: r.height, Outcomes: empty, Update: update}
	change(&b, &h)
	c := chain.Certificate{}
	for i, name := range names {
		vote := chain.AppendVote(nil, r.id, h.Hash(), nil, 0)
		c.Signatures = append(c.Signatures, chain.Signature{Validator: r.set[i].ID, Signature: ed25519.Sign(signerOf(name), vote)})
	}
	b.Block, b.Certificate = chain.AppendBlock(nil, &chain.Block{Header: h}), c.Append(nil)
	if h.NextValidators != h.Validators && b.Plain == nil {
		s := proof.Step{Header: h, Certificate: c, Next: next}
		b.Plain = []storage.Change{{Key: chain.StepKey(r.height), Value: s.Append(nil)}}
	}
	if err := r.store.Commit(b); err != nil {
		r.t.Fatal(err)
	}
	r.parent, r.set, r.height = h.Hash(), next, r.height+1
}

func nothing(*storage.Block, *chain.Header) {}

// changing is a chain of ten blocks above the genesis whose validators change
// in the blocks 3 and 6.
func changing(t *testing.T) *record {
	r := newRecord(t)
	two, three := setOf(1, "a", "b"), setOf(3, "c")
	for height := 1; height <= 10; height++ {
		switch {
		case height == 3:
			r.commit(two, []string{"a"}, nothing)
		case height == 6:
			r.commit(three, []string{"a", "b"}, nothing)
		case height < 3:
			r.commit(r.set, []string{"a"}, nothing)
		case height < 6:
			r.commit(r.set, []string{"a", "b"}, nothing)
		default:
			r.commit(r.set, []string{"c"}, nothing)
		}
	}
	return r
}

func (r *record) verify() (*walk, error) { return verifyBlocks(r.t.Context(), r.store, r.id, r.first) }

func TestVerifyWalksOverChangesAndPrunedBlocks(t *testing.T) {
	for base := uint64(1); base <= 10; base++ {
		r := changing(t)
		if err := r.store.Prune(base, nil); err != nil {
			t.Fatal(err)
		}
		w, err := r.verify()
		if err != nil {
			t.Errorf("from block %d on: %v", base, err)
			continue
		}
		if w.blocks != 12-base || w.changes != 2 || w.trusted.Validators.Hash() != setOf(3, "c").Hash() {
			t.Errorf("from block %d on: %d blocks, %d changes, validators %v", base, w.blocks, w.changes, w.trusted.Validators)
		}
	}
}

func TestVerifyFindsWhatIsNotSo(t *testing.T) {
	two := setOf(1, "a", "b")
	step := func(height uint64, next chain.ValidatorSet, by string) storage.Change {
		h := chain.Header{Chain: abi.Hash{1}, Height: height, Validators: setOf(1, "a").Hash(), NextValidators: next.Hash()}
		s := proof.Step{Header: h, Next: next}
		vote := chain.AppendVote(nil, h.Chain, h.Hash(), nil, 0)
		s.Certificate.Signatures = []chain.Signature{{Validator: 1, Signature: ed25519.Sign(signerOf(by), vote)}}
		return storage.Change{Key: chain.StepKey(height), Value: s.Append(nil)}
	}
	with := func(c storage.Change) func(*storage.Block, *chain.Header) {
		return func(b *storage.Block, _ *chain.Header) { b.Plain = []storage.Change{c} }
	}
	for name, test := range map[string]struct {
		bad  func(r *record)
		says string
	}{
		"another parent": {func(r *record) {
			r.commit(r.set, []string{"a"}, func(_ *storage.Block, h *chain.Header) { h.Parent[0]++ })
		}, "parent"},
		"another chain": {func(r *record) {
			r.commit(r.set, []string{"a"}, func(_ *storage.Block, h *chain.Header) { h.Chain[0]++ })
		}, "chain"},
		"another root": {func(r *record) {
			r.commit(r.set, []string{"a"}, func(_ *storage.Block, h *chain.Header) { h.State[0]++ })
		}, "state root"},
		"no signature":      {func(r *record) { r.commit(r.set, nil, nothing) }, "signatures"},
		"signed by another": {func(r *record) { r.commit(r.set, []string{"x"}, nothing) }, "signature of validator 1"},
		"a change that nothing records": {func(r *record) {
			r.commit(two, []string{"a"}, func(b *storage.Block, _ *chain.Header) { b.Plain = []storage.Change{} })
		}, "nothing says to whom"},
		"a change recorded otherwise": {func(r *record) { r.commit(two, []string{"a"}, with(step(1, two, "a"))) }, "nothing says to whom"},
		"a change that no block made": {func(r *record) {
			r.commit(r.set, []string{"a"}, with(step(1, two, "a")))
			r.commit(r.set, []string{"a"}, nothing)
		}, "not the header's"},
		"a change signed by another": {func(r *record) {
			r.commit(r.set, []string{"a"}, with(step(1, two, "x")))
			r.commit(r.set, []string{"a"}, nothing)
		}, "signature of validator 1"},
		"a change above the head": {func(r *record) { r.commit(r.set, []string{"a"}, with(step(9, two, "a"))) }, "above the head"},
		"a change that cannot be read": {func(r *record) {
			r.commit(r.set, []string{"a"}, with(storage.Change{Key: chain.StepKey(1), Value: []byte{1}}))
		}, "change of the validators"},
		"signed by those who handed over": {func(r *record) {
			r.commit(setOf(2, "b"), []string{"a"}, nothing)
			r.set = r.first
			r.commit(r.set, []string{"a"}, nothing)
		}, "not the header's"},
		"other validators than in the state": {func(r *record) {
			r.commit(two, []string{"a"}, func(_ *storage.Block, h *chain.Header) { h.NextValidators = h.Validators })
		}, "other validators"},
	} {
		r := newRecord(t)
		test.bad(r)
		w, err := r.verify()
		if err == nil {
			t.Errorf("%s: %d blocks are good", name, w.blocks)
			continue
		}
		if !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, which does not say %q", name, err, test.says)
		}
	}
}
