package ledger

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

func contractName(s string) *string { return &s }

func account(p person) *abi.Hash {
	id := p.id()
	return &id
}

// events reads all events above a height, as a subscriber does.
func (w *world) events(after uint64, f abi.EventFilter) (list []abi.EventFrame) {
	w.t.Helper()
	for after < w.l.Head().Height {
		some, upTo, err := w.l.Events(after, &f)
		if err != nil || upTo <= after {
			w.t.Fatalf("events after %d: up to %d, %v", after, upTo, err)
		}
		for _, e := range some {
			if e.Height <= after || e.Height > upTo {
				w.t.Errorf("event of height %d between %d and %d", e.Height, after, upTo)
			}
		}
		list, after = append(list, some...), upTo
	}
	return list
}

// told names events by height above the first, index, contract and topic.
func told(list []abi.EventFrame, first uint64) (names []string) {
	for _, e := range list {
		names = append(names, fmt.Sprintf("%d.%d %s %s %s", e.Height-first, e.Index, e.Contract, e.Topic, e.Data))
	}
	return names
}

// emitting is a world in which two contracts have told things in two blocks.
func emitting(t *testing.T) (w *world, first uint64) {
	w = newWorld(t, nil)
	w.deploy(developer, "bell", "gong")
	first = w.l.Head().Height
	w.block(
		w.tx(owner, chain.OpCall, &chain.Call{Contract: "bell", Message: do('e', 0, "ring", "1").add('e', 0, "stop", "2")}),
		w.tx(other, chain.OpCall, &chain.Call{Contract: "gong", Message: do('e', 0, "ring", "3")}),
	)
	w.run(other, "bell", do('e', 0, "ring", "4"))
	return w, first
}

func TestEventsByFilter(t *testing.T) {
	w, first := emitting(t)
	for name, tt := range map[string]struct {
		after  uint64
		filter abi.EventFilter
		want   []string
	}{
		"all":          {0, abi.EventFilter{}, []string{"1.0 bell ring 1", "1.1 bell stop 2", "1.2 gong ring 3", "2.0 bell ring 4"}},
		"from later":   {1, abi.EventFilter{}, []string{"2.0 bell ring 4"}},
		"a contract":   {0, abi.EventFilter{Contract: contractName("gong")}, []string{"1.2 gong ring 3"}},
		"a topic":      {0, abi.EventFilter{Topic: []byte("stop")}, []string{"1.1 bell stop 2"}},
		"no topic":     {0, abi.EventFilter{Topic: []byte{}}, nil},
		"a sender":     {0, abi.EventFilter{Device: account(other)}, []string{"1.2 gong ring 3", "2.0 bell ring 4"}},
		"the ledger's": {0, abi.EventFilter{Contract: contractName("")}, nil},
		"together": {0, abi.EventFilter{Contract: contractName("bell"), Device: account(other), Topic: []byte("ring")},
			[]string{"2.0 bell ring 4"}},
	} {
		for range 2 { // from the store, and from memory
			list := w.events(first+tt.after, tt.filter)
			if got := told(list, first); fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("%s: %v, want %v", name, got, tt.want)
			}
			w.l.recent[0].Store(nil)
		}
	}
	e := w.events(first+1, abi.EventFilter{})[0]
	if k := w.l.Head(); e.Time != k.Time || e.ID == (abi.Hash{}) {
		t.Errorf("event %+v of block %+v", e, k)
	}
}

// TestEventsOfADevice: whoever asks for a device gets what it did itself, also
// under a key that it has replaced by now.
func TestEventsOfADevice(t *testing.T) {
	const device person = "device"
	w := newWorld(t, nil)
	w.deploy(developer, "bell")
	first := w.l.Head().Height
	w.enrol(device, nil)
	w.run(device, "bell", do('e', 0, "ring", "1"))
	w.must(device, chain.OpRotate, w.rotation(device, "its next key", w.now+1000))
	w.run("its next key", "bell", do('e', 0, "ring", "2"))
	w.run(owner, "bell", do('e', 0, "ring", "3"))
	w.l.recent = recentEvents{}
	contract := "bell"
	got := told(w.events(first, abi.EventFilter{Device: account(device), Contract: &contract}), first)
	if want := []string{"2.0 bell ring 1", "4.0 bell ring 2"}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestEventsAboutADevice: what the ledger itself tells of a device is chosen
// with it, whoever caused it; what a contract says of it is not.
func TestEventsAboutADevice(t *testing.T) {
	const device person = "device"
	w := newWorld(t, nil)
	first := w.l.Head().Height
	w.enrol(device, nil)
	w.enrol("another", nil)
	w.must(owner, chain.OpDeviceStatus, &chain.DeviceStatus{Device: device.id(), Status: abi.StatusSuspended, Reason: "holidays"})
	var topics []string
	for _, e := range w.events(first, abi.EventFilter{Device: account(device)}) {
		topics = append(topics, string(e.Topic))
	}
	if want := []string{chain.TopicDeviceEnrolled, chain.TopicDeviceStatus}; fmt.Sprint(topics) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", topics, want)
	}
	if n := len(w.events(first, abi.EventFilter{Contract: contractName("")})); n != 3 {
		t.Errorf("the ledger told %d things", n)
	}

	notice := chain.Notice{Subject: device.id()}
	said := newEvent(&chain.Header{Height: 1}, abi.Hash{1}, 0, &chain.Event{Contract: "bell", Data: notice.Append(nil)}, nil)
	if said.passes(&abi.EventFilter{Device: account(device)}) {
		t.Error("a contract's event is taken for the ledger's")
	}
}

