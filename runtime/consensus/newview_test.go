package consensus

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperledger-labs/SmartBFT/pkg/types"
	"github.com/hyperledger-labs/SmartBFT/smartbftprotos"
	"google.golang.org/protobuf/proto"

	"github.com/seed79541315/postern/abi/chain"
)

// word is what a validator says in a change of view, signed by itself.
func word(t testing.TB, id uint64, vd *smartbftprotos.ViewData) *smartbftprotos.SignedViewData {
	t.Helper()
	raw, err := proto.Marshal(vd)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := newKey(id).Sign(appendViewData(nil, testChain, raw))
	if err != nil {
		t.Fatal(err)
	}
	return &smartbftprotos.SignedViewData{RawViewData: raw, Signer: id, Signature: sig}
}

// decidedAt is a last decision at a height.
func decidedAt(t testing.TB, height uint64) *smartbftprotos.Proposal {
	if height == 0 {
		return &smartbftprotos.Proposal{}
	}
	return &smartbftprotos.Proposal{Metadata: metadata(t, height)}
}

func newViewOf(words ...*smartbftprotos.SignedViewData) *smartbftprotos.Message {
	return &smartbftprotos.Message{Content: &smartbftprotos.Message_NewView{NewView: &smartbftprotos.NewView{SignedViewData: words}}}
}

// Of a new view SmartBFT sees what a quorum can have said, each for itself.
func TestNewViewsThatAreBelieved(t *testing.T) {
	r, a := testReplica(t)
	r.set = a.ValidatorSet()
	says := func(id, view, height uint64) *smartbftprotos.SignedViewData {
		return word(t, id, &smartbftprotos.ViewData{NextView: view, LastDecision: decidedAt(t, height)})
	}
	forged := says(3, 1, 0)
	forged.Signer = 4
	unsigned := says(3, 1, 0)
	unsigned.Signature = nil
	for name, c := range map[string]struct {
		words []*smartbftprotos.SignedViewData
		good  bool
	}{
		"level":            {[]*smartbftprotos.SignedViewData{says(2, 1, 1), says(3, 1, 1), says(4, 1, 1)}, true},
		"one behind":       {[]*smartbftprotos.SignedViewData{says(2, 1, 0), says(3, 1, 0), says(4, 1, 0)}, true},
		"far ahead":        {[]*smartbftprotos.SignedViewData{says(2, 1, 9), says(3, 1, 9), says(4, 1, 9)}, true},
		"twice":            {[]*smartbftprotos.SignedViewData{says(2, 1, 1), says(3, 1, 1), says(4, 1, 1), says(2, 1, 0)}, false},
		"another's":        {[]*smartbftprotos.SignedViewData{says(2, 1, 1), says(3, 1, 1), forged}, false},
		"unsigned":         {[]*smartbftprotos.SignedViewData{says(2, 1, 1), says(4, 1, 1), unsigned}, false},
		"a stranger's":     {[]*smartbftprotos.SignedViewData{says(2, 1, 1), says(4, 1, 1), says(5, 1, 1)}, false},
		"another leader's": {[]*smartbftprotos.SignedViewData{says(2, 2, 1), says(3, 2, 1), says(4, 2, 1)}, false},
		"no decision":      {[]*smartbftprotos.SignedViewData{says(2, 1, 1), says(3, 1, 1), word(t, 4, &smartbftprotos.ViewData{NextView: 1})}, false},
		"garbage":          {[]*smartbftprotos.SignedViewData{says(2, 1, 1), says(3, 1, 1), {RawViewData: []byte{0xff}, Signer: 4}}, false},
		"too many":         {slices.Repeat([]*smartbftprotos.SignedViewData{says(2, 1, 1)}, 5), false},
	} {
		if err := r.believe(2, newViewOf(c.words...)); (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
	}
	head := a.Head()
	a.store(a.execute(&head, time.Now().UnixMilli(), [][]byte{transaction(t, 2)}), nil)
	if r.believe(2, newViewOf(says(2, 1, 0), says(3, 1, 0), says(4, 1, 0))) == nil {
		t.Error("a new view of the past is believed")
	}
	for name, c := range map[string]struct {
		word *smartbftprotos.SignedViewData
		good bool
	}{"own": {says(3, 1, 0), true}, "another's": {says(4, 1, 2), false}, "unsigned": {unsigned, false}, "nothing": {nil, false}} {
		m := &smartbftprotos.Message{Content: &smartbftprotos.Message_ViewData{ViewData: c.word}}
		if err := r.believe(3, m); (err == nil) != c.good {
			t.Errorf("view data, %s: %v", name, err)
		}
	}
}

// A leader that invents what the others said when they left the last view
// cannot have a second block decided where one of them has decided already.
func TestInventedNewView(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScripted(t, 1, 2, 3, 4)
		s.commit(1, 1, 1, 2, 3, 4)
		s.nodes[2].kill() // and from here on the test speaks for it
		s.losing(func(_, to uint64, m *smartbftprotos.Message) bool { return to != 1 && m.GetCommit() != nil })
		s.commit(2, 1, 1)
		s.nodes[1].kill()
		s.losing(nil)
		s.say(1, viewChange(1), 3, 4)
		s.say(2, viewChange(1), 3, 4)
		elapse(100 * time.Millisecond)
		var words []*smartbftprotos.SignedViewData
		for _, id := range []uint64{2, 1, 3, 4} {
			w := word(t, id, &smartbftprotos.ViewData{NextView: 1, LastDecision: &smartbftprotos.Proposal{}})
			if id != 2 {
				w.Signature = nil
			}
			words = append(words, w)
		}
		s.say(2, newViewOf(words...), 3, 4)
		elapse(100 * time.Millisecond)
		second := s.secondBlock(3)
		for range 2 {
			s.say(2, &smartbftprotos.Message{Content: &smartbftprotos.Message_PrePrepare{PrePrepare: &smartbftprotos.PrePrepare{View: 1, Seq: 2, Proposal: second}}}, 3, 4)
			elapse(100 * time.Millisecond)
			p := types.Proposal{Header: second.Header, Payload: second.Payload, Metadata: second.Metadata}
			s.say(2, &smartbftprotos.Message{Content: &smartbftprotos.Message_Prepare{Prepare: &smartbftprotos.Prepare{View: 1, Seq: 2, Digest: p.Digest()}}}, 3, 4)
			elapse(100 * time.Millisecond)
			s.say(2, &smartbftprotos.Message{Content: &smartbftprotos.Message_Commit{Commit: &smartbftprotos.Commit{View: 1, Seq: 2, Digest: p.Digest(),
				Signature: &smartbftprotos.Signature{Signer: 2, Value: voteFor(t, 2, p)}}}}, 3, 4)
			elapse(100 * time.Millisecond)
		}
		for _, id := range []uint64{3, 4} {
			if h := s.nodes[id].app.Head().Height; h != 1 {
				t.Errorf("validator %d decided a second block of height 2", id)
			}
		}
		s.nodes[1].start()
		s.nodes[2].start()
		s.commit(3, 3, 1, 2, 3, 4)
		s.agree()
	})
}

