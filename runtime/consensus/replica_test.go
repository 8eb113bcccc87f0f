package consensus

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperledger-labs/SmartBFT/pkg/types"
	"github.com/hyperledger-labs/SmartBFT/smartbftprotos"
	"google.golang.org/protobuf/proto"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// testReplica is one without SmartBFT, at height 1 of a chain of four.
func testReplica(t *testing.T) (*replica, *app) {
	a := newApp(t, 4)
	h := a.Head()
	a.store(a.execute(&h, time.Now().UnixMilli()-1000, [][]byte{transaction(t, 1)}), nil)
	cfg := config(t, a, t.TempDir())
	cfg.Clock = func() (int64, bool) { return a.clock() }
	signed, err := openSigned(cfg.WAL, testChain, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { signed.close() })
	r := &replica{cfg: &cfg, log: cfg.Logger, chain: testChain, ctx: t.Context(), signed: signed, order: newOrder(),
		fail: func(err error) { t.Errorf("failed: %v", err) }}
	return r, a
}

// A leader's proposal is refused for each of these reasons alone.
func TestRefusals(t *testing.T) {
	r, a := testReplica(t)
	head := a.Head()
	good := func() *chain.Block {
		return a.execute(&head, time.Now().UnixMilli(), [][]byte{transaction(t, 2)})
	}
	if _, infos, err := r.judge(newProposal(good(), metadata(t, 2), 0)); err != nil || len(infos) != 1 {
		t.Fatalf("a good block: %v", err)
	}
	for name, c := range map[string]struct {
		spoil func(*chain.Block)
		want  string
	}{
		"chain":       {func(b *chain.Block) { b.Header.Chain[0]++ }, "another chain"},
		"height":      {func(b *chain.Block) { b.Header.Height = 3 }, "follows"},
		"old height":  {func(b *chain.Block) { b.Header.Height = 1 }, "follows"},
		"parent":      {func(b *chain.Block) { b.Header.Parent[0]++ }, "parent"},
		"empty":       {func(b *chain.Block) { b.Txs = nil }, "empty"},
		"early":       {func(b *chain.Block) { b.Header.Time -= 6000 }, "clock"},
		"late":        {func(b *chain.Block) { b.Header.Time += 6000 }, "clock"},
		"transaction": {func(b *chain.Block) { b.Txs[0] = []byte{1} }, "canonical"},
		"root":        {func(b *chain.Block) { b.Header.State[0]++ }, "header differs"},
	} {
		b := good()
		c.spoil(b)
		if _, _, err := r.judge(newProposal(b, metadata(t, b.Header.Height), 0)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	a.clock = func() (int64, bool) { return time.Now().UnixMilli(), false }
	if _, _, err := r.judge(newProposal(good(), metadata(t, 2), 0)); !errors.Is(err, abi.CodeClockUntrusted) {
		t.Errorf("without a trusted clock: %v", err)
	}
}

// A proposal may come while the block before it is being committed, and waits
// for that, but not without end.
func TestProposalAheadOfLedger(t *testing.T) {
	for name, comes := range map[string]bool{"the block comes": true, "it does not": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, a := testReplica(t)
				head := a.Head()
				parent := a.execute(&head, time.Now().UnixMilli(), [][]byte{transaction(t, 2)})
				next := newProposal(a.execute(&parent.Header, time.Now().UnixMilli()+1, [][]byte{transaction(t, 3)}), metadata(t, 3), 0)
				begin, done := time.Now(), make(chan error)
				go func() {
					_, _, err := r.judge(next)
					done <- err
				}()
				elapse(parentWait / 2)
				if comes {
					a.store(parent, nil)
					r.mu.Lock()
					r.grows()
					r.mu.Unlock()
				}
				err := <-done
				if waited := time.Since(begin); (err == nil) != comes || comes != (waited < parentWait) || waited > parentWait {
					t.Errorf("after %v: %v", waited, err)
				}
			})
		})
	}
}