// TestEventsAreBounded: one call looks at a bounded number of blocks, and asks
// for nothing above the head.
func TestEventsAreBounded(t *testing.T) {
	w := newWorld(t, nil)
	w.deploy(developer, "bell")
	first := w.l.Head().Height
	const blocks = maxEventBlocks + 5
	for range blocks {
		w.run(owner, "bell", do('e', 0, "ring", "1"))
	}
	some, upTo, err := w.l.Events(first, &abi.EventFilter{})
	if err != nil || len(some) != maxEventBlocks || upTo != first+maxEventBlocks {
		t.Errorf("%d events up to %d after %d, %v", len(some), upTo, first, err)
	}
	if all := w.events(first, abi.EventFilter{}); len(all) != blocks {
		t.Errorf("%d events in %d blocks", len(all), blocks)
	}
	head := w.l.Head().Height
	for _, after := range []uint64{head, head + 10, 1<<64 - 1} {
		some, upTo, err := w.l.Events(after, &abi.EventFilter{})
		if err != nil || len(some) != 0 || upTo != after {
			t.Errorf("%d events up to %d after %d, %v", len(some), upTo, after, err)
		}
	}
}

// TestEventsOfPrunedBlocks: who asks for what is not kept is told so rather than
// given less.
func TestEventsOfPrunedBlocks(t *testing.T) {
	w, first := emitting(t)
	if err := w.l.Prune(t.Context(), first+1); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.l.Events(0, &abi.EventFilter{}); !errors.Is(err, abi.CodeNotFound) {
		t.Errorf("events of pruned blocks: %v", err)
	}
	if list, _, err := w.l.Events(w.l.Base()-1, &abi.EventFilter{}); err != nil || len(list) == 0 {
		t.Errorf("%d events of kept blocks, %v", len(list), err)
	}
}

// TestAccountsThatChanged: whoever must act on a device's status or key is told of
// each block that changed one, once the ledger answers by it, and of no other.
func TestAccountsThatChanged(t *testing.T) {
	const device person = "device"
	w := newWorld(t, nil)
	w.deploy(developer, "bell")
	w.enrol(device, nil)
	var seen []abi.Standing
	w.l.OnAccounts(func(ids []abi.Hash) {
		if !slices.Contains(ids, device.id()) {
			return
		}
		s, err := w.l.Standing(device.Public())
		if err != nil {
			t.Error(err)
		}
		seen = append(seen, s)
	})
	w.run(device, "bell", do('e', 0, "ring", "1"))
	if len(seen) != 0 {
		t.Errorf("a call changed the device: %+v", seen)
	}
	w.must(owner, chain.OpDeviceStatus, &chain.DeviceStatus{Device: device.id(), Status: abi.StatusSuspended, Reason: "holidays"})
	w.must(owner, chain.OpDeviceStatus, &chain.DeviceStatus{Device: device.id(), Status: abi.StatusActive, Reason: "back"})
	w.must(device, chain.OpRotate, w.rotation(device, "its next key", w.now+1000))
	want := []abi.Standing{
		{Known: true, Account: device.id(), Device: abi.StatusSuspended, Reason: "holidays"},
		{Known: true, Account: device.id(), Device: abi.StatusActive}, {},
	}
	if !slices.Equal(seen, want) {
		t.Errorf("seen %+v, want %+v", seen, want)
	}
	d, err := w.l.Device(device.id())
	if err != nil || d.Owner != owner.id() || d.Status != abi.StatusActive {
		t.Errorf("device %+v, %v", d, err)
	}
	if _, err := w.l.Device(owner.id()); !errors.Is(err, abi.CodeUnknownDevice) {
		t.Errorf("an owner: %v", err)
	}
}
