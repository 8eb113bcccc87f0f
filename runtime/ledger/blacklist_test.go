package ledger

import (
	"slices"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// lists is an operation on Acme's serial of a device.
func lists(device person, hardware string, listed bool) *chain.Blacklist {
	a := &chain.Blacklist{Manufacturer: "Acme", Serial: "serial of " + string(device), Listed: listed, Reason: "recall"}
	if hardware != "" {
		a.Hardware = []byte(hardware)
	}
	return a
}

func TestBlacklist(t *testing.T) {
	w := deviceWorld(t)
	w.must(operator, chain.OpManufacturer, vouching("Bolt", bolt, bolt))
	w.must(owner, chain.OpEnrol, w.proven("lock", owner, keyOfAll))
	w.plain("toy", owner)
	w.try([]attempt{
		{"someone else's serial", other, chain.OpBlacklist, lists("lock", "", true), abi.CodeNotPermitted},
		{"a serial that nobody enrolled", owner, chain.OpBlacklist, lists("none", "", true), abi.CodeNotPermitted},
		{"another manufacturer's", bolt, chain.OpBlacklist, lists("lock", "", true), abi.CodeNotPermitted},
		{"an operator", operator, chain.OpBlacklist, lists("lock", "", true), abi.CodeNotPermitted},
		{"an authority", authority, chain.OpBlacklist, lists("lock", "", true), abi.CodeNotPermitted},
		{"hardware that is another's", owner, chain.OpBlacklist, lists("lock", "another board", true), abi.CodeNotPermitted},
		{"hardware that nobody vouched for", owner, chain.OpBlacklist, lists("toy", keyOfAll, true), abi.CodeUnproven},
		{"off, though not on", owner, chain.OpBlacklist, lists("lock", "", false), abi.CodeNotFound},
		{"without a reason", owner, chain.OpBlacklist, encoded{0xa3, 1, 0x61, 'A', 2, 0x61, 'B', 4, 0xf5}, abi.CodeBadArgument},
		{"too long a hardware id", acme, chain.OpBlacklist, lists("none", string(make([]byte, 65)), true), abi.CodeTooLarge},
	})
	w.wantNotices(w.do(owner, chain.OpBlacklist, lists("lock", keyOfAll, true)), chain.TopicBlacklistChanged)
	w.wantDevice("lock", abi.StatusActive)
	w.wantCounts(1, 1)
	w.try([]attempt{
		{"the manufacturer takes the owner's off", acme, chain.OpBlacklist, lists("lock", "", false), abi.CodeNotPermitted},
		{"another owner", other, chain.OpBlacklist, lists("lock", "", false), abi.CodeNotPermitted},
		{"the manufacturer lists it as well", acme, chain.OpBlacklist, lists("lock", "", true), abi.OK},
		{"the owner takes the manufacturer's off", owner, chain.OpBlacklist, lists("lock", "", false), abi.CodeNotPermitted},
		{"the owner lists it anew", owner, chain.OpBlacklist, lists("lock", "", true), abi.CodeNotPermitted},
		{"the manufacturer takes it off", acme, chain.OpBlacklist, lists("lock", "", false), abi.OK},
	})
	w.wantCounts(0, 0)
}

// wantCounts wants so many serials and hardware identities on the blacklist.
func (w *world) wantCounts(serials, hardware int) {
	w.t.Helper()
	if s, h := w.count(chain.BlacklistPrefix()), w.count([]byte{'H'}); s != serials || h != hardware {
		w.t.Fatalf("%d serials and %d hardware identities are listed, want %d and %d", s, h, serials, hardware)
	}
}

// Hardware that several serials name stays listed until none does, and one that
// a listing names no more is free.
func TestHardwareIsCounted(t *testing.T) {
	w := deviceWorld(t)
	blocked := func(name person) abi.Code {
		return w.do(owner, chain.OpEnrol, w.proven(name, owner, keyOfAll)).Code
	}
	w.must(acme, chain.OpBlacklist, lists("first", keyOfAll, true))
	w.must(acme, chain.OpBlacklist, lists("second", keyOfAll, true))
	w.wantCounts(2, 1)
	w.must(acme, chain.OpBlacklist, lists("first", keyOfAll, true)) // again: no second count
	w.must(acme, chain.OpBlacklist, lists("first", "", false))
	if c := blocked("board"); c != abi.CodeBlacklisted {
		t.Errorf("one serial names it still: %v", c)
	}
	w.must(acme, chain.OpBlacklist, lists("second", "other board", true))
	w.wantCounts(1, 1)
	if c := blocked("board"); c != abi.OK {
		t.Errorf("no serial names it: %v", c)
	}
	if w.must(acme, chain.OpBlacklist, lists("second", "", false)); w.count([]byte{'H'}) != 0 {
		t.Error("hardware is left")
	}
	// Another manufacturer's hardware of the same id is another hardware.
	if chain.HardwareHash("Acme", []byte("1")) == chain.HardwareHash("Bolt", []byte("1")) {
		t.Error("manufacturers share hardware")
	}
}

// A recall outlives the theft that came after it.
func TestRecallOutlivesTheft(t *testing.T) {
	w := deviceWorld(t)
	w.enrol("lock", nil)
	w.must(acme, chain.OpBlacklist, lists("lock", "", true))
	w.must(owner, chain.OpDeviceStatus, set("lock", abi.StatusStolen))
	w.must(owner, chain.OpDeviceStatus, set("lock", abi.StatusActive))
	l := record(w, chain.BlacklistKey("Acme", "serial of lock"), chain.ParseListing)
	if l.By == nil || *l.By != acme.id() || l.Reason != "recall" {
		t.Errorf("listing is %+v", l)
	}
}

func platformOf(keys ...person) *chain.RegisterPlatform {
	a := &chain.RegisterPlatform{Name: "harbour", URL: "https://harbour.example"}
	for _, k := range keys {
		a.Keys = append(a.Keys, k.Public())
	}
	return a
}

func TestPlatforms(t *testing.T) {
	w := deviceWorld(t)
	w.try([]attempt{
		{"by a developer", developer, chain.OpPlatform, platformOf(harbour), abi.CodeMissingRole},
		{"with a key twice", operator, chain.OpPlatform, platformOf(harbour, harbour), abi.CodeBadArgument},
		{"by an operator", operator, chain.OpPlatform, platformOf(harbour), abi.OK},
	})
	for i := 1; i < chain.MaxPlatforms; i++ {
		a := platformOf(harbour)
		a.Name = string(rune('a' + i))
		w.must(operator, chain.OpPlatform, a)
	}
	more := platformOf(harbour)
	more.Name = "more"
	w.try([]attempt{
		{"one too many", operator, chain.OpPlatform, more, abi.CodeTooMany},
		{"one that is there", operator, chain.OpPlatform, platformOf(harbour, "second key"), abi.OK},
	})
}

func TestImportBlacklist(t *testing.T) {
	w := deviceWorld(t)
	w.must(operator, chain.OpPlatform, platformOf(harbour))
	w.enrol("lock", nil)
	hardware := chain.HardwareHash("Acme", []byte(keyOfAll))
	bad := chain.ListEntry{Manufacturer: "Acme", Serial: "serial of stranger", Hardware: &hardware, Listed: true, Reason: "stolen"}
	good := bad
	good.Listed, good.Reason = false, ""
	of := func(sequence uint64, entries ...chain.ListEntry) chain.PlatformList {
		return chain.PlatformList{Platform: "harbour", Sequence: sequence, Time: start, Entries: entries}
	}
	unknown := of(1, bad)
	unknown.Platform = "airport"
	signed := of(1, bad)
	elsewhere, err := chain.Seal(signed.Append(nil), chain.PurposeOrigin, harbour)
	if err != nil {
		t.Fatal(err)
	}
	w.try([]attempt{
		{"of an unknown platform", nobody, chain.OpImportBlacklist, w.list(harbour, unknown), abi.CodeUnknownPlatform},
		{"by another key", nobody, chain.OpImportBlacklist, w.list("stranger", of(1, bad)), abi.CodeNotPermitted},
		{"with a broken signature", nobody, chain.OpImportBlacklist, &chain.ImportBlacklist{List: forge(w.list(harbour, of(1, bad)).List)}, abi.CodeBadSignature},
		{"that is empty", nobody, chain.OpImportBlacklist, w.list(harbour, of(1)), abi.CodeTooLarge},
		{"that is too long", nobody, chain.OpImportBlacklist, w.list(harbour, of(1, make([]chain.ListEntry, chain.MaxListEntries+1)...)), abi.CodeTooLarge},
		{"without a number", nobody, chain.OpImportBlacklist, w.list(harbour, of(0, bad)), abi.CodeMalformed},
		{"signed for another purpose", nobody, chain.OpImportBlacklist, &chain.ImportBlacklist{List: elsewhere}, abi.CodeBadSignature},
	})
	first := w.list(harbour, of(5, bad))
	w.wantNotices(w.do(nobody, chain.OpImportBlacklist, first), chain.TopicBlacklistChanged)
	w.wantCounts(1, 1)
	w.try([]attempt{
		{"a replay", nobody, chain.OpImportBlacklist, first, abi.CodeOldList},
		{"another of that number", nobody, chain.OpImportBlacklist, w.list(harbour, of(5, good)), abi.CodeOldList},
		{"an older one", nobody, chain.OpImportBlacklist, w.list(harbour, of(4, good)), abi.CodeOldList},
		{"enrolment of the serial", owner, chain.OpEnrol, w.enrolment("stranger", owner, nil), abi.CodeBlacklisted},
		{"enrolment of the hardware", owner, chain.OpEnrol, w.proven("board", owner, keyOfAll), abi.CodeBlacklisted},
	})
	w.wantNotices(w.do(nobody, chain.OpImportBlacklist, w.list(harbour, of(6, bad)))) // nothing new
	w.must(nobody, chain.OpImportBlacklist, w.list(harbour, of(9, good)))
	w.wantCounts(0, 0)
	w.must(owner, chain.OpEnrol, w.enrolment("stranger", owner, nil))
}

// A list cannot touch a device that has an owner of record: the owner is told.
func TestForeignListOfAnEnrolledSerial(t *testing.T) {
	w := deviceWorld(t)
	w.must(operator, chain.OpPlatform, platformOf(harbour))
	w.must(owner, chain.OpEnrol, w.proven("lock", owner, keyOfAll))
	hardware := chain.HardwareHash("Acme", []byte(keyOfAll))
	entry := chain.ListEntry{Manufacturer: "Acme", Serial: "serial of lock", Hardware: &hardware, Listed: true, Reason: "stolen, they say"}
	before := w.device("lock")
	o := w.do(nobody, chain.OpImportBlacklist, w.list(harbour, chain.PlatformList{Platform: "harbour", Sequence: 1, Entries: []chain.ListEntry{entry}}))
	w.wantNotices(o, chain.TopicBlacklistChanged, chain.TopicDeviceAlert)
	if after := w.device("lock"); after.Status != before.Status || after.Since != before.Since {
		t.Errorf("the device is %+v", after)
	}
	if a := w.l.Decide(t.Context(), abi.Caller{Key: person("lock").Public()}, "none", ask("open", "lock", "door")); a.Code != abi.CodeNoDomain {
		t.Errorf("the device is not asked for: %v", a.Code)
	}
	w.must(owner, chain.OpTransfer, w.accepts("lock", owner, other, 0)) // nor its sale
	w.want(w.do(other, chain.OpBlacklist, lists("lock", "", false)), abi.CodeNotFound)
}

// Several platforms and the owner list one serial: it is free when none does.
func TestListedBySeveral(t *testing.T) {
	w := deviceWorld(t)
	w.must(operator, chain.OpPlatform, platformOf(harbour))
	rail := platformOf("rail's key")
	rail.Name = "rail"
	w.must(operator, chain.OpPlatform, rail)
	w.enrol("lock", nil)
	sequence := uint64(0)
	says := func(platform string, by person, listed bool) {
		sequence++
		e := chain.ListEntry{Manufacturer: "Acme", Serial: "serial of lock", Listed: listed}
		w.must(nobody, chain.OpImportBlacklist, w.list(by, chain.PlatformList{Platform: platform, Sequence: sequence, Entries: []chain.ListEntry{e}}))
	}
	says("harbour", harbour, true)
	says("rail", "rail's key", true)
	w.must(owner, chain.OpDeviceStatus, set("lock", abi.StatusStolen))
	l := record(w, chain.BlacklistKey("Acme", "serial of lock"), chain.ParseListing)
	if l.By == nil || !slices.Equal(l.Platforms, []string{"harbour", "rail"}) {
		t.Errorf("listing is %+v", l)
	}
	says("harbour", harbour, false)
	w.must(owner, chain.OpDeviceStatus, set("lock", abi.StatusActive))
	w.wantCounts(1, 0)
	says("harbour", harbour, false) // it does not list it: nothing of rail's
	w.wantCounts(1, 0)
	says("rail", "rail's key", false)
	w.wantCounts(0, 0)
}

// What a platform says of a serial's hardware replaces nothing that is known.
func TestForeignHardware(t *testing.T) {
	w := deviceWorld(t)
	w.must(operator, chain.OpPlatform, platformOf(harbour))
	w.must(acme, chain.OpBlacklist, lists("lock", keyOfAll, true))
	elsewhere := chain.HardwareHash("Acme", []byte("another board"))
	for i, h := range []*abi.Hash{nil, &elsewhere} {
		e := chain.ListEntry{Manufacturer: "Acme", Serial: "serial of lock", Hardware: h, Listed: true}
		off := e
		off.Listed = false
		w.must(nobody, chain.OpImportBlacklist, w.list(harbour, chain.PlatformList{Platform: "harbour", Sequence: uint64(2*i + 1), Entries: []chain.ListEntry{e}}))
		w.want(w.do(owner, chain.OpEnrol, w.proven("board", owner, keyOfAll)), abi.CodeBlacklisted)
		w.wantCounts(1, 1)
		w.must(nobody, chain.OpImportBlacklist, w.list(harbour, chain.PlatformList{Platform: "harbour", Sequence: uint64(2*i + 2), Entries: []chain.ListEntry{off}}))
	}
	w.must(owner, chain.OpEnrol, w.proven("board", owner, "another board"))
}