// Votes and view data verify under their own signer, message and domain only.
func TestSignatures(t *testing.T) {
	r, a := testReplica(t)
	head := a.Head()
	raw := newProposal(a.execute(&head, time.Now().UnixMilli(), [][]byte{transaction(t, 2)}), metadata(t, 2), 0)
	vote := *r.SignProposal(raw, nil)
	if _, err := r.VerifyConsenterSig(vote, raw); err != nil {
		t.Fatal(err)
	}
	if r.signed.height != 2 {
		t.Errorf("last signed height %d", r.signed.height)
	}
	other := raw
	other.VerificationSequence++
	stolen, strange := vote, vote
	stolen.ID, strange.ID = 2, 9
	for name, err := range map[string]error{
		"another sequence":  second(r.VerifyConsenterSig(vote, other)),
		"another validator": second(r.VerifyConsenterSig(stolen, raw)),
		"a stranger":        second(r.VerifyConsenterSig(strange, raw)),
		"no signature":      second(r.VerifyConsenterSig(types.Signature{ID: 1}, raw)),
		"as view data":      r.VerifySignature(vote),
	} {
		if !errors.Is(err, abi.CodeBadSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	view := types.Signature{ID: 1, Msg: []byte("view"), Value: r.Sign([]byte("view"))}
	if err := r.VerifySignature(view); err != nil {
		t.Fatal(err)
	}
	view.Msg = []byte("other")
	if err := r.VerifySignature(view); !errors.Is(err, abi.CodeBadSignature) {
		t.Errorf("other view data: %v", err)
	}
}

func second(_ []byte, err error) error { return err }

// Once Run is ending, nothing is signed and nothing recorded.
func TestNothingAfterFailure(t *testing.T) {
	r, a := testReplica(t)
	head := a.Head()
	raw := newProposal(a.execute(&head, time.Now().UnixMilli(), [][]byte{transaction(t, 2)}), metadata(t, 2), 0)
	ctx, cancel := context.WithCancel(t.Context())
	r.ctx = ctx
	cancel()
	if sig := r.SignProposal(raw, nil); sig.Value != nil || r.signed.height != 0 {
		t.Errorf("a vote: %+v, last signed height %d", sig, r.signed.height)
	}
	if err := r.Append([]byte{1}, false); err == nil {
		t.Error("a record")
	}
}

// A height below the last signed one is never signed.
func TestNoVoteBelowLastSigned(t *testing.T) {
	r, a := testReplica(t)
	var failure error
	r.fail = func(err error) { failure = err }
	if err := r.signed.raise(3); err != nil {
		t.Fatal(err)
	}
	head := a.Head()
	raw := newProposal(a.execute(&head, time.Now().UnixMilli(), [][]byte{transaction(t, 2)}), metadata(t, 2), 0)
	if sig := r.SignProposal(raw, nil); sig.Value != nil || failure == nil {
		t.Errorf("signed %x, failure %v", sig.Value, failure)
	}
}

// A gap, or too few votes, is never committed.
func TestCommitRefusals(t *testing.T) {
	r, a := testReplica(t)
	head := a.Head()
	block := a.execute(&head, time.Now().UnixMilli(), [][]byte{transaction(t, 2)})
	p, err := parseProposal(newProposal(block, metadata(t, 2), 0))
	if err != nil {
		t.Fatal(err)
	}
	votes := []types.Signature{{ID: 1}, {ID: 2}, {ID: 2}}
	if err := r.commit(p, votes); err == nil || !strings.Contains(err.Error(), "2 votes") {
		t.Errorf("two of four: %v", err)
	}
	p.height = 3
	if err := r.commit(p, votes); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("a gap: %v", err)
	}
	p.height = 1
	if err := r.commit(p, votes); err != nil {
		t.Errorf("a block that is there: %v", err)
	}
}

// A transaction that its client submits again while the block that holds it is
// being recovered is not left in the pool to make a block of its own.
func TestResubmittedDuringRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := record(t, 1)
		m := all[slices.IndexFunc(all, func(m moment) bool { return m.name == "sign-1" })]
		a := newApp(t, 1).reopen(m.disk)
		proceed := make(chan struct{})
		a.onVerify = func(uint64) error { <-proceed; return nil }
		r := start(t, config(t, a, m.wal))
		if _, err := r.Submit(t.Context(), transaction(t, 1)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if s := r.Stats(); s.Pooled != 1 {
			t.Fatalf("not in the pool: %+v", s)
		}
		close(proceed)
		elapse(time.Minute)
		if s := r.Stats(); s.Pooled != 0 || a.Head().Height != 1 || a.replays != 0 {
			t.Fatalf("height %d, %d replays, %+v", a.Head().Height, a.replays, s)
		}
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// A sync does not end between a vote and its record, and a vote for what a sync
// has brought is not given: SmartBFT survives neither.
func TestVoteMeetsSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, a := testReplica(t)
		journal, err := openJournal(t.TempDir(), &logger{testLogger(t), r.fail})
		if err != nil {
			t.Fatal(err)
		}
		defer journal.Close()
		r.journal, r.queue = journal, newQueue(r.cfg)
		r.set = a.ValidatorSet()
		head := a.Head()
		block := a.execute(&head, time.Now().UnixMilli(), [][]byte{transaction(t, 2)})
		raw := newProposal(block, metadata(t, 2), 0)
		if sig := r.SignProposal(raw, []byte{1}); len(sig.Value) == 0 {
			t.Fatal("there is no vote")
		}
		a.store(block, &chain.Certificate{Metadata: metadata(t, 2)})
		synced := make(chan struct{})
		go func() { r.Sync(); close(synced) }()
		synctest.Wait()
		select {
		case <-synced:
			t.Fatal("the sync ended before the vote was recorded")
		default:
		}
		record, err := proto.Marshal(&smartbftprotos.SavedMessage{Content: &smartbftprotos.SavedMessage_Commit{
			Commit: &smartbftprotos.Message{Content: &smartbftprotos.Message_Commit{Commit: &smartbftprotos.Commit{Seq: 2}}}}})
		if err == nil {
			err = r.Append(record, false)
		}
		if err != nil {
			t.Fatal(err)
		}
		<-synced
		late := make(chan bool)
		go func() {
			ended := true
			defer func() { late <- ended }()
			r.SignProposal(raw, []byte{1})
			ended = false
		}()
		if !<-late {
			t.Error("a block of the ledger gets a vote")
		}
		r.Sync() // it does not wait for what is not given
	})
}
