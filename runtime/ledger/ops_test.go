package ledger

import (
	"bytes"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// encoded is arguments that are given as bytes.
type encoded []byte

func (e encoded) Append(b []byte) []byte { return append(b, e...) }

// attempt is one operation and what comes of it.
type attempt struct {
	name string
	by   person
	op   chain.Op
	args argument
	want abi.Code
}

// try runs attempts one after another. A refused one must change nothing but
// its payer's quota and the guards.
func (w *world) try(list []attempt) {
	w.t.Helper()
	for _, a := range list {
		before := w.dump()
		o := w.do(a.by, a.op, a.args)
		if o.Code != a.want {
			w.t.Errorf("%s: %v, want %v", a.name, o.Code, a.want)
		}
		if o.Code != abi.OK && !bytes.Equal(before, w.dump()) {
			w.t.Errorf("%s: it was refused but left changes", a.name)
		}
	}
}

// dump is the state without quotas, guards and the next timer's number.
func (w *world) dump() []byte {
	w.t.Helper()
	v, err := w.store.View()
	if err != nil {
		w.t.Fatal(err)
	}
	defer v.Release()
	var all []byte
	for space := range 256 {
		switch space {
		case 'q', 'w', 'l', 'N':
			continue
		}
		err := each(cold{v}, []byte{byte(space)}, func(key, value []byte) (bool, error) {
			all = append(append(append(all, key...), 0), value...)
			return true, nil
		})
		if err != nil {
			w.t.Fatal(err)
		}
	}
	return all
}

func TestGrant(t *testing.T) {
	w := newWorld(t, nil)
	fresh := person("fresh").Public()
	w.try([]attempt{
		{"by a developer", developer, chain.OpGrant, &chain.Grant{Key: fresh}, abi.CodeMissingRole},
		{"a validator", operator, chain.OpGrant, &chain.Grant{Key: fresh, Roles: abi.RoleValidator}, abi.CodeNotPermitted},
		{"of a bad key", operator, chain.OpGrant, encoded{0xa2, 1, 0x41, 1, 2, 0}, abi.CodeBadKey},
		{"of unknown roles", operator, chain.OpGrant, &chain.Grant{Key: fresh, Roles: abi.AllRoles + 1}, abi.CodeBadArgument},
		{"without arguments", operator, chain.OpGrant, encoded{0xa0}, abi.CodeBadArgument},
		{"new account", operator, chain.OpGrant, &chain.Grant{Key: fresh, Roles: abi.RoleGateway, X25519: make([]byte, 32), GasQuota: 7, StorageQuota: 8}, abi.OK},
		{"to validator", operator, chain.OpGrant, &chain.Grant{Key: fresh, Roles: abi.RoleGateway | abi.RoleValidator}, abi.CodeNotPermitted},
		{"from validator", operator, chain.OpGrant, &chain.Grant{Key: validator.Public()}, abi.CodeNotPermitted},
		{"a validator's other roles", operator, chain.OpGrant, &chain.Grant{Key: validator.Public(), Roles: abi.RoleValidator | abi.RoleGateway}, abi.OK},
		{"an operator resigns", operator, chain.OpGrant, &chain.Grant{Key: operator.Public()}, abi.CodeNotPermitted},
		{"an operator has more", operator, chain.OpGrant, &chain.Grant{Key: operator.Public(), Roles: abi.RoleOperator | abi.RoleOwner}, abi.OK},
		{"a second operator", operator, chain.OpGrant, &chain.Grant{Key: fresh, Roles: abi.RoleOperator}, abi.OK},
		{"takes the role from the first", "fresh", chain.OpGrant, &chain.Grant{Key: operator.Public(), Roles: abi.RoleOwner}, abi.OK},
		{"who is none any more", operator, chain.OpGrant, &chain.Grant{Key: operator.Public(), Roles: abi.RoleOperator}, abi.CodeMissingRole},
		{"a rotated key", nobody, chain.OpRotate, w.rotation(nobody, "second key", start+3_600_000), abi.OK},
		{"is not granted anew", "fresh", chain.OpGrant, &chain.Grant{Key: nobody.Public()}, abi.CodeAccountExists},
	})
	a := record(w, chain.AccountKey(person("fresh").id()), chain.ParseAccount)
	if a.Roles != abi.RoleOperator || len(a.X25519) != 32 || a.GasQuota != 0 || a.Created == 0 {
		t.Errorf("account is %+v", a)
	}
}

// Two operators cannot take the role from each other: one is always left.
func TestOneOperatorIsLeft(t *testing.T) {
	w := newWorld(t, nil)
	w.must(operator, chain.OpGrant, &chain.Grant{Key: nobody.Public(), Roles: abi.RoleOperator})
	list := w.block(
		w.tx(operator, chain.OpGrant, &chain.Grant{Key: nobody.Public()}),
		w.tx(nobody, chain.OpGrant, &chain.Grant{Key: operator.Public()}))
	w.want(list[0], abi.OK)
	w.want(list[1], abi.CodeMissingRole)
}

func TestRotate(t *testing.T) {
	w := newWorld(t, nil)
	in := int64(start + 3_600_000)
	other := w.rotation(owner, "k2", in)
	past := w.rotation(nobody, "k2", start-1)
	enrol := &chain.Rotate{Statement: w.enrolment("k2", nobody, nil).Statement}
	w.try([]attempt{
		{"statement for another account", nobody, chain.OpRotate, other, abi.CodeNotPermitted},
		{"statement that is over", nobody, chain.OpRotate, past, abi.CodeExpired},
		{"statement of another kind", nobody, chain.OpRotate, enrol, abi.CodeBadArgument},
		{"statement with a broken signature", nobody, chain.OpRotate, &chain.Rotate{Statement: forge(w.rotation(nobody, "k2", in).Statement)}, abi.CodeBadSignature},
		{"to a key that has an account", nobody, chain.OpRotate, w.rotation(nobody, owner, in), abi.CodeAccountExists},
		{"to its own key", nobody, chain.OpRotate, w.rotation(nobody, nobody, in), abi.CodeAccountExists},
		{"to a new key", nobody, chain.OpRotate, w.rotation(nobody, "k2", in), abi.OK},
	})
	a := record(w, chain.AccountKey(nobody.id()), chain.ParseAccount)
	if !bytes.Equal(a.Key, person("k2").Public()) {
		t.Error("the account has its old key")
	}
	w.want(w.do(nobody, chain.OpRotate, w.rotation(nobody, "k3", in)), abi.CodeKeyNotCurrent)
	w.must("k2", chain.OpRotate, w.rotation(nobody, "k3", in))
	w.want(w.do("k2", chain.OpCall, &chain.Call{Contract: "c"}), abi.CodeUnknownAccount)
	w.want(w.do("k3", chain.OpRotate, w.rotation(nobody, nobody, in)), abi.CodeAccountExists)
	if s, err := w.l.Standing(nobody.Public()); err != nil || s.Known {
		t.Errorf("the first key still stands: %+v, %v", s, err)
	}
	if s, err := w.l.Standing(person("k3").Public()); err != nil || !s.Known || s.Account != nobody.id() {
		t.Errorf("the newest key does not stand: %+v, %v", s, err)
	}
}

func TestEnrol(t *testing.T) {
	w := newWorld(t, nil)
	lock := func() *chain.Enrol { return w.enrolment("lock", owner, chain.Labels{"floor": "3"}) }
	same := chain.Enrolment{Owner: owner.id(), Manufacturer: "Acme", Model: "other", Serial: "serial of lock"}
	elsewhere := same
	elsewhere.Manufacturer = "Bolt"
	broken := lock()
	broken.Statement = forge(broken.Statement)
	rotation := &chain.Enrol{Statement: w.rotation(owner, "lock", start+3_600_000).Statement}
	w.try([]attempt{
		{"by no owner", nobody, chain.OpEnrol, w.enrolment("lock", nobody, nil), abi.CodeMissingRole},
		{"for another owner", other, chain.OpEnrol, lock(), abi.CodeNotPermitted},
		{"broken statement", owner, chain.OpEnrol, broken, abi.CodeBadSignature},
		{"statement of another kind", owner, chain.OpEnrol, rotation, abi.CodeBadArgument},
		{"key of an account", owner, chain.OpEnrol, w.enrolment(other, owner, nil), abi.CodeAccountExists},
		{"a device", owner, chain.OpEnrol, lock(), abi.OK},
		{"again", owner, chain.OpEnrol, lock(), abi.CodeDeviceExists},
		{"its serial under another key", owner, chain.OpEnrol, w.enrolmentOf("copy", &same, nil), abi.CodeSerialTaken},
		{"the serial of another maker", owner, chain.OpEnrol, w.enrolmentOf("copy", &elsewhere, nil), abi.OK},
		{"retired", owner, chain.OpDeviceStatus, &chain.DeviceStatus{Device: person("lock").id(), Status: abi.StatusRetired}, abi.OK},
		{"a retired one's serial", owner, chain.OpEnrol, w.enrolmentOf("lock 2", &same, nil), abi.CodeSerialTaken},
	})
	expired, err := chain.SignStatement(&chain.Statement{Chain: w.l.ChainID(), Kind: chain.StatementEnrol, Expiry: start, Body: same.Append(nil)}, person("late"))
	if err != nil {
		t.Fatal(err)
	}
	w.want(w.do(owner, chain.OpEnrol, &chain.Enrol{Statement: expired}), abi.CodeExpired)
	d := record(w, chain.DeviceKey(person("lock").id()), chain.ParseDevice)
	if d.Owner != owner.id() || d.Labels["floor"] != "3" || d.Status != abi.StatusRetired || d.Enrolled == 0 || d.Since <= d.Enrolled {
		t.Errorf("device is %+v", d)
	}
	a := record(w, chain.AccountKey(person("lock").id()), chain.ParseAccount)
	if a.Owner == nil || *a.Owner != owner.id() || a.Roles != 0 {
		t.Errorf("account is %+v", a)
	}
}

func TestDeviceStatus(t *testing.T) {
	w := newWorld(t, nil)
	id := w.enrol("lock", nil)
	set := func(name string, by person, s abi.Status, want abi.Code) attempt {
		return attempt{name, by, chain.OpDeviceStatus, &chain.DeviceStatus{Device: id, Status: s, Reason: name}, want}
	}
	w.try([]attempt{
		{"unknown", owner, chain.OpDeviceStatus, &chain.DeviceStatus{Device: owner.id(), Status: abi.StatusStolen}, abi.CodeUnknownDevice},
		set("by a stranger", other, abi.StatusSuspended, abi.CodeNotPermitted),
		set("by itself", "lock", abi.StatusSuspended, abi.CodeNotPermitted),
		set("of no kind", owner, 9, abi.CodeBadStatus),
		set("owner suspends", owner, abi.StatusSuspended, abi.OK),
		set("it is not heard", "lock", abi.StatusActive, abi.CodeDeviceInactive),
		set("operator lifts it", operator, abi.StatusActive, abi.OK),
		set("authority reports a theft", authority, abi.StatusStolen, abi.OK),
		set("operator cannot end it", operator, abi.StatusActive, abi.CodeBadStatus),
		set("authority cannot end it", authority, abi.StatusSuspended, abi.CodeBadStatus),
		set("owner ends it", owner, abi.StatusActive, abi.OK),
		set("owner retires it", owner, abi.StatusRetired, abi.OK),
		set("for ever", owner, abi.StatusActive, abi.CodeBadStatus),
		set("for operators, too", operator, abi.StatusSuspended, abi.CodeBadStatus),
	})
	d := record(w, chain.DeviceKey(id), chain.ParseDevice)
	if d.Reason != "owner retires it" || d.SetBy == nil || *d.SetBy != owner.id() {
		t.Errorf("device is %+v", d)
	}
}

func TestBind(t *testing.T) {
	w := newWorld(t, nil)
	w.deploy(developer, "mine")
	w.deploy(other, "theirs")
	w.try([]attempt{
		{"no contract", operator, chain.OpBind, &chain.Bind{Domain: "d", Contract: "none"}, abi.CodeUnknownContract},
		{"bad name", operator, chain.OpBind, &chain.Bind{Domain: "D", Contract: "mine"}, abi.CodeBadArgument},
		{"by a stranger", nobody, chain.OpBind, &chain.Bind{Domain: "d", Contract: "mine"}, abi.CodeNotPermitted},
		{"by the contract's owner", developer, chain.OpBind, &chain.Bind{Domain: "d", Contract: "mine"}, abi.OK},
		{"taken", other, chain.OpBind, &chain.Bind{Domain: "d", Contract: "theirs"}, abi.CodeDomainTaken},
		{"to another's contract", developer, chain.OpBind, &chain.Bind{Domain: "d", Contract: "theirs"}, abi.CodeNotPermitted},
		{"by an operator", operator, chain.OpBind, &chain.Bind{Domain: "d", Contract: "theirs"}, abi.OK},
		{"which takes it", developer, chain.OpBind, &chain.Bind{Domain: "d", Contract: "mine"}, abi.CodeDomainTaken},
	})
}

func TestTokens(t *testing.T) {
	w := newWorld(t, nil)
	token := abi.Hash{1}
	issue := chain.IssueToken{Token: token, Account: door.id(), Domain: "default", Expiry: start + 600_000, Note: "door"}
	with := func(change func(*chain.IssueToken)) *chain.IssueToken {
		a := issue
		a.Token = abi.Hash{2}
		change(&a)
		return &a
	}
	w.try([]attempt{
		{"by no operator", owner, chain.OpIssueToken, &issue, abi.CodeMissingRole},
		{"for nobody", operator, chain.OpIssueToken, with(func(a *chain.IssueToken) { a.Account = abi.Hash{9} }), abi.CodeUnknownAccount},
		{"for no enforcement point", operator, chain.OpIssueToken, with(func(a *chain.IssueToken) { a.Account = owner.id() }), abi.CodeMissingRole},
		{"over", operator, chain.OpIssueToken, with(func(a *chain.IssueToken) { a.Expiry = start }), abi.CodeExpired},
		{"issued", operator, chain.OpIssueToken, &issue, abi.OK},
		{"twice", operator, chain.OpIssueToken, &issue, abi.CodeBadArgument},
		{"no such token", operator, chain.OpRevokeToken, &chain.RevokeToken{Token: abi.Hash{3}}, abi.CodeNotFound},
		{"revoked by a stranger", owner, chain.OpRevokeToken, &chain.RevokeToken{Token: token}, abi.CodeMissingRole},
	})
	got, err := w.l.Token(token)
	if err != nil || got.Account != door.id() || got.Domain != "default" {
		t.Fatalf("token: %+v, %v", got, err)
	}
	unauthenticated := func(what string) {
		t.Helper()
		_, err := w.l.Token(token)
		wantCode(t, what, err, abi.CodeNotAuthenticated)
	}
	if _, err := w.l.Token(abi.Hash{7}); err != error(abi.CodeNotAuthenticated) {
		t.Errorf("unknown token: %v", err)
	}
	w.must(operator, chain.OpGrant, &chain.Grant{Key: door.Public()})
	unauthenticated("of an account that lost the role")
	w.must(operator, chain.OpGrant, &chain.Grant{Key: door.Public(), Roles: abi.RoleEnforcementPoint})
	if _, err := w.l.Token(token); err != nil {
		t.Fatal(err)
	}
	now := w.now
	w.now = issue.Expiry
	unauthenticated("expired")
	w.now = now
	w.must(door, chain.OpRevokeToken, &chain.RevokeToken{Token: token})
	unauthenticated("revoked")
	w.want(w.do(operator, chain.OpIssueToken, &issue), abi.CodeBadArgument)
}

func TestUnknownOp(t *testing.T) {
	w := newWorld(t, nil)
	for _, op := range []chain.Op{0, chain.OpSealed + 1, 1 << 40} {
		o := w.do(owner, op, encoded{0xa0})
		w.want(o, abi.CodeUnknownOp)
		if o.Gas != PriceOf(op, 1) {
			t.Errorf("%v costs %d", op, o.Gas)
		}
	}
}