// secondBlock is a proposal of view 1 on the head of a validator.
func (s *scripted) secondBlock(on uint64) *smartbftprotos.Proposal {
	head := s.nodes[on].app.Head()
	md, err := proto.Marshal(&smartbftprotos.ViewMetadata{ViewId: 1, LatestSequence: head.Height + 1})
	if err != nil {
		s.t.Fatal(err)
	}
	b := s.nodes[on].app.execute(&head, time.Now().UnixMilli(), [][]byte{transaction(s.t, 99)})
	return &smartbftprotos.Proposal{Header: chain.AppendHeader(nil, &b.Header), Payload: appendPayload(nil, b.Txs), Metadata: md}
}

// A new view that comes again when it is long over, from a leader that lies or
// across a partition, ends nobody.
func TestOldNewView(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScripted(t, 1, 2, 3, 4)
		s.commit(1, 1, 1, 2, 3, 4)
		old := make(chan *smartbftprotos.Message, 100)
		s.losing(func(_, to uint64, m *smartbftprotos.Message) bool {
			if m.GetNewView() != nil && to == 3 {
				old <- m
			}
			return m.GetCommit() != nil && len(old) == 0 // so that the block is decided while views change
		})
		raw := transaction(t, 2)
		if _, err := s.engine(1).Submit(t.Context(), raw); err != nil {
			t.Fatal(err)
		}
		elapse(10 * delay)
		s.nodes[1].kill()
		s.await(txID(t, raw), 2, 3, 4)
		s.losing(nil)
		for n := range uint64(5) {
			s.commit(n+3, 3, 2, 3, 4)
		}
		if len(old) == 0 {
			t.Fatal("there was no new view")
		}
		running := s.engine(3).replica
		for len(old) > 0 {
			s.say(2, <-old, 3, 4)
		}
		begin := time.Now()
		s.commit(20, 3, 2, 3, 4)
		if d := time.Since(begin); d > time.Second {
			t.Errorf("the next block took %v", d)
		}
		if s.engine(3).replica != running {
			t.Error("consensus was started anew")
		}
		s.nodes[1].start()
		s.commit(21, 1, 1, 2, 3, 4)
		s.agree()
	})
}

// When a sync overtakes a new view that SmartBFT holds already, it is started
// anew.
func TestOvertakenNewView(t *testing.T) {
	var cause error
	l := &logger{testLogger(t), func(err error) { cause = err }}
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.Panicf("Node %d got an in flight proposal with sequence %d while its last decision was on sequence %d", 4, 1859, 1934)
	}()
	<-done
	if !errors.Is(cause, errAnew) {
		t.Fatalf("it ends with %v", cause)
	}
}

