package ledger

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

func TestRegisterManufacturer(t *testing.T) {
	w := newWorld(t, inhabited)
	w.try([]attempt{
		{"by the account itself, at first", acme, chain.OpManufacturer, vouching("Acme", acme, factory), abi.CodeMissingRole},
		{"for an unknown account", operator, chain.OpManufacturer, vouching("Acme", "stranger", factory), abi.CodeUnknownAccount},
		{"for an account without the role", operator, chain.OpManufacturer, vouching("Acme", nobody, factory), abi.CodeMissingRole},
		{"without a key", operator, chain.OpManufacturer, vouching("Acme", acme), abi.CodeBadArgument},
		{"with a key twice", operator, chain.OpManufacturer, vouching("Acme", acme, factory, factory), abi.CodeBadArgument},
		{"with too many keys", operator, chain.OpManufacturer, vouching("Acme", acme, "1", "2", "3", "4", "5", "6", "7", "8", "9"), abi.CodeTooLarge},
		{"by an operator", operator, chain.OpManufacturer, vouching("Acme", acme, factory), abi.OK},
		{"keys by another manufacturer", bolt, chain.OpManufacturer, vouching("Acme", bolt, "evil"), abi.CodeNotPermitted},
		{"to another's account by the account", acme, chain.OpManufacturer, vouching("Acme", bolt, factory), abi.CodeNotPermitted},
		{"keys by the account", acme, chain.OpManufacturer, vouching("Acme", acme, factory, "second factory"), abi.OK},
		{"the account by an operator", operator, chain.OpManufacturer, vouching("Acme", bolt, factory), abi.OK},
		{"keys by the account that was", acme, chain.OpManufacturer, vouching("Acme", acme, "evil"), abi.CodeNotPermitted},
	})
	m := record(w, chain.ManufacturerKey("Acme"), chain.ParseManufacturer)
	if m.Account != bolt.id() || !m.Vouches(factory.Public()) || m.Vouches(person("second factory").Public()) || m.Height == 0 {
		t.Errorf("record is %+v", m)
	}
}

// origins are proofs for a device "lock" and what is wrong with them.
func (w *world) origins() map[string]struct {
	origin []byte
	want   abi.Code
} {
	right := originOf("lock", keyOfAll)
	change := func(f func(*chain.DeviceOrigin)) chain.DeviceOrigin {
		o := right
		f(&o)
		return o
	}
	elsewhere, err := chain.Seal(right.Append(nil), chain.PurposeStatement, factory)
	if err != nil {
		w.t.Fatal(err)
	}
	return map[string]struct {
		origin []byte
		want   abi.Code
	}{
		"by a key that is not the manufacturer's": {w.signOrigin(right, "stranger"), abi.CodeBadOrigin},
		"by the manufacturer's account key":       {w.signOrigin(right, acme), abi.CodeBadOrigin},
		"for another device":                      {w.signOrigin(originOf("camera", keyOfAll), factory), abi.CodeBadOrigin},
		"for another serial":                      {w.signOrigin(change(func(o *chain.DeviceOrigin) { o.Serial = "1" }), factory), abi.CodeBadOrigin},
		"for another model":                       {w.signOrigin(change(func(o *chain.DeviceOrigin) { o.Model = "1" }), factory), abi.CodeBadOrigin},
		"for another key with the serial":         {w.signOrigin(change(func(o *chain.DeviceOrigin) { o.Key = person("x").Public() }), factory), abi.CodeBadOrigin},
		"by another manufacturer":                 {w.signOrigin(change(func(o *chain.DeviceOrigin) { o.Manufacturer = "Bolt" }), bolt), abi.CodeBadOrigin},
		"with a broken signature":                 {forge(w.signOrigin(right, factory)), abi.CodeBadSignature},
		"signed for another purpose":              {elsewhere, abi.CodeBadSignature},
		"that is nothing":                         {[]byte("origin"), abi.CodeMalformed},
	}
}

