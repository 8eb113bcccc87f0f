package consensus

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/hyperledger-labs/SmartBFT/pkg/types"
	"github.com/hyperledger-labs/SmartBFT/smartbftprotos"

	"google.golang.org/protobuf/proto"
)

// proposalFor is a leader's proposal for a height, of some content.
func proposalFor(height uint64, payload []byte) *smartbftprotos.Message {
	return &smartbftprotos.Message{Content: &smartbftprotos.Message_PrePrepare{PrePrepare: &smartbftprotos.PrePrepare{
		Seq: height, Proposal: &smartbftprotos.Proposal{Header: []byte{byte(height)}, Payload: payload}}}}
}

func prepareFor(height uint64, digest string) *smartbftprotos.Message {
	return &smartbftprotos.Message{Content: &smartbftprotos.Message_Prepare{Prepare: &smartbftprotos.Prepare{Seq: height, Digest: digest}}}
}

func voteOn(height uint64) *smartbftprotos.Message {
	return &smartbftprotos.Message{Content: &smartbftprotos.Message_Commit{Commit: &smartbftprotos.Commit{Seq: height}}}
}

// give keeps a message as inOrder does.
func (o *order) give(from uint64, m *smartbftprotos.Message, head uint64) (now bool) {
	l, view, _ := letterOf(from, m)
	return o.keep(l, &kept{m, view, proto.Size(m) + orderHead, 0}, head)
}

// What comes early waits for the block before, and comes then in the order in
// which SmartBFT can use it.
func TestOrderHandsOverInOrder(t *testing.T) {
	o := newOrder()
	if !o.give(2, voteOn(2), 0) {
		t.Error("kept back though the block before it was never proposed")
	}
	if !o.give(1, proposalFor(1, nil), 0) {
		t.Error("the next block's proposal was kept back")
	}
	for _, m := range []*smartbftprotos.Message{voteOn(2), prepareFor(2, ""), proposalFor(2, nil)} {
		if o.give(1, m, 0) {
			t.Errorf("given early: %v", m)
		}
	}
	if list, _, waiting := o.due(0, false); len(list) > 0 || !waiting {
		t.Errorf("before the block: %v, others waiting %v", list, waiting)
	}
	list, _, waiting := o.due(1, false)
	if want := []letter{{2, ofProposal, 1}, {2, ofPrepare, 1}, {2, ofVote, 1}}; !slices.Equal(list, want) || waiting {
		t.Errorf("%v, others waiting %v; want %v", list, waiting, want)
	}
	if list, _, _ := o.due(1, true); len(list) != 4 {
		t.Errorf("%v given again, want all four of the block", list)
	}
	o.due(2, false)
	if len(o.kept) > 0 || o.blocks != 0 || len(o.votes) > 0 {
		t.Errorf("after the block: %d kept, %d bytes of proposals, votes %v", len(o.kept), o.blocks, o.votes)
	}
}

// A refused proposal is not given again at its height, whoever repeats it, and
// what follows it reaches SmartBFT, which has to sync for it.
func TestOrderForgetsRefusedProposals(t *testing.T) {
	o := newOrder()
	bad := proposalFor(1, []byte("bad"))
	p := bad.GetPrePrepare().Proposal
	o.give(1, bad, 0)
	o.refuse(&types.Proposal{Header: p.Header, Payload: p.Payload}, 1)
	for range 2 {
		if list, _, _ := o.due(0, true); len(list) > 0 {
			t.Fatalf("given again: %v", list)
		}
		o.give(1, bad, 0)
	}
	if !o.give(2, voteOn(2), 0) {
		t.Error("a later vote waits for a block that was refused")
	}
	o.give(1, proposalFor(1, []byte("good")), 0)
	if list, _, _ := o.due(0, true); len(list) != 1 {
		t.Errorf("another proposal is not given again: %v", list)
	}
	o.due(1, false)
	if len(o.refused) > 0 {
		t.Errorf("%d refused proposals are remembered beyond their height", len(o.refused))
	}
	for i := range 2 * orderRefused {
		o.refuse(&types.Proposal{Payload: []byte{byte(i)}}, 2)
	}
	if len(o.refused) > orderRefused {
		t.Errorf("%d refused proposals are remembered", len(o.refused))
	}
	o.give(1, proposalFor(2, nil), 1)
	if list, _, _ := o.due(1, true); len(list) != 1 || list[0].kind != ofVote {
		t.Errorf("given after so many refused ones: %v", list)
	}
}

// What SmartBFT refuses by itself is given a few times only, even if the leader
// says it again.
func TestOrderGivesUp(t *testing.T) {
	o := newOrder()
	given := 0
	for range 10 * orderTimes {
		o.give(1, proposalFor(1, nil), 0)
		list, _, _ := o.due(0, true)
		given += len(list)
	}
	if given >= orderTimes {
		t.Errorf("given again %d times", given)
	}
}

// Whatever others send, what is kept has a bound for each of them and for all.
func TestOrderIsBounded(t *testing.T) {
	o := newOrder()
	big := bytes.Repeat([]byte{1}, 256<<10)
	for height := range uint64(4 * orderAhead) {
		for from := uint64(1); from <= 21; from++ {
			o.give(from, prepareFor(height+1, string(big[:8<<10])), 0)
			o.give(from, voteOn(height+1), 0)
		}
		o.give(1+height/orderAhead, proposalFor(height+1, big), 0)
	}
	sum := 0
	for l, k := range o.kept {
		if sum += k.size; l.kind == ofProposal && l.from != o.proposer {
			t.Errorf("a former leader's proposal is kept: %v", l)
		}
	}
	votes := 0
	for from, n := range o.votes {
		if votes += n; n > orderVotes {
			t.Errorf("%d bytes of validator %d", n, from)
		}
	}
	if o.blocks > orderBlocks || sum != votes+o.blocks {
		t.Errorf("%d bytes of proposals, %d of votes, %d in all", o.blocks, votes, sum)
	}
}

// Giving again comes to an end, before the first block too.
func TestOrderPauses(t *testing.T) {
	p, now := newPace(0), time.UnixMilli(0)
	begun, times := now, 0
	for wait := p.next(true, now); wait > 0; wait = p.next(true, now) {
		now = now.Add(wait)
		if p.note(0, false, true); times > 10 {
			t.Fatalf("given again %d times in %v", times, now.Sub(begun))
		}
		times++
	}
	if took := now.Sub(begun); times != 4 || took < orderLast {
		t.Errorf("given again %d times in %v", times, took)
	}
}