// What the others say before a validator has left the old view itself is not
// lost: nobody says it twice.
func TestEarlyWords(t *testing.T) {
	says := func(t *testing.T, id uint64) *smartbftprotos.SignedViewData {
		return word(t, id, &smartbftprotos.ViewData{NextView: 1, LastDecision: &smartbftprotos.Proposal{}})
	}
	t.Run("view data", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newScripted(t, 2)
			led := make(chan struct{}, 100)
			s.losing(func(_, _ uint64, m *smartbftprotos.Message) bool {
				if m.GetNewView() != nil {
					led <- struct{}{}
				}
				return false
			})
			for _, id := range []uint64{3, 4} {
				s.say(id, &smartbftprotos.Message{Content: &smartbftprotos.Message_ViewData{ViewData: says(t, id)}}, 2)
			}
			for _, id := range []uint64{3, 4} {
				s.say(id, viewChange(1), 2)
			}
			if len(led) == 0 {
				t.Error("the new leader has not heard a quorum")
			}
		})
	})
	t.Run("new view", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newScripted(t, 3)
			s.say(2, newViewOf(says(t, 2), says(t, 1), says(t, 4)), 3)
			if leader := s.engine(3).Stats().Leader; leader != 1 {
				t.Fatalf("validator %d leads before views change", leader)
			}
			for _, id := range []uint64{2, 4} {
				s.say(id, viewChange(1), 3)
			}
			if leader := s.engine(3).Stats().Leader; leader != 2 {
				t.Errorf("validator %d leads", leader)
			}
		})
	})
}

// While views change, a validator that is behind syncs by the word of the
// leader to come, or of more than may lie; and one that lies cannot have it
// sync without end.
func TestLags(t *testing.T) {
	height := func(n uint64) *smartbftprotos.Message {
		return &smartbftprotos.Message{Content: &smartbftprotos.Message_Commit{Commit: &smartbftprotos.Commit{Seq: n + 1, Assist: true}}}
	}
	for name, c := range map[string]struct {
		changing bool
		says     map[uint64]uint64 // heights
		syncs    bool
	}{
		"nobody changes views": {false, map[uint64]uint64{2: 9, 3: 9}, false},
		"all level":            {true, map[uint64]uint64{2: 0, 3: 0, 4: 0}, false},
		"one that lies":        {true, map[uint64]uint64{3: 1 << 62}, false},
		"more than may lie":    {true, map[uint64]uint64{3: 1, 4: 7}, true},
		"the leader to come":   {true, map[uint64]uint64{2: 1}, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScripted(t, 1)
				r := s.engine(1).replica
				r.mu.Lock()
				r.promises.least = uint64(btoi(c.changing))
				r.mu.Unlock()
				begin := time.Now()
				for range 3 {
					for id, h := range c.says {
						s.say(id, height(h), 1)
					}
				}
				r.mu.Lock()
				defer r.mu.Unlock()
				if r.prompted.IsZero() == c.syncs {
					t.Errorf("it syncs: %v", !c.syncs)
				}
				if c.syncs && r.prompted.Sub(begin) >= urgeAfter {
					t.Error("it syncs late, or more than once")
				}
			})
		})
	}
}

// A validator that a sync has brought further says its word anew, unless it has
// prepared or voted for the next block: it would deny that.
func TestSaysAgain(t *testing.T) {
	for name, c := range map[string]struct {
		said              lastWord
		entered, accepted uint64
		voted             uint64
		again             bool
	}{
		"behind":            {lastWord{2, 1, 0}, 0, 1, 1, true},
		"level":             {lastWord{2, 1, 1}, 0, 1, 1, false},
		"said nothing":      {lastWord{}, 0, 1, 1, false},
		"of an older view":  {lastWord{2, 0, 0}, 0, 1, 1, false},
		"has entered":       {lastWord{2, 1, 0}, 1, 1, 1, false},
		"prepared the next": {lastWord{2, 1, 0}, 0, 2, 1, false},
		"voted for it":      {lastWord{2, 1, 0}, 0, 1, 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScripted(t, 1, 2, 3, 4)
				s.commit(1, 1, 1, 2, 3, 4)
				words := make(chan *smartbftprotos.ViewData, 10)
				s.losing(func(_, _ uint64, m *smartbftprotos.Message) bool {
					vd := &smartbftprotos.ViewData{}
					if signed := m.GetViewData(); signed != nil && proto.Unmarshal(signed.RawViewData, vd) == nil {
						words <- vd
					}
					return false
				})
				r := s.engine(1).replica
				r.mu.Lock()
				r.said, r.entered, r.promises.least = c.said, c.entered, 1
				r.promises.accepted.height, r.promises.voted.height = c.accepted, c.voted
				r.mu.Unlock()
				r.sayAgain()
				if again := len(words) > 0; again != c.again {
					t.Fatalf("it says its word again: %v", again)
				}
				if c.again {
					vd := <-words
					if md, err := parseMetadata(vd.LastDecision.Metadata); err != nil || md.LatestSequence != 1 || vd.NextView != 1 || vd.InFlightProposal != nil {
						t.Errorf("it says %v, %v", vd, err)
					}
				}
			})
		})
	}
}
