package consensus

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperledger-labs/SmartBFT/pkg/types"
	"github.com/hyperledger-labs/SmartBFT/smartbftprotos"
	"google.golang.org/protobuf/proto"

	"github.com/seed79541315/postern/abi/chain"
)

// liar is what a Byzantine validator does otherwise than an honest one.
type liar struct {
	propose  func(ctx context.Context, a *simApp, now int64, raws [][]byte) (*chain.Block, error)
	trusting bool // it verifies nothing
	say      func(p *process, to uint64, m *smartbftprotos.Message) []*smartbftprotos.Message
}

// hear encodes what a liar says instead of a message. What it watches it tells as
// it is.
func (l *liar) hear(p *process, to uint64, message []byte) (out [][]byte) {
	if message[0] == watched {
		return [][]byte{message}
	}
	m := &smartbftprotos.Message{}
	if err := proto.Unmarshal(message, m); err != nil {
		p.v.s.t.Error(err)
	}
	for _, m := range l.say(p, to, m) {
		b, err := proto.Marshal(m)
		if err != nil {
			p.v.s.t.Error(err)
		}
		out = append(out, b)
	}
	return out
}

// equivocator tells one half of the others of another block than the other
// half, and votes for both.
type equivocator struct {
	other map[string]types.Proposal // by the digest of the true one
}

func (e *equivocator) say(p *process, to uint64, m *smartbftprotos.Message) []*smartbftprotos.Message {
	if to%2 == 0 {
		return []*smartbftprotos.Message{m}
	}
	m = proto.Clone(m).(*smartbftprotos.Message)
	switch c := m.GetContent().(type) {
	case *smartbftprotos.Message_PrePrepare:
		other := e.invent(p, c.PrePrepare.Proposal)
		c.PrePrepare.Proposal.Header, c.PrePrepare.Proposal.Payload = other.Header, other.Payload
	case *smartbftprotos.Message_Prepare:
		if other, ok := e.other[c.Prepare.Digest]; ok {
			c.Prepare.Digest = other.Digest()
		}
	case *smartbftprotos.Message_Commit:
		if other, ok := e.other[c.Commit.Digest]; ok {
			c.Commit.Digest = other.Digest()
			c.Commit.Signature.Value = voteFor(p.v.s.t, p.v.id, other)
		}
	}
	return []*smartbftprotos.Message{m}
}

// invent makes a block like a proposal's that is another: later by a moment.
func (e *equivocator) invent(p *process, raw *smartbftprotos.Proposal) types.Proposal {
	whole := types.Proposal{Header: raw.Header, Payload: raw.Payload, Metadata: raw.Metadata, VerificationSequence: int64(raw.VerificationSequence)}
	digest := whole.Digest()
	if other, ok := e.other[digest]; ok {
		return other
	}
	true_, err := parseProposal(whole)
	if err != nil {
		p.v.s.t.Error(err)
		return whole
	}
	block, err := p.ledger.Propose(context.Background(), true_.block.Header.Time+1, true_.block.Txs)
	if err != nil {
		return whole // it is in the ledger already
	}
	e.other[digest] = newProposal(block, raw.Metadata, raw.VerificationSequence)
	return e.other[digest]
}

