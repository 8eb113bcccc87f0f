package consensus

import (
	"testing"
	"time"

	pb "github.com/hyperledger-labs/SmartBFT/smartbftprotos"
)

func prePrepare(view, seq uint64) *pb.Message {
	return &pb.Message{Content: &pb.Message_PrePrepare{PrePrepare: &pb.PrePrepare{View: view, Seq: seq}}}
}

func prepare(view, seq uint64, assist bool) *pb.Message {
	return &pb.Message{Content: &pb.Message_Prepare{Prepare: &pb.Prepare{View: view, Seq: seq, Assist: assist}}}
}

func commit(view, seq uint64, assist bool) *pb.Message {
	return &pb.Message{Content: &pb.Message_Commit{Commit: &pb.Commit{View: view, Seq: seq, Assist: assist}}}
}

func TestOutboxHolds(t *testing.T) {
	now := time.Unix(1000, 0)
	later := now.Add(repeatAfter)
	proposal := []*pb.Message{prePrepare(2, 7), prepare(2, 7, false), commit(2, 7, false)}
	for name, c := range map[string]struct {
		then *pb.Message
		head uint64
		want int
	}{
		"as it was":               {nil, 6, 3},
		"the block is there":      {nil, 7, 0},
		"a view change":           {&pb.Message{Content: &pb.Message_ViewChange{ViewChange: &pb.ViewChange{NextView: 3}}}, 6, 0},
		"view data":               {&pb.Message{Content: &pb.Message_ViewData{ViewData: &pb.SignedViewData{}}}, 6, 0},
		"a new view":              {&pb.Message{Content: &pb.Message_NewView{NewView: &pb.NewView{}}}, 6, 0},
		"this view's heartbeat":   {&pb.Message{Content: &pb.Message_HeartBeat{HeartBeat: &pb.HeartBeat{View: 2}}}, 6, 3},
		"a later view's":          {&pb.Message{Content: &pb.Message_HeartBeat{HeartBeat: &pb.HeartBeat{View: 3}}}, 6, 0},
		"the next height":         {prepare(2, 8, false), 6, 1},
		"the next view":           {prePrepare(3, 7), 6, 1},
		"help for a lagging node": {prepare(2, 6, true), 6, 3},
		"a vote as help":          {commit(2, 7, true), 6, 3},
		"a vote of a view change": {commit(1, 7, false), 6, 3},
	} {
		var o outbox
		for _, m := range proposal {
			o.note(m, now)
		}
		if c.then != nil {
			o.note(c.then, now)
		}
		if got, _ := o.due(c.head, later); len(got) != c.want {
			t.Errorf("%s: %d messages, want %d", name, len(got), c.want)
		}
	}
}

func TestOutboxTimes(t *testing.T) {
	var o outbox
	now := time.Unix(1000, 0)
	if !o.note(prepare(0, 1, false), now) || o.note(commit(0, 1, false), now) {
		t.Error("the first message of a block is not told from the next")
	}
	for _, want := range []time.Duration{400, 800, 1600, 3200, 5000, 5000} {
		if m, wait := o.due(0, now); m != nil || wait != want*time.Millisecond {
			t.Fatalf("%d messages at once, then in %v, want %v", len(m), wait, want*time.Millisecond)
		}
		now = now.Add(want * time.Millisecond)
		if m, _ := o.due(0, now); len(m) != 2 {
			t.Fatalf("%d messages after %v", len(m), want*time.Millisecond)
		}
	}
	var empty outbox
	if m, wait := empty.due(0, now); m != nil || wait != 0 {
		t.Error("an empty outbox has something to say")
	}
}
