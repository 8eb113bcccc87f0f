package consensus

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperledger-labs/SmartBFT/pkg/types"
	"github.com/hyperledger-labs/SmartBFT/smartbftprotos"
	"google.golang.org/protobuf/proto"
)

// hearing gives what a validator says from now on.
func (s *scripted) hearing() <-chan *smartbftprotos.Message {
	said := make(chan *smartbftprotos.Message, 1000)
	s.losing(func(_, _ uint64, m *smartbftprotos.Message) bool {
		said <- m
		return true
	})
	return said
}

// A validator whose views have fallen behind joins those of more validators
// than may lie, and no others.
func TestDrifted(t *testing.T) {
	for name, c := range map[string]struct {
		wishes map[uint64]uint64
		view   uint64 // that it comes to say its word for
	}{
		"one that lies":      {map[uint64]uint64{3: 1 << 62}, 0},
		"two that differ":    {map[uint64]uint64{3: 1 << 62, 4: 7}, 7},
		"all are ahead":      {map[uint64]uint64{2: 6, 3: 7, 4: 7}, 7},
		"the next view":      {map[uint64]uint64{3: 1, 4: 1}, 1},
		"one is level":       {map[uint64]uint64{2: 1, 3: 9}, 0},
		"two that are level": {map[uint64]uint64{2: 1, 3: 1, 4: 9}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScripted(t, 1)
				said := s.hearing()
				for range 4 {
					for id, view := range c.wishes {
						s.say(id, viewChange(view), 1)
					}
					if c.view == 7 {
						s.say(2, viewChange(7), 1) // as one who has joined them as well
					}
					elapse(200 * time.Millisecond)
				}
				var view uint64
				for range len(said) {
					if signed := (<-said).GetViewData(); signed != nil {
						word, err := parseViewData(signed)
						if err != nil {
							t.Fatal(err)
						}
						view = word.view
					}
				}
				if view != c.view {
					t.Errorf("its last word is for view %d, not %d", view, c.view)
				}
			})
		})
	}
}

// A view that is joined only to leave it is not one that was formed: no block
// of it is accepted, nobody is told of it, and the log does not name it so.
func TestJoinedViewWasNotFormed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScripted(t, 1)
		for _, id := range []uint64{3, 4} {
			s.say(id, viewChange(7), 1)
		}
		elapse(time.Second)
		r := s.engine(1).replica
		r.mu.Lock()
		promises, entered := r.promises, r.entered
		r.mu.Unlock()
		if promises.least != 6 || entered != 0 {
			t.Fatalf("it has left the views below %d and entered %d", promises.least, entered)
		}
		p, raw := &proposal{view: 6, height: 1}, s.block(1)
		if promises.allow(p, &raw) == nil {
			t.Error("it accepts a block of a view that nobody has formed")
		}
		if p.view = 7; promises.allow(p, &raw) != nil {
			t.Error("it refuses a block of the next view")
		}
		said := s.hearing()
		s.say(2, &smartbftprotos.Message{Content: &smartbftprotos.Message_StateTransferRequest{StateTransferRequest: &smartbftprotos.StateTransferRequest{}}}, 1)
		for answer := (*smartbftprotos.StateTransferResponse)(nil); answer == nil; {
			if answer = (<-said).GetStateTransferResponse(); answer != nil && answer.ViewNum != 0 {
				t.Errorf("it tells of view %d", answer.ViewNum)
			}
		}
		s.nodes[1].kill()
		log, err := readJournal(s.nodes[1].dir)
		if err != nil {
			t.Fatal(err)
		}
		if log.entered != 0 || log.least < 6 {
			t.Errorf("its log has entered view %d and left those below %d", log.entered, log.least)
		}
	})
}

// When more validators than may lie say that they are in a view it was formed,
// and its blocks are as good as any.
func TestJoinedViewThatWasFormed(t *testing.T) {
	r, a := testReplica(t)
	r.set, r.promises = a.ValidatorSet(), promises{least: 6, unformed: 6}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.states = map[uint64]types.ViewAndSeq{}
	for i := range uint64(2) {
		r.states[2+i] = types.ViewAndSeq{View: 6, Seq: 2}
		r.others()
		if formed := r.promises.unformed == 0; formed != (i == 1) {
			t.Errorf("by the word of %d it was formed: %v", i+1, formed)
		}
	}
	m := &smartbftprotos.SavedMessage{Content: &smartbftprotos.SavedMessage_NewView{NewView: &smartbftprotos.ViewMetadata{ViewId: 6}}}
	for least, offered := range map[uint64]uint64{6: 0, 5: 6} {
		r.promises.least, r.offered = least, offered
		if before := proto.Clone(m); r.join(m) || !proto.Equal(before, m) {
			t.Error("a view that was formed is recorded as one that was joined")
		}
	}
	if r.promises.least, r.offered = 5, 7; !r.join(m) || m.GetViewChange().GetNextView() != 5 || r.promises.unformed != 6 {
		t.Errorf("a view that nobody is in is recorded as %v", m)
	}
}