// voteFor is a validator's vote for a proposal.
func voteFor(t testing.TB, id uint64, raw types.Proposal) []byte {
	p, err := parseProposal(raw)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := newKey(id).Sign(p.vote())
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

// later proposes blocks of another time than it is.
func later(by time.Duration) func(context.Context, *simApp, int64, [][]byte) (*chain.Block, error) {
	return func(ctx context.Context, a *simApp, now int64, raws [][]byte) (*chain.Block, error) {
		return a.Ledger.Propose(ctx, now+by.Milliseconds(), raws)
	}
}

// censor proposes what others than one sender want.
func censor(ctx context.Context, a *simApp, now int64, raws [][]byte) (*chain.Block, error) {
	raws = slices.DeleteFunc(slices.Clone(raws), func(raw []byte) bool {
		tx, err := chain.ParseTx(raw)
		return err == nil && string(tx.Key()) == string(senderKey(0).Public())
	})
	return a.Ledger.Propose(ctx, now, raws)
}

// spoil proposes blocks whose state is not what they lead to.
func spoil(ctx context.Context, a *simApp, now int64, raws [][]byte) (*chain.Block, error) {
	b, err := a.Ledger.Propose(ctx, now, raws)
	if err == nil {
		b = &chain.Block{Header: b.Header, Txs: b.Txs}
		b.Header.State[0]++
	}
	return b, err
}

// withhold keeps proposals, or votes, from those that it does not like.
func withhold(kind func(*smartbftprotos.Message) bool, from ...uint64) func(*process, uint64, *smartbftprotos.Message) []*smartbftprotos.Message {
	return func(_ *process, to uint64, m *smartbftprotos.Message) []*smartbftprotos.Message {
		if kind(m) && slices.Contains(from, to) {
			return nil
		}
		return []*smartbftprotos.Message{m}
	}
}

// boast proposes to nobody, and lets with everything that it says the others
// know that it has prepared a block that they have not heard of, wants a view
// that never comes, and is in it.
func boast(p *process, _ uint64, m *smartbftprotos.Message) []*smartbftprotos.Message {
	const far = 1 << 40
	if isProposal(m) {
		return nil
	}
	next := p.ledger.Head().Height + 1
	return []*smartbftprotos.Message{m, viewChange(far),
		{Content: &smartbftprotos.Message_Commit{Commit: &smartbftprotos.Commit{Seq: next, View: far, Digest: strings.Repeat("ab", 32), Assist: true}}},
		{Content: &smartbftprotos.Message_StateTransferResponse{StateTransferResponse: &smartbftprotos.StateTransferResponse{ViewNum: far, Sequence: next}}}}
}

func isProposal(m *smartbftprotos.Message) bool { return m.GetPrePrepare() != nil }
func isVote(m *smartbftprotos.Message) bool     { return m.GetCommit() != nil }

// Whatever the leader is up to, no two of the others hold different blocks,
// all that is sent is decided, and what it invented is in no block.
func TestSimulationByzantineLeader(t *testing.T) {
	for name, make := range map[string]func() *liar{
		"equivocates":            func() *liar { return &liar{say: (&equivocator{map[string]types.Proposal{}}).say} },
		"spoils":                 func() *liar { return &liar{propose: spoil, trusting: true} },
		"is early":               func() *liar { return &liar{propose: later(time.Hour), trusting: true} },
		"is late":                func() *liar { return &liar{propose: later(-time.Hour), trusting: true} },
		"censors":                func() *liar { return &liar{propose: censor} },
		"withholds from all":     func() *liar { return &liar{say: withhold(isProposal, 1, 2, 3, 4)} },
		"withholds from one":     func() *liar { return &liar{say: withhold(isProposal, 3)} },
		"withholds votes":        func() *liar { return &liar{say: withhold(isVote, 2, 3, 4)} },
		"withholds from two":     func() *liar { return &liar{say: withhold(isProposal, 2, 3)} },
		"boasts":                 func() *liar { return &liar{say: boast} },
		"withholds votes of one": func() *liar { return &liar{say: withhold(isVote, 2)} },
	} {
		t.Run(name, func(t *testing.T) {
			forSeeds(t, 4, 10, func(s *simulation) {
				s.nodes[0].liar = make()
				s.nodes[0].stop() // its first life was honest
				s.nodes[0].start()
				s.run(20*time.Second, 200*time.Millisecond)
				s.settle(30 * time.Second)
			})
		})
	}
}

// scripted is a network whose first validator is the test itself.
type scripted struct {
	*network
	app *app
}

func newScripted(t *testing.T, start ...uint64) *scripted {
	s := &scripted{newNetwork(t, 4), newApp(t, 4)}
	for _, id := range start {
		s.nodes[id].start()
	}
	return s
}

// block is a proposal of a first block, in view 0.
func (s *scripted) block(n uint64) types.Proposal {
	head := s.app.Head()
	md, err := proto.Marshal(&smartbftprotos.ViewMetadata{LatestSequence: 1})
	if err != nil {
		s.t.Fatal(err)
	}
	return newProposal(s.app.execute(&head, time.Now().UnixMilli(), [][]byte{transaction(s.t, n)}), md, 0)
}

// losing changes which messages are lost.
func (net *network) losing(drop func(from, to uint64, m *smartbftprotos.Message) bool) {
	net.mu.Lock()
	defer net.mu.Unlock()
	net.drop = drop
}

// say hands a message to validators as from another.
func (s *scripted) say(from uint64, m *smartbftprotos.Message, to ...uint64) {
	s.t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, id := range to {
		s.engine(id).Handle(from, b)
	}
	synctest.Wait()
}

func proposing(p types.Proposal) *smartbftprotos.Message {
	return &smartbftprotos.Message{Content: &smartbftprotos.Message_PrePrepare{PrePrepare: &smartbftprotos.PrePrepare{Seq: 1,
		Proposal: &smartbftprotos.Proposal{Header: p.Header, Payload: p.Payload, Metadata: p.Metadata}}}}
}

func preparing(p types.Proposal, view uint64) *smartbftprotos.Message {
	return &smartbftprotos.Message{Content: &smartbftprotos.Message_Prepare{Prepare: &smartbftprotos.Prepare{View: view, Seq: 1, Digest: p.Digest()}}}
}

func (s *scripted) commitOf(from uint64, p types.Proposal) *smartbftprotos.Message {
	return &smartbftprotos.Message{Content: &smartbftprotos.Message_Commit{Commit: &smartbftprotos.Commit{Seq: 1, Digest: p.Digest(),
		Signature: &smartbftprotos.Signature{Signer: from, Value: voteFor(s.t, from, p)}}}}
}

func viewChange(next uint64) *smartbftprotos.Message {
	return &smartbftprotos.Message{Content: &smartbftprotos.Message_ViewChange{ViewChange: &smartbftprotos.ViewChange{NextView: next}}}
}

// One lying leader cannot make two blocks of a height final: it lets one
// validator decide a block, makes another that voted for it start its view
// again, and proposes another block there.
func TestSecondProposalInRestartedView(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScripted(t, 2, 3, 4)
		s.losing(func(from, to uint64, m *smartbftprotos.Message) bool {
			return from == 2 && to == 3 && m.GetCommit() != nil || from == 2 && to == 4 || from == 4 && to == 2
		})
		first, second := s.block(1), s.block(2)
		s.say(1, proposing(first), 2, 3)
		s.say(1, preparing(first, 0), 2, 3)
		elapse(5 * delay)
		s.say(1, s.commitOf(1, first), 2)
		elapse(5 * delay)
		if h := s.nodes[2].app.Head().Height; h != 1 {
			t.Fatalf("the victim's witness is at height %d", h)
		}
		s.nodes[2].kill()
		s.say(1, preparing(first, 7), 3) // of a wrong view: SmartBFT stops the view, syncs and starts it again
		elapse(time.Second)
		for range 2 {
			s.say(1, proposing(second), 3, 4)
			s.say(1, preparing(second, 0), 3, 4)
			elapse(5 * delay)
			s.say(1, s.commitOf(1, second), 3, 4)
			elapse(time.Second)
		}
		for _, id := range []uint64{3, 4} {
			if h := s.nodes[id].app.Head().Height; h != 0 {
				t.Errorf("validator %d decided a second block", id)
			}
		}
		s.losing(nil)
		s.nodes[2].start()
		s.commit(3, 2, 2, 3, 4)
		s.agree()
	})
}