func TestEnrolProven(t *testing.T) {
	w := deviceWorld(t)
	for name, o := range w.origins() {
		e := w.enrolment("lock", owner, nil)
		e.Origin = o.origin
		w.try([]attempt{{"origin " + name, owner, chain.OpEnrol, e, o.want}})
	}
	o := w.do(owner, chain.OpEnrol, w.proven("lock", owner, keyOfAll))
	w.wantNotices(o, chain.TopicDeviceEnrolled)
	d := w.device("lock")
	if hash := chain.HardwareHash("Acme", []byte(keyOfAll)); d.Proven != w.l.Head().Height || d.Hardware == nil || *d.Hardware != hash {
		t.Errorf("device is %+v", d)
	}
	unproven := w.enrolment("toy", owner, nil)
	w.wantNotices(w.do(owner, chain.OpEnrol, unproven), chain.TopicDeviceEnrolled)
	if d := w.device("toy"); d.Proven != 0 || d.Hardware != nil {
		t.Errorf("device without proof is %+v", d)
	}
	unknown := w.enrolmentOf("valve", &chain.Enrolment{Owner: owner.id(), Manufacturer: "Bolt", Model: "m", Serial: "1"}, nil)
	unknown.Origin = w.signOrigin(chain.DeviceOrigin{Manufacturer: "Bolt", Model: "m", Serial: "1", Key: person("valve").Public()}, bolt)
	w.want(w.do(owner, chain.OpEnrol, unknown), abi.CodeUnknownManufacturer)
	w.must(operator, chain.OpGrant, &chain.Grant{Key: acme.Public()}) // no manufacturer any more
	w.want(w.do(owner, chain.OpEnrol, w.proven("valve", owner, keyOfAll)), abi.CodeUnknownManufacturer)
}

func TestProveOrigin(t *testing.T) {
	w := deviceWorld(t)
	w.enrol("lock", nil)
	prove := func(raw []byte) *chain.ProveOrigin {
		return &chain.ProveOrigin{Device: person("lock").id(), Origin: raw}
	}
	for name, o := range w.origins() {
		w.try([]attempt{{"origin " + name, nobody, chain.OpOrigin, prove(o.origin), o.want}})
	}
	good := w.signOrigin(originOf("lock", keyOfAll), factory)
	w.must("lock", chain.OpRotate, w.rotation("lock", "lock's second key", w.l.Head().Time+hour))
	w.try([]attempt{
		{"of no device", nobody, chain.OpOrigin, &chain.ProveOrigin{Device: abi.Hash{1}, Origin: good}, abi.CodeUnknownDevice},
		{"of another device", nobody, chain.OpOrigin, &chain.ProveOrigin{Device: w.enrol("camera", nil), Origin: good}, abi.CodeBadOrigin},
	})
	w.wantNotices(w.do(nobody, chain.OpOrigin, prove(good)), chain.TopicDeviceProven)
	if d := w.device("lock"); d.Proven != w.l.Head().Height || d.Hardware == nil {
		t.Errorf("device is %+v", d)
	}
	w.want(w.do(nobody, chain.OpOrigin, prove(good)), abi.CodeBadOrigin)
}

