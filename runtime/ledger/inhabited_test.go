package ledger

import (
	_ "embed"
	"fmt"
	"slices"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
)

// judgeWasm is testdata/judge.wat: a contract that quarantines the device of any
// observation that it is to judge.
//
//go:embed testdata/judge.wasm
var judgeWasm []byte

// Who lives besides in the chain of tests about devices and logs.
const (
	acme     person = "Acme"           // manufacturer, as its account
	factory  person = "Acme's factory" // a key of Acme's
	bolt     person = "Bolt"           // another manufacturer
	harbour  person = "harbour's key"  // another platform
	gate1    person = "first gateway"
	gate2    person = "second gateway"
	gate3    person = "third gateway"
	police   person = "police"
	keyOfAll        = "02:00:00:00:00:01" // a hardware id
)

// inhabited is a genesis with manufacturers, gateways and an authority.
func inhabited(g *chain.Genesis) {
	for _, a := range []struct {
		who   person
		roles abi.Role
	}{
		{acme, abi.RoleManufacturer}, {bolt, abi.RoleManufacturer},
		{gate1, abi.RoleGateway}, {gate2, abi.RoleGateway}, {gate3, abi.RoleGateway}, {police, abi.RoleAuthority},
	} {
		g.Accounts = append(g.Accounts, chain.Grant{Key: a.who.Public(), Roles: a.roles})
	}
}

// deviceWorld is a chain where Acme vouches with the factory's key.
func deviceWorld(t testing.TB) *world {
	t.Helper()
	w := newWorld(t, inhabited)
	w.must(operator, chain.OpManufacturer, vouching("Acme", acme, factory))
	return w
}

func vouching(name string, account person, keys ...person) *chain.RegisterManufacturer {
	a := &chain.RegisterManufacturer{Name: name, Account: account.id()}
	for _, k := range keys {
		a.Keys = append(a.Keys, k.Public())
	}
	return a
}

// originOf is Acme's word for a device that world.enrolment enrols.
func originOf(device person, hardware string) chain.DeviceOrigin {
	return chain.DeviceOrigin{
		Manufacturer: "Acme", Model: "Lock 2", Serial: "serial of " + string(device), Key: device.Public(), Hardware: []byte(hardware),
	}
}

func (w *world) signOrigin(o chain.DeviceOrigin, by person) []byte {
	w.t.Helper()
	raw, err := chain.SignOrigin(&o, by)
	if err != nil {
		w.t.Fatal(err)
	}
	return raw
}

// proven is the enrolment of a device with its proof of origin.
func (w *world) proven(device, of person, hardware string) *chain.Enrol {
	w.t.Helper()
	e := w.enrolment(device, of, nil)
	e.Origin = w.signOrigin(originOf(device, hardware), factory)
	return e
}

func (w *world) device(id person) chain.Device {
	w.t.Helper()
	return record(w, chain.DeviceKey(id.id()), chain.ParseDevice)
}

func (w *world) wantDevice(id person, status abi.Status) chain.Device {
	w.t.Helper()
	d := w.device(id)
	if d.Status != status {
		w.t.Fatalf("%s is %v, want %v", id, d.Status, status)
	}
	return d
}

// set sets a device's status with a reason.
func set(device person, s abi.Status) *chain.DeviceStatus {
	return &chain.DeviceStatus{Device: device.id(), Status: s, Reason: "because"}
}