// A validator that crashes while views change tells the others after it what
// it had prepared before.
func TestPreparedOutlivesCrash(t *testing.T) {
	for name, prepares := range map[string]int{"prepared": 2, "proposed": 0} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScripted(t, 3)
				heard := make(chan *smartbftprotos.ViewData, 100)
				s.losing(func(_, _ uint64, m *smartbftprotos.Message) bool {
					if raw := m.GetViewData().GetRawViewData(); raw != nil {
						vd := &smartbftprotos.ViewData{}
						if err := proto.Unmarshal(raw, vd); err != nil {
							t.Error(err)
						}
						heard <- vd
					}
					return false
				})
				p := s.block(1)
				s.say(1, proposing(p), 3)
				for from := range prepares {
					s.say(uint64(from+1), preparing(p, 0), 3)
				}
				for round := range 3 {
					if round > 0 {
						s.nodes[3].kill()
						for len(heard) > 0 {
							<-heard
						}
						s.nodes[3].start()
					} else {
						s.say(1, viewChange(1), 3)
						s.say(4, viewChange(1), 3)
					}
					said := <-heard
					if said.InFlightProposal == nil || said.InFlightPrepared != (prepares > 0) {
						t.Fatalf("round %d: in flight %v, prepared %v", round, said.InFlightProposal != nil, said.InFlightPrepared)
					}
				}
				// It has left the view, and votes there no more.
				s.say(2, preparing(p, 0), 3)
				s.say(4, preparing(p, 0), 3)
				s.nodes[3].kill()
				if signed := (moment{wal: s.nodes[3].dir}).signed(); signed != uint64(btoi(prepares > 0)) {
					t.Fatalf("it has signed height %d", signed)
				}
			})
		})
	}
}