func TestTransfer(t *testing.T) {
	w := deviceWorld(t)
	w.deploy(developer, "watch")
	w.must(owner, chain.OpEnrol, w.enrolment("lock", owner, chain.Labels{"floor": "3"}))
	w.must(owner, chain.OpBindDevice, &chain.BindDevice{Device: person("lock").id(), Contracts: []string{"watch"}})
	right := w.accepts("lock", owner, other, 0)
	past, err := chain.SignStatement(&chain.Statement{Chain: w.l.ChainID(), Kind: chain.StatementTransfer, Expiry: start - 1,
		Body: (&chain.Acceptance{Device: person("lock").id(), Owner: owner.id()}).Append(nil)}, other)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := w.signed(chain.StatementEnrol, (&chain.Acceptance{Device: person("lock").id(), Owner: owner.id()}).Append(nil), other)
	w.plain("robot", other)
	w.must(operator, chain.OpGrant, &chain.Grant{Key: person("robot").Public(), Roles: abi.RoleOwner})
	w.try([]attempt{
		{"to another device that has the role", owner, chain.OpTransfer, w.accepts("lock", owner, "robot", 0), abi.CodeMissingRole},
		{"of no device", owner, chain.OpTransfer, &chain.Transfer{Device: abi.Hash{1}, Statement: right.Statement}, abi.CodeUnknownDevice},
		{"of someone else's device", other, chain.OpTransfer, right, abi.CodeNotPermitted},
		{"by an operator", operator, chain.OpTransfer, right, abi.CodeNotPermitted},
		{"to oneself", owner, chain.OpTransfer, w.accepts("lock", owner, owner, 0), abi.CodeBadArgument},
		{"to one who is no owner", owner, chain.OpTransfer, w.accepts("lock", owner, nobody, 0), abi.CodeMissingRole},
		{"to a key without account", owner, chain.OpTransfer, w.accepts("lock", owner, "stranger", 0), abi.CodeUnknownAccount},
		{"to the device itself", owner, chain.OpTransfer, w.accepts("lock", owner, "lock", 0), abi.CodeMissingRole},
		{"accepted for another device", owner, chain.OpTransfer, w.swapped("lock", w.accepts("toy", owner, other, 0)), abi.CodeNotPermitted},
		{"accepted from another owner", owner, chain.OpTransfer, w.accepts("lock", authority, other, 0), abi.CodeNotPermitted},
		{"accepted long ago", owner, chain.OpTransfer, &chain.Transfer{Device: right.Device, Statement: past}, abi.CodeExpired},
		{"accepted as something else", owner, chain.OpTransfer, &chain.Transfer{Device: right.Device, Statement: elsewhere}, abi.CodeBadArgument},
		{"with a broken signature", owner, chain.OpTransfer, &chain.Transfer{Device: right.Device, Statement: forge(right.Statement)}, abi.CodeBadSignature},
		{"quarantined", authority, chain.OpDeviceStatus, set("lock", abi.StatusQuarantined), abi.OK},
	})
	w.wantNotices(w.do(owner, chain.OpTransfer, right), chain.TopicDeviceTransferred)
	d := w.wantDevice("lock", abi.StatusQuarantined)
	if d.Owner != other.id() || d.Labels != nil || d.Contracts != nil || d.Transferred != w.l.Head().Height {
		t.Errorf("device is %+v", d)
	}
	if a := record(w, chain.AccountKey(person("lock").id()), chain.ParseAccount); a.Owner == nil || *a.Owner != other.id() {
		t.Errorf("account is %+v", a)
	}
	w.want(w.do(owner, chain.OpDeviceStatus, set("lock", abi.StatusActive)), abi.CodeNotPermitted)
	w.must(other, chain.OpDeviceStatus, set("lock", abi.StatusActive))
	w.must(other, chain.OpTransfer, w.accepts("lock", other, owner, d.Transferred))
	w.try([]attempt{{"with the acceptance of last time", owner, chain.OpTransfer, right, abi.CodeNotPermitted}})
	again := w.accepts("lock", owner, other, w.device("lock").Transferred)
	for _, s := range []abi.Status{abi.StatusStolen, abi.StatusRetired} {
		w.must(owner, chain.OpDeviceStatus, set("lock", s))
		w.want(w.do(owner, chain.OpTransfer, again), abi.CodeDeviceInactive)
	}
}

// swapped puts another device's acceptance into a transfer.
func (w *world) swapped(device person, a *chain.Transfer) *chain.Transfer {
	return &chain.Transfer{Device: device.id(), Statement: a.Statement}
}

// Who has taken a device over pays for it, and a decision sees it at once.
func TestTransferMovesThePayer(t *testing.T) {
	w := deviceWorld(t)
	w.deploy(developer, "c")
	w.enrol("lock", nil)
	left := func(p person) uint64 {
		q, ok := find(w, chain.QuotaKey(p.id()), chain.ParseQuota)
		if !ok {
			return chain.DefaultParams().GasQuota
		}
		return q.Gas
	}
	w.must(owner, chain.OpTransfer, w.accepts("lock", owner, other, 0))
	mine, theirs := left(owner), left(other)
	w.want(w.run("lock", "c", do('s', 0, "k", "v")), abi.OK)
	if left(owner) < mine || left(other) >= theirs {
		t.Error("the giver pays still")
	}
}

