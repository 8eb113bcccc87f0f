package ledger

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
)

// certified commits a block of the transactions, signed by those of the set
// whose keys are given.
func (w *world) certified(keys map[uint64]person, raws ...[]byte) []chain.Outcome {
	w.t.Helper()
	k, err := w.l.Propose(context.Background(), w.now, raws)
	if err != nil {
		w.t.Fatal(err)
	}
	c := chain.Certificate{Metadata: []byte("metadata")}
	vote := chain.AppendVote(nil, k.Header.Chain, k.Header.Hash(), c.Metadata, c.Sequence)
	for _, v := range w.l.ValidatorSet() {
		by, signs := keys[v.ID]
		if !signs {
			continue
		}
		signature, err := by.Sign(vote)
		if err != nil {
			w.t.Fatal(err)
		}
		c.Signatures = append(c.Signatures, chain.Signature{Validator: v.ID, Signature: signature})
	}
	slices.SortFunc(c.Signatures, func(a, b chain.Signature) int { return cmp.Compare(a.Validator, b.Validator) })
	if err := w.l.Commit(context.Background(), k, &c); err != nil {
		w.t.Fatal(err)
	}
	return w.outcomes(k.Header.Height)
}

// wandering is a chain whose only validator changes in every second block; it
// gives who signed each block.
func wandering(t *testing.T, changes int) (w *world, signers []person) {
	w = newWorld(t, council(1, nil))
	now, keys := member(1), map[uint64]person{1: member(1)}
	signers = append(signers, now)
	for i := range changes {
		next := member(i + 2)
		signers = append(signers, now, now)
		w.certified(keys, w.tx(nobody, chain.OpGuardians, &chain.Guardians{}))
		w.want(w.certified(keys, w.tx(now, chain.OpPropose, w.replaces(uint64(i+1), next)))[0], abi.OK)
		now = next
		keys[uint64(i+2)] = next
	}
	return w, append(signers, now)
}

// Whoever knows the genesis walks the steps to the newest validators and
// verifies what they signed.
func TestStepsLeadToTheHead(t *testing.T) {
	w, _ := wandering(t, 5)
	trusted := proof.Trusted{Chain: w.l.ChainID(), Validators: w.l.Genesis().Validators}
	for {
		steps, more, err := w.l.Steps(trusted.Height, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, raw := range steps {
			s, err := proof.ParseStep(raw)
			if err != nil {
				t.Fatal(err)
			}
			if err := trusted.Advance(&s); err != nil {
				t.Fatal(err)
			}
		}
		if !more {
			break
		}
	}
	if trusted.Height != 10 || trusted.Validators.Hash() != w.l.ValidatorSet().Hash() {
		t.Errorf("the steps lead to %d", trusted.Height)
	}
	w.certified(map[uint64]person{6: member(6)}, w.tx(nobody, chain.OpGuardians, &chain.Guardians{}))
	e, err := w.l.Prove(chain.ParamsKey())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := e.Verify(&trusted, chain.ParamsKey()); err != nil {
		t.Error(err)
	}
}

// At the very block that changes the set, the proof still names the old one:
// it is what signed. A restart makes no difference.
func TestProveAtAChange(t *testing.T) {
	w, _ := wandering(t, 2)
	for range 2 {
		e, err := w.l.Prove(chain.ParamsKey())
		if err != nil {
			t.Fatal(err)
		}
		if id := e.Validators[0].ID; e.Header.Height != 4 || id != 2 {
			t.Fatalf("block %d has validator %d", e.Header.Height, id)
		}
		trusted := proof.Trusted{Chain: w.l.ChainID(), Validators: e.Validators}
		if _, _, err := e.Verify(&trusted, chain.ParamsKey()); err != nil {
			t.Error(err)
		}
		if w.ids()[0] != 3 {
			t.Errorf("next is %v", w.ids())
		}
		w.reopen()
	}
}

func TestSignersAt(t *testing.T) {
	w, signers := wandering(t, 3)
	v, err := w.store.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Release()
	for height, who := range signers {
		set, err := signersAt(v, w.l.Genesis(), uint64(height))
		if err != nil || !bytes.Equal(set[0].Key, who.Public()) {
			t.Errorf("block %d: %v, %v", height, set, err)
		}
	}
}

func TestStepsPages(t *testing.T) {
	w, _ := wandering(t, 5)
	for _, tt := range []struct {
		after uint64
		max   int
		want  int
		more  bool
	}{{0, 100, 5, false}, {0, 5, 5, false}, {0, 4, 4, true}, {2, 100, 4, false}, {3, 1, 1, true}, {9, 1, 1, false}, {10, 1, 0, false}, {1 << 60, 1, 0, false}, {math.MaxUint64, 1, 0, false}} {
		steps, more, err := w.l.Steps(tt.after, tt.max)
		if err != nil || len(steps) != tt.want || more != tt.more {
			t.Errorf("after %d at most %d: %d, %v, %v", tt.after, tt.max, len(steps), more, err)
		}
	}
	if _, _, err := w.l.Steps(0, 0); !errors.Is(err, abi.CodeBadArgument) {
		t.Error(err)
	}
}

// A chain whose set never changes has no steps, and its proposals that fail or
// that change other things make none.
func TestNoSteps(t *testing.T) {
	w := newWorld(t, council(4, nil))
	w.agree(w.paramsLike(func(p *chain.Params) { p.SnapshotBlocks = 5 }), 3)
	w.put(operator, w.joins("fifth"))
	if steps, more, err := w.l.Steps(0, 10); len(steps) > 0 || more || err != nil {
		t.Errorf("%d steps, %v, %v", len(steps), more, err)
	}
}

// A header that hides a change of the set, or makes one up, is refused by
// whoever executes the block.
func TestForgedChangeOfTheSet(t *testing.T) {
	w := newWorld(t, council(1, nil))
	k, err := w.l.Propose(context.Background(), w.now, [][]byte{w.tx(member(1), chain.OpPropose, w.joins("second"))})
	if err != nil {
		t.Fatal(err)
	}
	hidden := *k
	hidden.Header.NextValidators = hidden.Header.Validators
	wantCode(t, "hidden", w.l.Verify(context.Background(), &hidden), abi.CodeBadProof)
	wantCode(t, "committed", w.l.Commit(context.Background(), &hidden, nil), abi.CodeBadProof)
	made := *k
	made.Header.NextValidators = abi.Hash{1}
	wantCode(t, "made up", w.l.Verify(context.Background(), &made), abi.CodeBadProof)
	w.commit(k)
	w.wantIDs(1, 2)
}
