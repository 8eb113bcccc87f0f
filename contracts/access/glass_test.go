package access_test

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	ledger "github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/contracts/access"
	"github.com/seed79541315/postern/runtime/wasm"
)

// wardPolicy: doctors break the glass for a record; nobody does for a sealed one.
const wardPolicy = `{
	"entities": [
		{"type": "user", "id": "dora", "roles": ["doctor"]}, {"type": "user", "id": "nils", "roles": ["nurse"]},
		{"type": "record", "id": "sealed", "properties": {"sealed": true}}
	],
	"rules": [
		{"id": "emergency", "effect": "permit", "actions": ["read"], "resource": {"type": "record"}, "subject": {"roles": ["doctor"]},
		 "break_glass_ms": 600000, "ttl_ms": 5000, "obligations": [{"log": "all"}], "reason": "an-emergency"},
		{"id": "technicians", "effect": "permit", "actions": ["open"], "resource": {"type": "cabinet"}, "subject": {"types": ["device"]},
		 "when": {"eq": ["subject.properties.labels.role", "technician"]}, "break_glass_ms": 60000},
		{"id": "sealed", "effect": "deny", "actions": ["read"], "resource": {"type": "record"}, "when": {"eq": ["resource.properties.sealed", true]}}
	]}`

// ward is a chain with the policy, whose caller is an enforcement point.
func ward(t *testing.T) *watch {
	c := newChain(t, wasm.EngineAuto)
	c.load(parse(t, wardPolicy), 0)
	w := &watch{c}
	w.as(someone, abi.RoleEnforcementPoint)
	return w
}

type watch struct{ *chain }

// as sets who calls.
func (w *watch) as(who abi.Hash, roles abi.Role) {
	w.input.Caller, w.input.Roles, w.input.Device = &who, roles, nil
}

// at sets the time of blocks and of the gateway.
func (w *watch) at(ms int64) { w.input.Time, w.env.now = ms, time.UnixMilli(ms) }

// denied decides and wants a denial for a reason.
func (w *watch) denied(q *abi.DecisionRequest, want access.Reason) abi.Verdict {
	w.t.Helper()
	v := w.decide(q)
	if v.Permit || access.Reason(v.Reason) != want || v.ByTransaction != (want == access.ReasonBreakGlass) {
		w.t.Fatalf("%+v, want %v", v, want)
	}
	return v
}

