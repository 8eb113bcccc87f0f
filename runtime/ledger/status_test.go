package ledger

import (
	"encoding/binary"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// Whoever lets a suspended or quarantined device go says why; going the other
// way, or on within what is forbidden, takes no words.
func TestReleaseNeedsReason(t *testing.T) {
	w := deviceWorld(t)
	w.enrol("lock", nil)
	lock := person("lock").id()
	silent := func(s abi.Status) *chain.DeviceStatus { return &chain.DeviceStatus{Device: lock, Status: s} }
	w.try([]attempt{
		{"suspend", owner, chain.OpDeviceStatus, silent(abi.StatusSuspended), abi.OK},
		{"release without a word", owner, chain.OpDeviceStatus, silent(abi.StatusActive), abi.CodeReasonRequired},
		{"by the authority either", authority, chain.OpDeviceStatus, silent(abi.StatusActive), abi.CodeReasonRequired},
		{"quarantine", operator, chain.OpDeviceStatus, silent(abi.StatusQuarantined), abi.OK},
		{"to suspended without a word", operator, chain.OpDeviceStatus, silent(abi.StatusSuspended), abi.CodeReasonRequired},
		{"by another owner", other, chain.OpDeviceStatus, set("lock", abi.StatusActive), abi.CodeNotPermitted},
		{"by a gateway", gate1, chain.OpDeviceStatus, set("lock", abi.StatusActive), abi.CodeNotPermitted},
		{"by the manufacturer", acme, chain.OpDeviceStatus, set("lock", abi.StatusActive), abi.CodeNotPermitted},
	})
	w.wantNotices(w.do(authority, chain.OpDeviceStatus, set("lock", abi.StatusActive)), chain.TopicDeviceStatus)
	if d := w.wantDevice("lock", abi.StatusActive); d.Reason != "because" || d.SetBy == nil || *d.SetBy != authority.id() {
		t.Errorf("device is %+v", d)
	}
}

// A theft puts serial and hardware on the blacklist: neither comes back under
// another key, until the owner has the device again.
func TestTheftBlacklists(t *testing.T) {
	w := deviceWorld(t)
	w.must(owner, chain.OpEnrol, w.proven("lock", owner, keyOfAll))
	w.wantNotices(w.do(owner, chain.OpDeviceStatus, set("lock", abi.StatusStolen)), chain.TopicBlacklistChanged, chain.TopicDeviceStatus)
	l := record(w, chain.BlacklistKey("Acme", "serial of lock"), chain.ParseListing)
	if l.By == nil || *l.By != owner.id() || l.Reason != "because" || l.Hardware == nil || l.Serial != "serial of lock" {
		t.Errorf("listing is %+v", l)
	}
	reset := w.enrolmentOf("reset lock", &chain.Enrolment{Owner: other.id(), Manufacturer: "Acme", Model: "Lock 2", Serial: "serial of lock"}, nil)
	board := w.proven("new board", other, keyOfAll)
	w.try([]attempt{
		{"after a factory reset", other, chain.OpEnrol, reset, abi.CodeBlacklisted},
		{"its hardware under another serial", other, chain.OpEnrol, board, abi.CodeBlacklisted},
		{"found by the authority", authority, chain.OpDeviceStatus, set("lock", abi.StatusActive), abi.CodeBadStatus},
		{"off the list by the owner", owner, chain.OpBlacklist, &chain.Blacklist{Manufacturer: "Acme", Serial: "serial of lock", Reason: "r"}, abi.CodeDeviceInactive},
		{"off the list by the manufacturer", acme, chain.OpBlacklist, &chain.Blacklist{Manufacturer: "Acme", Serial: "serial of lock", Reason: "r"}, abi.CodeDeviceInactive},
		{"proof of origin for such hardware", other, chain.OpOrigin, &chain.ProveOrigin{Device: w.plain("bare board", other), Origin: w.signOrigin(originOf("bare board", keyOfAll), factory)}, abi.CodeBlacklisted},
	})
	w.wantNotices(w.do(owner, chain.OpDeviceStatus, set("lock", abi.StatusActive)), chain.TopicBlacklistChanged, chain.TopicDeviceStatus)
	w.try([]attempt{
		{"the serial is taken all the same", other, chain.OpEnrol, reset, abi.CodeSerialTaken},
		{"the hardware is free", other, chain.OpEnrol, board, abi.OK},
	})
	if n := w.count(chain.BlacklistPrefix()) + w.count([]byte{'H'}); n != 0 {
		t.Errorf("%d entries are left", n)
	}
}

// plain enrols a device without a proof.
func (w *world) plain(device, of person) abi.Hash {
	w.t.Helper()
	w.must(of, chain.OpEnrol, w.enrolment(device, of, nil))
	return device.id()
}

// An authority's word lists as well, an operator's sets the status alone, and a
// stolen device that is retired stays listed.
func TestWhoseWordLists(t *testing.T) {
	w := deviceWorld(t)
	for _, name := range []person{"a", "b", "c"} {
		w.enrol(name, nil)
	}
	w.must(authority, chain.OpDeviceStatus, set("a", abi.StatusStolen))
	w.must(operator, chain.OpDeviceStatus, set("b", abi.StatusStolen))
	w.must(owner, chain.OpDeviceStatus, set("c", abi.StatusStolen))
	w.must(owner, chain.OpDeviceStatus, set("c", abi.StatusRetired))
	w.must(owner, chain.OpDeviceStatus, set("b", abi.StatusActive))
	for name, want := range map[string]bool{"a": true, "b": false, "c": true} {
		if _, listed := find(w, chain.BlacklistKey("Acme", "serial of "+name), chain.ParseListing); listed != want {
			t.Errorf("%s is listed: %v", name, listed)
		}
	}
}

// What contracts may do to a device's status.
func TestStatusByContract(t *testing.T) {
	w := deviceWorld(t)
	w.deploy(other, "own")        // a contract of the device's owner
	w.deploy(developer, "bound")  // another's, which the owner lets judge
	w.deploy(developer, "nosing") // another's
	w.must(other, chain.OpEnrol, w.enrolment("lock", other, nil))
	lock := person("lock").id()
	w.must(other, chain.OpBindDevice, &chain.BindDevice{Device: lock, Contracts: []string{"bound"}})
	by := func(contract string, s abi.Status) abi.Code {
		o := w.run(nobody, contract, do('S', int64(s), string(lock[:]), "r"))
		return abi.Code(-int32(binary.LittleEndian.Uint32(o.Result)))
	}
	for _, tt := range []struct {
		from     abi.Status
		contract string
		to       abi.Status
		want     abi.Code
	}{
		{abi.StatusActive, "nosing", abi.StatusQuarantined, abi.CodeNotPermitted},
		{abi.StatusActive, "bound", abi.StatusStolen, abi.CodeNotPermitted},
		{abi.StatusActive, "bound", abi.StatusRetired, abi.CodeNotPermitted},
		{abi.StatusActive, "bound", abi.StatusActive, abi.OK},
		{abi.StatusActive, "bound", abi.StatusSuspended, abi.OK},
		{abi.StatusSuspended, "bound", abi.StatusQuarantined, abi.OK},
		{abi.StatusQuarantined, "bound", abi.StatusSuspended, abi.CodeNotPermitted},
		{abi.StatusQuarantined, "bound", abi.StatusActive, abi.CodeNotPermitted},
		{abi.StatusQuarantined, "own", abi.StatusActive, abi.CodeNotPermitted},
		{abi.StatusActive, "own", abi.StatusStolen, abi.OK},
		{abi.StatusStolen, "own", abi.StatusActive, abi.CodeBadStatus},
		{abi.StatusStolen, "bound", abi.StatusQuarantined, abi.CodeBadStatus},
	} {
		w.must(other, chain.OpDeviceStatus, set("lock", tt.from))
		before := w.device("lock")
		if got := by(tt.contract, tt.to); got != tt.want {
			t.Errorf("%v -> %v by %s: %v, want %v", tt.from, tt.to, tt.contract, got, tt.want)
		}
		after := w.device("lock")
		if tt.want != abi.OK && after.Status != before.Status {
			t.Errorf("%v -> %v by %s: it is %v", tt.from, tt.to, tt.contract, after.Status)
		}
		if tt.want == abi.OK && (after.Status != tt.to || tt.to != tt.from && after.SetBy != nil) {
			t.Errorf("%v -> %v by %s: %+v", tt.from, tt.to, tt.contract, after)
		}
	}
}

// Two of three guardians declare a device stolen, at once.
func TestGuardiansDeclareStolen(t *testing.T) {
	w := deviceWorld(t)
	guarded(w)
	w.must(owner, chain.OpEnrol, w.proven("lock", owner, keyOfAll))
	stolen := func(d person) *chain.Propose {
		return proposal(chain.ProposeStolen, &chain.DeclareStolen{Device: d.id(), Reason: "the owner is in hospital"})
	}
	w.plain("camera", other)
	w.try([]attempt{
		{"by nobody's guardian", nobody, chain.OpPropose, stolen("lock"), abi.CodeNotPermitted},
		{"by an operator", operator, chain.OpPropose, stolen("lock"), abi.CodeNotPermitted},
		{"by the owner", owner, chain.OpPropose, stolen("lock"), abi.CodeNotPermitted},
		{"of an owner without guardians", other, chain.OpPropose, stolen("camera"), abi.CodeNotPermitted},
		{"of no device", other, chain.OpPropose, stolen("none"), abi.CodeUnknownDevice},
	})
	objected := w.put(other, stolen("lock"))
	w.must(owner, chain.OpReject, &chain.Vote{Proposal: objected, Reason: "it is here"})
	w.wantStatus(objected, chain.ProposalRejected, abi.OK)
	w.wantNotices(w.do(door, chain.OpPropose, stolen("lock"))) // what is rehearsed has not happened
	number := w.put(other, stolen("lock"))
	w.wantDevice("lock", abi.StatusActive)
	w.wantNotices(w.vote(authority, chain.OpApprove, number), chain.TopicBlacklistChanged, chain.TopicDeviceStatus, chain.TopicGovernance)
	p := w.wantStatus(number, chain.ProposalExecuted, abi.OK)
	if was, err := chain.ParseDevice(p.Before); err != nil || was.Status != abi.StatusActive {
		t.Errorf("the device before: %+v, %v", was, err)
	}
	d := w.wantDevice("lock", abi.StatusStolen)
	if d.SetBy == nil || *d.SetBy != owner.id() || d.Reason != "the owner is in hospital" {
		t.Errorf("device is %+v", d)
	}
	w.want(w.do(other, chain.OpPropose, stolen("lock")), abi.CodeBadStatus)
	w.must(owner, chain.OpDeviceStatus, set("lock", abi.StatusActive))
	if n := w.count(chain.BlacklistPrefix()); n != 0 {
		t.Error("it is listed still")
	}
}

// The guardians of who has sold the device have no say any more.
func TestGuardiansOfThePresentOwner(t *testing.T) {
	w := deviceWorld(t)
	guarded(w)
	w.enrol("lock", nil)
	number := w.put(authority, proposal(chain.ProposeStolen, &chain.DeclareStolen{Device: person("lock").id(), Reason: "r"}))
	w.must(owner, chain.OpTransfer, w.accepts("lock", owner, other, 0))
	w.want(w.vote(door, chain.OpApprove, number), abi.CodeNotPermitted)
	w.wantDevice("lock", abi.StatusActive)
	w.wait(chain.DefaultParams().ActivationDelay + 8*24*hour)
	w.wantStatus(number, chain.ProposalExpired, abi.OK)
}