func TestBindDevice(t *testing.T) {
	w := deviceWorld(t)
	w.deploy(developer, "a", "b")
	w.enrol("lock", nil)
	bind := func(names ...string) *chain.BindDevice {
		return &chain.BindDevice{Device: person("lock").id(), Contracts: names}
	}
	w.try([]attempt{
		{"someone else's device", other, chain.OpBindDevice, bind("a"), abi.CodeNotPermitted},
		{"by an operator", operator, chain.OpBindDevice, bind("a"), abi.CodeNotPermitted},
		{"no device", owner, chain.OpBindDevice, &chain.BindDevice{Device: abi.Hash{1}, Contracts: []string{"a"}}, abi.CodeUnknownDevice},
		{"to no contract", owner, chain.OpBindDevice, bind("a", "none"), abi.CodeUnknownContract},
		{"to a contract twice", owner, chain.OpBindDevice, bind("a", "a"), abi.CodeBadArgument},
		{"to five", owner, chain.OpBindDevice, bind("a", "b", "c", "d", "e"), abi.CodeTooLarge},
	})
	w.wantNotices(w.do(owner, chain.OpBindDevice, bind("a", "b")), chain.TopicDeviceBound)
	if d := w.device("lock"); !slices.Equal(d.Contracts, []string{"a", "b"}) || !d.Judges("b") || d.Judges("c") {
		t.Errorf("device is %+v", d)
	}
	w.must(owner, chain.OpBindDevice, bind())
	if d := w.device("lock"); d.Contracts != nil {
		t.Errorf("device is %+v", d)
	}
	if n := w.count([]byte{'e'}); n != 0 {
		t.Errorf("%d records of evidence are left", n)
	}
	w.must(owner, chain.OpDeviceStatus, set("lock", abi.StatusRetired))
	w.want(w.do(owner, chain.OpBindDevice, bind("a")), abi.CodeDeviceInactive)
}

// Earlier versions know nothing of it: operations, fields and events.
func TestDevicesBeforeVersion3(t *testing.T) {
	w := newWorld(t, func(g *chain.Genesis) {
		inhabited(g)
		g.Params.Protocol = 2
	})
	for op := chain.OpManufacturer; op <= chain.OpSealed; op++ {
		o := w.do(operator, op, encoded{0xa0})
		w.want(o, abi.CodeUnknownOp)
		if o.Gas != gasTx+gasByte {
			t.Errorf("%v costs %d", op, o.Gas)
		}
	}
	w.want(w.do(owner, chain.OpEnrol, w.proven("lock", owner, keyOfAll)), abi.CodeBadArgument)
	o := w.do(owner, chain.OpEnrol, w.enrolment("lock", owner, nil))
	w.wantNotices(o)
	w.wantNotices(w.do(authority, chain.OpDeviceStatus, set("lock", abi.StatusStolen)))
	if n := w.count(chain.BlacklistPrefix()); n != 0 {
		t.Error("the blacklist is older than version 3")
	}
	w.wantNotices(w.do(owner, chain.OpDeviceStatus, &chain.DeviceStatus{Device: person("lock").id(), Status: abi.StatusSuspended}))
	w.wantNotices(w.do(owner, chain.OpDeviceStatus, &chain.DeviceStatus{Device: person("lock").id(), Status: abi.StatusActive}))
	stolen := proposal(chain.ProposeStolen, &chain.DeclareStolen{Device: person("lock").id(), Reason: "r"})
	w.want(w.do(operator, chain.OpPropose, stolen), abi.CodeUnknownOp)
}

// What a notice says is cut to what a record holds, never within a character.
func TestClip(t *testing.T) {
	for _, s := range []string{"", "short", strings.Repeat("x", chain.MaxText), strings.Repeat("ä", chain.MaxText), "x" + strings.Repeat("€", 90)} {
		c := clip(s)
		if len(c) > chain.MaxText || len(s) <= chain.MaxText && c != s || !strings.HasPrefix(s, c) || !bytes.Equal([]byte(strings.ToValidUTF8(c, "")), []byte(c)) {
			t.Errorf("%q became %q", s, c)
		}
	}
}