// Who has left a view does not go back: what it said when it left would be
// untrue.
func TestNoVoteInViewLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScripted(t, 3)
		s.say(1, viewChange(1), 3)
		s.say(4, viewChange(1), 3)
		p := s.block(1)
		for range 20 { // a view change that fails makes SmartBFT take up the old view
			elapse(time.Second)
			s.say(1, proposing(p), 3)
			s.say(1, preparing(p, 0), 3)
			s.say(4, preparing(p, 0), 3)
		}
		s.nodes[3].kill()
		if signed := (moment{wal: s.nodes[3].dir}).signed(); signed != 0 {
			t.Fatalf("it has signed height %d", signed)
		}
	})
}

// A vote given while views change is remembered over a crash: no other block
// of its height gets one.
func TestVoteInFlightIsKept(t *testing.T) {
	r, a := testReplica(t)
	head := a.Head()
	block := func(n uint64, view uint64) types.Proposal {
		md, err := proto.Marshal(&smartbftprotos.ViewMetadata{ViewId: view, LatestSequence: 2})
		if err != nil {
			t.Fatal(err)
		}
		return newProposal(a.execute(&head, time.Now().UnixMilli(), [][]byte{transaction(t, n)}), md, 0)
	}
	dir := t.TempDir()
	journal, err := openJournal(dir, &logger{testLogger(t), r.fail})
	if err != nil {
		t.Fatal(err)
	}
	defer journal.Close()
	r.journal = journal
	left, err := proto.Marshal(&smartbftprotos.SavedMessage{Content: &smartbftprotos.SavedMessage_ViewChange{ViewChange: &smartbftprotos.ViewChange{NextView: 4}}})
	if err == nil {
		err = r.Append(left, false)
	}
	if err != nil {
		t.Fatal(err)
	}
	flown, other := block(2, 4), block(3, 5)
	if _, err := r.vote(flown, true); err != nil {
		t.Fatal(err)
	}
	read, err := readJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	after, err := read.promised()
	if err != nil {
		t.Fatal(err)
	}
	p, err := parseProposal(other)
	if err != nil {
		t.Fatal(err)
	}
	for name, m := range map[string]*promises{"before": &r.promises, "after": &after} {
		if m.least != 5 || !m.bound || m.voted.height != 2 {
			t.Errorf("%s a crash: %d, %v, height %d", name, m.least, m.bound, m.voted.height)
		}
		if m.allow(p, &other) == nil || m.allowVote(p) == nil {
			t.Errorf("%s a crash another block gets a vote", name)
		}
	}
	begin, inFlight := read.restore(head.Height)
	if len(begin) != 2 || len(inFlight) != 2 {
		t.Errorf("SmartBFT is given %d and %d records", len(begin), len(inFlight))
	}
}

// Two validators that help one who is behind do not answer one another's help
// without end.
func TestComplaintsDoNotEcho(t *testing.T) {
	r, _ := testReplica(t)
	now := time.Now()
	for range 3 {
		if r.echoes(2, viewChange(4), now) || r.echoes(3, viewChange(4), now) || r.echoes(2, viewChange(5), now) {
			t.Fatal("a first complaint is held back")
		}
		if now = now.Add(complaintGap - 1); !r.echoes(2, viewChange(4), now) {
			t.Fatal("a repeated complaint is sent")
		}
		now = now.Add(1)
	}
	for view := range uint64(10 * maxComplaints) {
		r.echoes(2, viewChange(view), now)
	}
	if n := len(r.complaint); n > maxComplaints {
		t.Fatalf("%d complaints are remembered", n)
	}
}