func (w *watch) alarms() []access.Alarm {
	w.t.Helper()
	out, err := w.query(access.Alarms(nil, 64))
	if err != nil {
		w.t.Fatal(err)
	}
	list, err := access.ParseAlarms(out)
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

const wardTime = 1_700_000_000_000

func TestBreakGlass(t *testing.T) {
	w := ward(t)
	w.at(wardTime)
	read := could("user:dora", "read", "record:7")
	if v := w.denied(read, access.ReasonBreakGlass); v.ReasonID != "an-emergency" || v.TTL != 0 || v.Obligations != nil {
		t.Errorf("behind glass: %+v", v)
	}
	tx := abi.Hash{9}
	w.input.Transaction = &tx
	alarm, err := access.ParseAlarm(w.must(abi.EntryExecute, access.BreakGlass(read, "cardiac arrest, room 4")))
	if err != nil || alarm.ID.Number() != 1 || alarm.By != someone || alarm.At != wardTime || alarm.Until != wardTime+600_000 || alarm.Transaction != tx ||
		alarm.Subject != (access.Ref{Type: "user", ID: "dora"}) || alarm.Resource != (access.Ref{Type: "record", ID: "7"}) || alarm.Action != "read" ||
		alarm.Reason != "cardiac arrest, room 4" || alarm.AcknowledgedBy != nil {
		t.Fatalf("%+v %v", alarm, err)
	}
	if !slices.Contains(w.env.events, "broke-glass") {
		t.Error("nobody was told")
	}
	v := w.decide(read)
	obligations, err := cbor.AppendAsJSON(nil, v.Obligations)
	if !v.Permit || access.Reason(v.Reason) != access.ReasonBrokenGlass || v.TTL != 5000 ||
		string(obligations) != fmt.Sprintf(`[{"log":"all"},{"alarm":1,"until":%d}]`, wardTime+600_000) {
		t.Fatalf("%+v, %s, %v", v, obligations, err)
	}
	// For nothing and nobody else.
	w.denied(could("user:dora", "read", "record:8"), access.ReasonBreakGlass)
	w.denied(could("user:nils", "read", "record:7"), access.ReasonNoRule)
	// To the millisecond, also in how long the answer is kept.
	w.at(wardTime + 600_000 - 1)
	if v := w.decide(read); !v.Permit || v.TTL != 1 {
		t.Errorf("at the end: %+v", v)
	}
	w.at(wardTime + 600_000)
	w.denied(read, access.ReasonBreakGlass)
	w.at(wardTime)
	w.env.now = time.Time{}
	w.denied(read, access.ReasonTimeUnknown)
}

func TestWhoBreaksGlass(t *testing.T) {
	w := ward(t)
	w.at(wardTime)
	refuse := func(code access.Code, q *abi.DecisionRequest) {
		t.Helper()
		w.refuse(code, access.BreakGlass(q, "because"))
	}
	refuse(access.CodeNoGlass, could("user:nils", "read", "record:7"))
	refuse(access.CodeNoGlass, could("user:dora", "write", "record:7"))
	refuse(access.CodeNoGlass, could("user:dora", "read", "record:sealed")) // a denial stands above
	read := could("user:dora", "read", "record:7")
	w.refuse(access.CodeNoReason, access.BreakGlass(read, ""))
	w.refuse(access.CodeNoReason, access.BreakGlass(read, strings.Repeat("x", access.MaxReason+1)))
	w.as(someone, 0)
	refuse(access.CodeNotSubject, read) // somebody else's name
	w.as(owner, 0)
	refuse(access.CodeNotSubject, read) // not the contract's owner either
	w.as(someone, abi.RoleEnforcementPoint)
	w.must(abi.EntryExecute, access.BreakGlass(read, strings.Repeat("x", access.MaxReason)))
	refuse(access.CodeBroken, read) // replayed while it is open
	w.at(wardTime + 600_000)
	w.must(abi.EntryExecute, access.BreakGlass(read, "again"))
	if list := w.alarms(); len(list) != 2 {
		t.Errorf("%d alarms, want one each time", len(list))
	}
	w.input.ParentContract = "puppeteer"
	refuse(access.CodeNested, could("user:dora", "read", "record:9"))
}

// A device speaks for itself, and what the ledger knows of it counts.
func TestDeviceBreaksGlass(t *testing.T) {
	w := ward(t)
	w.at(wardTime)
	device := abi.Hash{0xd1}
	record := ledger.Device{Owner: owner, Manufacturer: "acme", Model: "b2", Serial: "1", Status: abi.StatusActive, Labels: ledger.Labels{"role": "technician"}, Since: 1, Enrolled: 1}
	name := "device:" + hex.EncodeToString(device[:])
	open := could(name, "open", "cabinet:1")
	w.input.Caller, w.input.Roles, w.input.Device = &device, 0, record.Append(nil)
	w.must(abi.EntryExecute, access.BreakGlass(open, "gas leak"))
	// It cannot lend itself a label, nor name another device.
	record.Labels = ledger.Labels{"role": "camera", "zz": "1"}
	w.input.Device = record.Append(nil)
	forged := could(name, "open", "cabinet:2")
	forged.Subject.Properties = properties(t, `{"labels":{"role":"technician"}}`)
	w.refuse(access.CodeNoGlass, access.BreakGlass(forged, "gas leak"))
	other := could("device:"+strings.Repeat("00", 32), "open", "cabinet:2")
	w.refuse(access.CodeNotSubject, access.BreakGlass(other, "gas leak"))
	w.refuse(access.CodeNotSubject, access.BreakGlass(could("user:"+hex.EncodeToString(device[:]), "open", "cabinet:2"), "gas leak"))
	none := *open
	none.Subject = nil
	w.refuse(access.CodeBadRequest, access.BreakGlass(&none, "gas leak"))
}

func TestAlarmsAreAcknowledged(t *testing.T) {
	w := ward(t)
	w.at(wardTime)
	w.as(owner, 0)
	w.must(abi.EntryExecute, access.SetAdmins([]abi.Hash{admin, someone}))
	w.as(someone, abi.RoleEnforcementPoint)
	read := could("user:dora", "read", "record:7")
	first, err := access.ParseAlarm(w.must(abi.EntryExecute, access.BreakGlass(read, "one")))
	if err != nil {
		t.Fatal(err)
	}
	w.refuse(access.CodeOwnAlarm, access.Acknowledge(first.ID, false)) // an admin, but who broke it
	w.as(abi.Hash{77}, 0)
	w.refuse(access.CodeNotAdmin, access.Acknowledge(first.ID, true))
	w.as(admin, 0)
	w.refuse(access.CodeNotFound, access.Acknowledge(access.AlarmID{}, true))
	w.must(abi.EntryExecute, access.Acknowledge(first.ID, false))
	list := w.alarms()
	if len(list) != 1 || list[0].AcknowledgedBy == nil || *list[0].AcknowledgedBy != admin || list[0].ID != first.ID {
		t.Fatalf("%+v", list)
	}
	if !w.decide(read).Permit {
		t.Error("seeing the alarm mended the glass")
	}
	// At its end the timer takes glass and alarm away.
	w.at(wardTime + 600_000)
	if w.runTimers(); len(w.alarms()) != 0 || len(w.glass()) != 0 {
		t.Errorf("%d alarms, %d glasses are left", len(w.alarms()), len(w.glass()))
	}
	// Another is mended at once, and its timer finds nothing.
	w.as(someone, abi.RoleEnforcementPoint)
	second, err := access.ParseAlarm(w.must(abi.EntryExecute, access.BreakGlass(read, "two")))
	if err != nil || second.ID.Number() != 2 {
		t.Fatalf("%+v %v", second, err)
	}
	w.as(admin, 0)
	w.must(abi.EntryExecute, access.Acknowledge(second.ID, true))
	w.denied(read, access.ReasonBreakGlass)
	w.refuse(access.CodeNotFound, access.Acknowledge(second.ID, true))
	w.runTimers()
	// A third waits beyond its end until somebody has seen it.
	w.as(someone, abi.RoleEnforcementPoint)
	third, err := access.ParseAlarm(w.must(abi.EntryExecute, access.BreakGlass(read, "three")))
	if err != nil {
		t.Fatal(err)
	}
	w.at(wardTime + 9_000_000)
	if w.runTimers(); len(w.alarms()) != 1 || len(w.glass()) != 0 {
		t.Errorf("%d alarms, %d glasses", len(w.alarms()), len(w.glass()))
	}
	w.as(admin, 0)
	w.must(abi.EntryExecute, access.Acknowledge(third.ID, false))
	if len(w.alarms()) != 0 {
		t.Error("an alarm outlives both its end and its acknowledgement")
	}
}

// glass lists the keys of broken glasses.
func (w *watch) glass() (keys []string) {
	for key := range w.env.state {
		if key[0] == 'b' {
			keys = append(keys, key)
		}
	}
	return keys
}

// A subject that was taken over does not keep others out, and all together do
// not fill the state.
func TestAlarmsAreBounded(t *testing.T) {
	w := ward(t)
	w.at(wardTime)
	message := func(who string, i int) []byte {
		return access.BreakGlass(could(who, "read", fmt.Sprintf("record:%d", i)), "x")
	}
	for i := range access.MaxAlarmsOfSubject {
		w.must(abi.EntryExecute, message("user:dora", i))
	}
	w.refuse(access.CodeTooManyAlarms, message("user:dora", 999))
	for i := access.MaxAlarmsOfSubject; i < access.MaxAlarms; i++ {
		who := access.Entity{Ref: access.Ref{Type: "user", ID: fmt.Sprint(i)}, Roles: []string{"doctor"}}
		w.as(owner, 0)
		w.must(abi.EntryExecute, access.PutEntity(1, &who))
		w.as(someone, abi.RoleEnforcementPoint)
		w.must(abi.EntryExecute, message("user:"+who.ID, 1))
	}
	w.refuse(access.CodeTooManyAlarms, message("user:30", 2))
	// Paged, each alarm comes once.
	seen := map[access.AlarmID]bool{}
	var after *access.AlarmID
	for {
		out, err := w.query(access.Alarms(after, 20))
		if err != nil {
			t.Fatal(err)
		}
		list, err := access.ParseAlarms(out)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 {
			break
		}
		for _, a := range list {
			if seen[a.ID] {
				t.Fatalf("%v comes twice", a.ID)
			}
			seen[a.ID] = true
		}
		after = &list[len(list)-1].ID
	}
	if len(seen) != access.MaxAlarms {
		t.Errorf("%d alarms are listed", len(seen))
	}
}
