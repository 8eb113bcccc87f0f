package ledger

import (
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

func (w *world) anchored(p person) chain.Anchored {
	w.t.Helper()
	return record(w, chain.AnchorKey(p.id()), chain.ParseAnchored)
}

func TestAnchor(t *testing.T) {
	w := deviceWorld(t)
	log := w.log(gate1).grow(5, "")
	foreign := w.log(gate2).grow(5, "")
	at5 := log.anchor(0)
	otherChain := *log
	otherChain.chain = abi.Hash{1}
	w.try([]attempt{
		{"by who is no gateway", nobody, chain.OpAnchor, at5, abi.CodeMissingRole},
		{"another gateway's log", gate1, chain.OpAnchor, foreign.anchor(0), abi.CodeBadProof},
		{"a log of another chain", gate1, chain.OpAnchor, otherChain.anchor(0), abi.CodeBadProof},
		{"signed by another key", gate1, chain.OpAnchor, &chain.Anchor{Note: log.note("stranger")}, abi.CodeBadSignature},
		{"no note", gate1, chain.OpAnchor, &chain.Anchor{Note: []byte("postern")}, abi.CodeMalformed},
		{"too long a note", gate1, chain.OpAnchor, &chain.Anchor{Note: make([]byte, chain.MaxCheckpointNote+1)}, abi.CodeTooLarge},
		{"the first with a proof", gate1, chain.OpAnchor, &chain.Anchor{Note: at5.Note, Path: []abi.Hash{{1}}}, abi.CodeBadProof},
	})
	w.wantNotices(w.do(gate1, chain.OpAnchor, at5), chain.TopicLogAnchored)
	first := w.anchored(gate1)
	if first.Size != 5 || first.Root != log.root() || first.Kept != 1 || string(first.Note) != string(at5.Note) || first.Time == 0 {
		t.Errorf("anchor is %+v", first)
	}
	fork := log.fork().grow(9, "fork")
	same := w.log(gate1).grow(5, "another")
	shrunk := w.log(gate1).grow(4, "")
	log.grow(9, "")
	w.try([]attempt{
		{"a smaller log", gate1, chain.OpAnchor, shrunk.anchor(0), abi.CodeLogConflict},
		{"another log of the size", gate1, chain.OpAnchor, same.anchor(0), abi.CodeLogConflict},
		{"a larger one without proof", gate1, chain.OpAnchor, &chain.Anchor{Note: log.note(gate1)}, abi.CodeBadProof},
		{"with another's proof", gate1, chain.OpAnchor, &chain.Anchor{Note: log.note(gate1), Path: log.anchor(4).Path}, abi.CodeBadProof},
		{"rewritten before the anchor", gate1, chain.OpAnchor, same.grow(9, "another").anchor(5), abi.CodeBadProof},
		{"continued", gate1, chain.OpAnchor, log.anchor(5), abi.OK},
		{"forked after an anchor", gate1, chain.OpAnchor, fork.anchor(5), abi.CodeLogConflict},
		{"the first one again", gate1, chain.OpAnchor, at5, abi.CodeLogConflict},
		{"the same again", gate1, chain.OpAnchor, log.anchor(9), abi.OK},
	})
	if a := w.anchored(gate1); a.Size != 9 || a.Kept != 2 || a.Height <= first.Height+1 {
		t.Errorf("anchor is %+v", a)
	}
	if at := record(w, chain.AnchorAtKey(gate1.id(), 5), chain.ParseAnchoredAt); at.Root != first.Root || at.Height != first.Height {
		t.Errorf("anchor at 5 is %+v", at)
	}
}

// A gateway whose key was replaced goes on with its log under the new one.
func TestAnchorAfterRotation(t *testing.T) {
	w := deviceWorld(t)
	log := w.log(gate1).grow(3, "")
	w.must(gate1, chain.OpAnchor, log.anchor(0))
	w.must(gate1, chain.OpRotate, w.rotation(gate1, "second key", w.l.Head().Time+hour))
	log.grow(4, "")
	old := log.anchor(3)
	w.want(w.do("second key", chain.OpAnchor, old), abi.CodeBadSignature)
	w.must("second key", chain.OpAnchor, &chain.Anchor{Note: log.note("second key"), Path: old.Path})
}

// Of a log's anchors the newest stay.
func TestAnchorsAreBounded(t *testing.T) {
	w := deviceWorld(t)
	log := w.log(gate1)
	const extra = 3
	for size := int64(1); size <= chain.MaxAnchors+extra; {
		var raws [][]byte
		for ; size <= chain.MaxAnchors+extra && len(raws) < 48; size++ {
			log.grow(size, "")
			raws = append(raws, w.tx(gate1, chain.OpAnchor, log.anchor(size-1)))
		}
		for _, o := range w.block(raws...) {
			w.want(o, abi.OK)
		}
	}
	if n := w.count(chain.AnchorAtPrefix(gate1.id())); n != chain.MaxAnchors {
		t.Errorf("%d anchors are kept", n)
	}
	if _, there := find(w, chain.AnchorAtKey(gate1.id(), extra), raw); there {
		t.Error("the oldest is kept")
	}
	record(w, chain.AnchorAtKey(gate1.id(), extra+1), chain.ParseAnchoredAt)
}

func TestWitness(t *testing.T) {
	w := deviceWorld(t)
	log := w.log(gate1).grow(5, "")
	w.must(gate1, chain.OpAnchor, log.anchor(0))
	saw := func(size uint64, root abi.Hash) *chain.Witness {
		return &chain.Witness{Account: gate1.id(), Size: size, Root: root}
	}
	w.try([]attempt{
		{"by who is no gateway", nobody, chain.OpWitness, saw(5, log.root()), abi.CodeMissingRole},
		{"of its own log", gate1, chain.OpWitness, saw(5, log.root()), abi.CodeBadArgument},
		{"of who is no gateway", gate2, chain.OpWitness, &chain.Witness{Account: nobody.id(), Size: 5}, abi.CodeNotPermitted},
		{"of no account", gate2, chain.OpWitness, &chain.Witness{Account: abi.Hash{1}, Size: 5}, abi.CodeUnknownAccount},
	})
	w.wantNotices(w.do(gate2, chain.OpWitness, saw(5, log.root())))
	w.wantNotices(w.do(gate3, chain.OpWitness, saw(5, abi.Hash{9})), chain.TopicLogConflict)
	if s := record(w, chain.WitnessKey(gate1.id(), gate3.id()), chain.ParseWitnessed); !s.Conflict || s.Root != (abi.Hash{9}) {
		t.Errorf("witness is %+v", s)
	}
	fork := log.fork().grow(8, "fork")
	log.grow(8, "")
	w.wantNotices(w.do(gate2, chain.OpWitness, saw(8, fork.root()))) // not anchored yet
	w.wantNotices(w.do(gate1, chain.OpAnchor, log.anchor(5)), chain.TopicLogConflict, chain.TopicLogAnchored)
	w.wantNotices(w.do(gate1, chain.OpAnchor, log.anchor(8)), chain.TopicLogAnchored) // told once
	if s := record(w, chain.WitnessKey(gate1.id(), gate2.id()), chain.ParseWitnessed); !s.Conflict {
		t.Errorf("witness is %+v", s)
	}
	if n := w.count(chain.WitnessPrefix(gate1.id())); n != 2 {
		t.Errorf("%d records, one a witness are enough", n)
	}
}

func TestOffence(t *testing.T) {
	w := deviceWorld(t)
	log := w.log(gate1).grow(5, "")
	fork := log.fork().grow(8, "fork")
	log.grow(8, "")
	two := func(first, second []byte) *chain.Offence {
		return &chain.Offence{Account: gate1.id(), First: first, Second: second}
	}
	longer := log.fork().grow(9, "")
	w.try([]attempt{
		{"the same head twice", nobody, chain.OpOffence, two(log.note(gate1), log.note(gate1)), abi.CodeBadProof},
		{"two sizes", nobody, chain.OpOffence, two(log.note(gate1), longer.note(gate1)), abi.CodeBadProof},
		{"one signed by another", nobody, chain.OpOffence, two(log.note(gate1), fork.note("stranger")), abi.CodeBadSignature},
		{"another's log", nobody, chain.OpOffence, two(log.note(gate1), w.log(gate2).grow(8, "").note(gate2)), abi.CodeBadProof},
		{"of nobody", nobody, chain.OpOffence, &chain.Offence{Account: abi.Hash{1}, First: log.note(gate1), Second: fork.note(gate1)}, abi.CodeUnknownAccount},
	})
	w.must(gate1, chain.OpAnchor, log.anchor(0))
	w.must(gate1, chain.OpRotate, w.rotation(gate1, "second key", w.l.Head().Time+hour)) // wipes nothing away
	w.wantNotices(w.do(nobody, chain.OpOffence, two(log.note(gate1), fork.note("second key"))), chain.TopicLogOffence)
	k := record(w, chain.OffenceKey(gate1.id()), chain.ParseForked)
	if k.Size != 8 || k.First != log.root() || k.Second != fork.root() || k.By != nobody.id() {
		t.Errorf("record is %+v", k)
	}
	w.wantNotices(w.do(operator, chain.OpOffence, two(fork.note(gate1), log.note(gate1)))) // known
	if again := record(w, chain.OffenceKey(gate1.id()), chain.ParseForked); again != k {
		t.Errorf("record is %+v", again)
	}
}
