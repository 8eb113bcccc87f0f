package ledger

import (
	"fmt"
	"math"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

func TestAlert(t *testing.T) {
	w := deviceWorld(t)
	lock := w.enrol("lock", nil)
	flood := func(n uint64) *chain.Alert {
		return &chain.Alert{Kind: "handshake-flood", Count: n, Evidence: abi.Hash{1}}
	}
	w.try([]attempt{
		{"by who is no gateway", nobody, chain.OpAlert, flood(1), abi.CodeMissingRole},
		{"of nothing", gate1, chain.OpAlert, flood(0), abi.CodeMalformed},
		{"of no kind", gate1, chain.OpAlert, &chain.Alert{Count: 1}, abi.CodeBadArgument},
		{"by no device", gate1, chain.OpAlert, &chain.Alert{Kind: "k", Count: 1, Device: &abi.Hash{1}}, abi.CodeUnknownDevice},
	})
	w.wantNotices(w.do(gate1, chain.OpAlert, flood(7)), chain.TopicGatewayAlert)
	w.must(gate1, chain.OpAlert, &chain.Alert{Kind: "handshake-flood", Count: 3, Evidence: abi.Hash{2}, Device: &lock})
	a := record(w, chain.AlertKey(gate1.id(), "handshake-flood"), chain.ParseAlerts)
	if a.Count != 10 || a.Evidence != (abi.Hash{2}) || a.Device == nil || *a.Device != lock || a.Height != w.l.Head().Height {
		t.Errorf("record is %+v", a)
	}
	w.must(gate1, chain.OpAlert, flood(math.MaxUint64))
	if a := record(w, chain.AlertKey(gate1.id(), "handshake-flood"), chain.ParseAlerts); a.Count != math.MaxUint64 {
		t.Errorf("the count ran over: %d", a.Count)
	}
	for i := 1; i < chain.MaxAlertKinds; i++ {
		w.must(gate1, chain.OpAlert, &chain.Alert{Kind: fmt.Sprint("kind-", i), Count: 1})
	}
	w.try([]attempt{
		{"of one kind too many", gate1, chain.OpAlert, &chain.Alert{Kind: "more", Count: 1}, abi.CodeTooMany},
		{"of a kind that is there", gate1, chain.OpAlert, &chain.Alert{Kind: "kind-1", Count: 1}, abi.OK},
		{"by another gateway", gate2, chain.OpAlert, &chain.Alert{Kind: "more", Count: 1}, abi.OK},
	})
}

func TestSealed(t *testing.T) {
	w := deviceWorld(t)
	lock := w.enrol("lock", nil)
	item := func(by ...person) *chain.Sealed {
		a := &chain.Sealed{Device: lock, Owner: []byte("to the owner"), Evidence: abi.Hash{1}}
		for _, p := range by {
			a.Authorities = append(a.Authorities, chain.SealedCopy{Account: p.id(), Text: []byte("to " + p)})
		}
		return a
	}
	long := item()
	long.Owner = make([]byte, chain.MaxSealed+1)
	w.try([]attempt{
		{"of an active device", gate1, chain.OpSealed, item(), abi.CodeBadStatus},
		{"stolen", owner, chain.OpDeviceStatus, set("lock", abi.StatusStolen), abi.OK},
		{"by who is no gateway", owner, chain.OpSealed, item(), abi.CodeMissingRole},
		{"of no device", gate1, chain.OpSealed, &chain.Sealed{Owner: []byte("x")}, abi.CodeUnknownDevice},
		{"to who is no authority", gate1, chain.OpSealed, item(police, nobody), abi.CodeMissingRole},
		{"to nobody", gate1, chain.OpSealed, item("stranger"), abi.CodeUnknownAccount},
		{"twice to one", gate1, chain.OpSealed, item(police, police), abi.CodeBadArgument},
		{"to too many", gate1, chain.OpSealed, item("1", "2", "3", "4", "5"), abi.CodeBadArgument},
		{"too long", gate1, chain.OpSealed, long, abi.CodeTooLarge},
	})
	w.wantNotices(w.do(gate1, chain.OpSealed, item(police, authority)), chain.TopicDeviceSealed)
	s := record(w, chain.SealedKey(lock, 1), chain.ParseSealedItem)
	if s.Account != owner.id() || s.Gateway != gate1.id() || len(s.Authorities) != 2 || s.Height != w.l.Head().Height || s.Time != w.l.Head().Time {
		t.Errorf("item is %+v", s)
	}
	for range chain.SealedKept {
		w.must(gate2, chain.OpSealed, item())
	}
	if _, there := find(w, chain.SealedKey(lock, 1), raw); there || w.count(chain.SealedCountKey(lock)) != chain.SealedKept+1 {
		t.Errorf("%d items are kept, the first %v", w.count(chain.SealedCountKey(lock))-1, there)
	}
	if n := record(w, chain.SealedCountKey(lock), parseUint); n != chain.SealedKept+1 {
		t.Errorf("count is %d", n)
	}
}
