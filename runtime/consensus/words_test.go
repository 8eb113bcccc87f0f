package consensus

import (
	"encoding/hex"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperledger-labs/SmartBFT/pkg/types"
	"github.com/hyperledger-labs/SmartBFT/smartbftprotos"
	"google.golang.org/protobuf/proto"
)

// What a validator says of the block in flight: nothing of one that it has not
// prepared if another has prepared another; always the one that it voted for
// while views changed.
func TestWords(t *testing.T) {
	r, a := testReplica(t)
	r.set = a.ValidatorSet()
	head := a.Head()
	block := func(n, view uint64) *smartbftprotos.Proposal {
		md, err := proto.Marshal(&smartbftprotos.ViewMetadata{ViewId: view, LatestSequence: 2})
		if err != nil {
			t.Fatal(err)
		}
		p := newProposal(a.execute(&head, time.Now().UnixMilli(), [][]byte{transaction(t, n)}), md, 0)
		return &smartbftprotos.Proposal{Header: p.Header, Payload: p.Payload, Metadata: p.Metadata}
	}
	own, other := block(2, 1), block(3, 2)
	raw := func(p *smartbftprotos.Proposal) types.Proposal {
		return types.Proposal{Header: p.Header, Payload: p.Payload, Metadata: p.Metadata}
	}
	parse := func(p *smartbftprotos.Proposal) *proposal {
		parsed, err := parseProposal(raw(p))
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	claims := func(p *smartbftprotos.Proposal) *smartbftprotos.Commit {
		parsed := parse(p)
		return &smartbftprotos.Commit{Seq: parsed.height, View: parsed.view, Digest: hex.EncodeToString(parsed.hash[:])}
	}
	votes := func(p *smartbftprotos.Proposal, bound bool) promises {
		parsed := parse(p)
		return promises{bound: bound, voted: accepted{view: parsed.view, height: parsed.height, block: parsed.hash, raw: raw(p)}}
	}
	stale, garbage := claims(other), claims(other)
	stale.Seq, garbage.Digest = 1, "00"
	nothing := &smartbftprotos.Commit{Seq: 2}
	for name, c := range map[string]struct {
		holds    *smartbftprotos.Proposal
		prepared bool
		claims   []*smartbftprotos.Commit
		promises promises
		entered  uint64
		says     *smartbftprotos.Proposal
	}{
		"nothing":                              {says: nil},
		"nothing, others have prepared":        {claims: []*smartbftprotos.Commit{claims(other)}},
		"its own, nobody has prepared":         {holds: own, claims: []*smartbftprotos.Commit{nothing, stale, garbage}, says: own},
		"its own, one has prepared it":         {holds: own, claims: []*smartbftprotos.Commit{claims(other), claims(own)}, says: own},
		"its own, one has prepared another":    {holds: own, claims: []*smartbftprotos.Commit{nothing, claims(other)}},
		"what it prepared":                     {holds: own, prepared: true, claims: []*smartbftprotos.Commit{claims(other)}, says: own},
		"what it voted for":                    {holds: own, claims: []*smartbftprotos.Commit{claims(other)}, promises: votes(own, false), says: own},
		"what it voted for while views change": {holds: other, claims: []*smartbftprotos.Commit{claims(other)}, promises: votes(own, true), says: own},
		"that, and the view is judged":         {holds: own, prepared: true, promises: votes(own, true), entered: 2, says: own},
		"that, holding nothing":                {promises: votes(own, true), says: own},
		"what it prepared, in an old view":     {holds: own, prepared: true, promises: votes(own, false), entered: 2},
		"what it prepared, in this view":       {holds: own, prepared: true, promises: votes(own, false), entered: 1, says: own},
	} {
		r.promises, r.entered, r.claims = c.promises, c.entered, map[uint64]claim{}
		for i, commit := range c.claims {
			r.heardClaim(uint64(2+i), commit)
		}
		m := r.sign(&smartbftprotos.ViewData{NextView: 3, LastDecision: decidedAt(t, 1), InFlightProposal: c.holds, InFlightPrepared: c.prepared})
		said, vd := r.word(m).GetViewData(), &smartbftprotos.ViewData{}
		if err := proto.Unmarshal(said.RawViewData, vd); err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(vd.InFlightProposal, c.says) || vd.InFlightPrepared != (c.says != nil && (c.prepared || c.promises.bound)) {
			t.Errorf("%s: it says %v, prepared %v", name, vd.InFlightProposal, vd.InFlightPrepared)
		}
		if vd.NextView != 3 || !proto.Equal(vd.LastDecision, decidedAt(t, 1)) {
			t.Errorf("%s: the rest of its word is another", name)
		}
		if err := r.VerifySignature(types.Signature{ID: 1, Value: said.Signature, Msg: said.RawViewData}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Where each of three validators has a proposal of another view, and one has
// prepared his, they come to agree.
func TestProposalsOfTwoViews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScripted(t, 1, 2, 3, 4)
		raw := transaction(t, 1)
		until := func(id uint64, is func(*promises) bool) {
			r := s.engine(id).replica
			for begin := time.Now(); ; elapse(10 * time.Millisecond) {
				r.mu.Lock()
				done := is(&r.promises)
				r.mu.Unlock()
				if done {
					return
				}
				if time.Since(begin) > 20*time.Second {
					t.Fatalf("validator %d does not get there", id)
				}
			}
		}
		s.losing(func(_, to uint64, m *smartbftprotos.Message) bool {
			return m.GetCommit() != nil || m.GetPrepare() != nil && to != 4
		})
		for id := range uint64(4) {
			if err := s.engine(id+1).HandleTransaction(t.Context(), raw); err != nil {
				t.Fatal(err)
			}
		}
		until(4, func(p *promises) bool { return p.voted.height == 1 })
		s.losing(func(from, to uint64, m *smartbftprotos.Message) bool {
			return from == 4 || to == 4 || m.GetCommit() != nil || m.GetPrepare() != nil || m.GetPrePrepare() != nil
		})
		until(3, func(p *promises) bool { return p.accepted.view == 2 && p.least == 3 })
		s.nodes[1].kill()
		s.losing(nil)
		begin := time.Now()
		s.await(txID(t, raw), 2, 3, 4)
		t.Logf("a block after %v", time.Since(begin))
		if d := time.Since(begin); d > 5*time.Second {
			t.Errorf("it took %v", d)
		}
		s.agree()
	})
}

// What it claims to have prepared is for the next block.
func TestClaims(t *testing.T) {
	r, a := testReplica(t)
	r.promises.voted = accepted{view: 4, height: 2, block: [32]byte{1}}
	if c := r.claimed(); c.height != 2 || c.view != 4 || len(c.block) != 64 {
		t.Errorf("it claims %v", c)
	}
	head := a.Head()
	a.store(a.execute(&head, time.Now().UnixMilli(), [][]byte{transaction(t, 2)}), nil)
	if c := r.claimed(); c != (claim{height: 3}) {
		t.Errorf("it claims %v when it has nothing", c)
	}
}