// statement signs a body.
func (w *world) signed(kind chain.StatementKind, body []byte, by person) []byte {
	w.t.Helper()
	s, err := chain.SignStatement(&chain.Statement{Chain: w.l.ChainID(), Kind: kind, Expiry: w.l.Head().Time + hour, Body: body}, by)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// accepts is the transfer of a device from one to another who signed for it.
func (w *world) accepts(device, from, to person, since uint64) *chain.Transfer {
	w.t.Helper()
	a := chain.Acceptance{Device: device.id(), Owner: from.id(), Since: since}
	return &chain.Transfer{Device: device.id(), Statement: w.signed(chain.StatementTransfer, a.Append(nil), to)}
}

// telemetry is one resolved record, as a payload.
var telemetry = cbor.AppendInt(cbor.AppendUint(cbor.AppendMap(cbor.AppendArray(nil, 1), 1), 4), 21)

// evidence is a report that a device signed at a time of its clock.
func (w *world) evidence(device, by person, contract string, time int64) *chain.Evidence {
	w.t.Helper()
	r := chain.Report{Time: time, Kind: abi.ObserveTelemetry, Payload: telemetry}
	return &chain.Evidence{Device: device.id(), Contract: contract, Statement: w.signed(chain.StatementReport, r.Append(nil), by)}
}

func judged(device person, contract string, level abi.Level) *chain.Verdict {
	return &chain.Verdict{Device: device.id(), Contract: contract, Level: level, ReasonID: "scans", Evidence: abi.Hash{7}}
}

// noticesOf are the ledger's own events of an outcome, as "topic: notice".
func noticesOf(t testing.TB, o *chain.Outcome) (list []string) {
	t.Helper()
	for _, e := range o.Events {
		if e.Contract != "" {
			continue
		}
		n, err := chain.ParseNotice(e.Data)
		if err != nil {
			t.Fatal(err)
		}
		s := fmt.Sprintf("%s %x %d %q", e.Topic, n.Subject[:2], n.Level, n.Reason)
		if n.By != nil {
			s += fmt.Sprintf(" by %x", n.By[:2])
		}
		list = append(list, s)
	}
	return list
}

// wantNotices compares the topics of the ledger's own events.
func (w *world) wantNotices(o chain.Outcome, topics ...string) {
	w.t.Helper()
	w.want(o, abi.OK)
	var got []string
	for _, e := range o.Events {
		if e.Contract == "" {
			got = append(got, string(e.Topic))
		}
	}
	if !slices.Equal(got, topics) {
		w.t.Errorf("events are %q, want %v", noticesOf(w.t, &o), topics)
	}
}

// log is a gateway's decision log of records that are nothing but numbers.
type headLog struct {
	t      testing.TB
	chain  abi.Hash
	holder person
	hashes []tlog.Hash // stored hashes
	size   int64
}

func (w *world) log(holder person) *headLog {
	return &headLog{t: w.t, chain: w.l.ChainID(), holder: holder}
}

func (l *headLog) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	list := make([]tlog.Hash, len(indexes))
	for i, at := range indexes {
		list[i] = l.hashes[at]
	}
	return list, nil
}

// grow appends records up to a size; salt makes it another log than others.
func (l *headLog) grow(size int64, salt string) *headLog {
	l.t.Helper()
	for ; l.size < size; l.size++ {
		h, err := tlog.StoredHashes(l.size, fmt.Append(nil, l.size, salt), l)
		if err != nil {
			l.t.Fatal(err)
		}
		l.hashes = append(l.hashes, h...)
	}
	return l
}

func (l *headLog) fork() *headLog {
	c := *l
	c.hashes = slices.Clone(l.hashes)
	return &c
}

// note is the signed head.
func (l *headLog) note(by person) []byte {
	l.t.Helper()
	root, err := tlog.TreeHash(l.size, l)
	if err != nil {
		l.t.Fatal(err)
	}
	c := proof.Checkpoint{Origin: proof.LogOrigin(l.chain, l.holder.id()), Size: uint64(l.size), Root: abi.Hash(root)}
	signed, err := c.Sign(by)
	if err != nil {
		l.t.Fatal(err)
	}
	return signed
}

func (l *headLog) root() abi.Hash {
	l.t.Helper()
	c, err := proof.ParseCheckpoint(l.note(l.holder))
	if err != nil {
		l.t.Fatal(err)
	}
	return c.Root
}

// anchor is the head with the proof that it continues an earlier size.
func (l *headLog) anchor(from int64) *chain.Anchor {
	l.t.Helper()
	a := &chain.Anchor{Note: l.note(l.holder)}
	if from == 0 || from == l.size {
		return a
	}
	p, err := tlog.ProveTree(l.size, from, l)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, h := range p {
		a.Path = append(a.Path, abi.Hash(h))
	}
	return a
}

// list is a platform's signed list, ready to be taken in.
func (w *world) list(by person, l chain.PlatformList) *chain.ImportBlacklist {
	w.t.Helper()
	raw, err := chain.SignPlatformList(&l, by)
	if err != nil {
		w.t.Fatal(err)
	}
	return &chain.ImportBlacklist{List: raw}
}
