package behaviour_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/contracts/behaviour"
	"github.com/seed79541315/postern/runtime/wasm"
)

func (c *chain) as(account abi.Hash) *chain {
	c.input.Caller = &account
	return c
}

func mustMessages(t testing.TB, p *behaviour.Profile, version, base uint32) [][]byte {
	t.Helper()
	list, err := p.Messages("it", version, base)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func large(t testing.TB, entries int) *behaviour.Profile {
	t.Helper()
	m, err := behaviour.ParseMUD(largeMUD(entries))
	if err != nil {
		t.Fatal(err)
	}
	return &behaviour.Profile{MUD: m, Rules: []behaviour.Rule{{Name: "t", Most: &behaviour.Decimal{Mantissa: 40}}}}
}

// A large profile takes many transactions, and devices are judged by the old
// version until the last.
func TestLoadingInManyTransactions(t *testing.T) {
	c := newChain(t, wasm.EngineAuto)
	c.load(&behaviour.Profile{}, 0)
	messages := mustMessages(t, large(t, 1000), 2, 1)
	if len(messages) < 5 {
		t.Fatalf("%d messages", len(messages))
	}
	for i, m := range messages {
		c.must(abi.EntryExecute, m)
		if len(m) > 32<<10 || c.used > 15_000_000 {
			t.Errorf("message %d: %d bytes, %d gas", i, len(m), c.used)
		}
		info, err := behaviour.ParseInfo(c.must(abi.EntryQuery, behaviour.Describe("it")))
		if want := uint32(1 + (i+1)/len(messages)); err != nil || info.Version != want {
			t.Fatalf("after message %d: %+v, %v", i, info, err)
		}
	}
	if !slices.Equal(c.env.events, []string{"profile-activated", "profile-activated"}) {
		t.Errorf("events %q", c.env.events)
	}
	// The old version goes, 64 keys a timer; the new one stays.
	keys := len(c.env.state)
	c.runTimers()
	if gone := keys - len(c.env.state); gone != 1 {
		t.Errorf("%d keys of the old version are gone", gone)
	}
	c.load(&behaviour.Profile{}, 2)
	c.runTimers()
	if n := len(c.env.state); n > 6 {
		t.Errorf("%d keys are left: %q", n, slices.Sorted(maps.Keys(c.env.state)))
	}
}

func TestActivationNeedsBaseCountAndDigest(t *testing.T) {
	p := large(t, 100)
	messages := mustMessages(t, p, 1, 0)
	last := len(messages) - 1
	t.Run("missing part", func(t *testing.T) {
		c := newChain(t, wasm.EngineAuto)
		for _, m := range append(messages[:1:1], messages[2:last]...) {
			c.must(abi.EntryExecute, m)
		}
		c.refuse(behaviour.CodeIncomplete, abi.EntryExecute, messages[last])
	})
	t.Run("moved base", func(t *testing.T) {
		c := newChain(t, wasm.EngineAuto)
		c.load(&behaviour.Profile{}, 0)
		messages := mustMessages(t, p, 3, 0)
		for _, m := range messages[:last] {
			c.must(abi.EntryExecute, m)
		}
		c.refuse(behaviour.CodeBaseMoved, abi.EntryExecute, messages[last])
	})
	t.Run("twice", func(t *testing.T) {
		c := newChain(t, wasm.EngineAuto)
		c.must(abi.EntryExecute, messages[0])
		c.refuse(behaviour.CodeBadVersion, abi.EntryExecute, messages[0])
		c.must(abi.EntryExecute, messages[1])
		c.refuse(behaviour.CodeDuplicate, abi.EntryExecute, messages[1])
		c.must(abi.EntryExecute, behaviour.Abandon("it", 1))
		c.refuse(behaviour.CodeNotBuilding, abi.EntryExecute, messages[1])
		c.runTimers()
		if len(c.env.state) != 0 {
			t.Errorf("%d keys are left", len(c.env.state))
		}
		for _, m := range messages {
			c.must(abi.EntryExecute, m)
		}
		c.refuse(behaviour.CodeNotBuilding, abi.EntryExecute, messages[1])
		c.refuse(behaviour.CodeBadVersion, abi.EntryExecute, messages[0])
	})
}

func TestWhoMayLoad(t *testing.T) {
	c := newChain(t, wasm.EngineAuto)
	begin := mustMessages(t, &behaviour.Profile{}, 1, 0)[0]
	site, _ := doorSite.Message()
	c.must(abi.EntryExecute, behaviour.SetLoaders([]abi.Hash{loader}))
	for _, m := range [][]byte{begin, site, behaviour.BindDevice(device, "it"), behaviour.BindModel("A", "B", "it"), behaviour.Abandon("it", 1)} {
		c.as(someone).refuse(behaviour.CodeNotLoader, abi.EntryExecute, m)
		c.as(device).refuse(behaviour.CodeNotLoader, abi.EntryExecute, m)
		c.as(loader).must(abi.EntryExecute, m)
	}
	for _, m := range [][]byte{behaviour.SetLoaders([]abi.Hash{someone}), behaviour.Pardon(device)} {
		c.as(loader).refuse(behaviour.CodeNotLoader, abi.EntryExecute, m)
		c.as(owner).must(abi.EntryExecute, m)
	}
	c.as(loader).refuse(behaviour.CodeNotLoader, abi.EntryExecute, site)
	// Through another contract not even the owner may.
	c.as(owner).input.ParentContract = "other"
	c.refuse(behaviour.CodeNested, abi.EntryExecute, site)
	c.input.ParentContract = ""
	c.input.Caller = nil
	c.refuse(behaviour.CodeNotLoader, abi.EntryExecute, site)
}

// pageMessage is the message that puts one page of a profile with 8 buckets.
func pageMessage(bucket, number uint64, page []byte) []byte {
	b := cbor.AppendText(cbor.AppendUint(cbor.AppendArray(nil, 4), 2), "it")
	b = cbor.AppendArray(cbor.AppendUint(b, 1), 1)
	b = cbor.AppendUint(cbor.AppendUint(cbor.AppendArray(b, 3), bucket), number)
	return cbor.AppendBytes(b, page)
}

// Pages are checked on arrival: an entry that is malformed, or lies where no
// flow looks for it, is refused.
func TestHostilePages(t *testing.T) {
	c := newChain(t, wasm.EngineAuto)
	messages := mustMessages(t, large(t, 16), 1, 0)
	c.must(abi.EntryExecute, messages[0])
	r := cbor.NewReader(messages[1])
	r.ArrayN(4)
	r.Skip()
	r.Skip()
	r.Skip()
	r.Array()
	r.ArrayN(3)
	bucket, number, good := r.Uint(), r.Uint(), r.Bytes()
	for name, page := range map[string][]byte{
		"empty":                      {},
		"no entries":                 {0},
		"another mark":               append([]byte{2}, good[1:]...),
		"a byte short":               good[:len(good)-1],
		"a byte more":                append(bytes.Clone(good), 0),
		"an entry beyond":            {0, 0xff, 0xff, 0, 0, 0, 0},
		"an entry too short":         {0, 0, 3, 0, 0, 0},
		"IPv4 and IPv6":              {0, 0, 4, 0, 0, 0, 0x0c},
		"a network without a family": {0, 0, 9, 0, 0, 0, 0x20, 32, 1, 2, 3, 4},
		"a network of 33 bits":       {0, 0, 9, 0, 0, 0, 0x24, 33, 1, 2, 3, 4},
		"ports backwards":            {0, 0, 8, 0, 0, 0, 0x40, 0, 2, 0, 1},
		"a code without a type":      {0, 0, 5, 0, 0, 2, 0, 8},
		"begun by both":              {0, 0, 4, 0, 0, 0x0c, 0},
		"an unknown class":           {0, 0, 5, 0, 0, 0x40, 0, 31},
		"an empty name":              {0, 0, 5, 0, 0, 0x80, 0, 0},
		"a name in capitals":         {0, 0, 6, 0, 0, 0x80, 0, 1, 'A'},
		"a name beyond":              {0, 0, 6, 0, 0, 0x80, 0, 2, 'a'},
	} {
		_, code, err := c.call(abi.EntryExecute, pageMessage(bucket, number, page))
		if err == nil || behaviour.Code(code) != behaviour.CodeBadPage {
			t.Errorf("%s: %v, %v", name, err, behaviour.Code(code))
		}
	}
	c.refuse(behaviour.CodeBadPage, abi.EntryExecute, pageMessage((bucket+1)%8, number, good))
	c.refuse(behaviour.CodeTooLarge, abi.EntryExecute, pageMessage(bucket, 16, good))
	c.refuse(behaviour.CodeMalformed, abi.EntryExecute, pageMessage(8, number, good))
	c.refuse(behaviour.CodeTooLarge, abi.EntryExecute, pageMessage(bucket, number, bytes.Repeat([]byte{0}, 9000)))
	c.must(abi.EntryExecute, pageMessage(bucket, number, good))
}

func TestMalformedMessages(t *testing.T) {
	c := newChain(t, wasm.EngineAuto)
	text := strings.Repeat("x", 65)
	for _, m := range []struct {
		want behaviour.Code
		b    []byte
	}{
		{behaviour.CodeMalformed, nil},
		{behaviour.CodeMalformed, []byte{0xa0}},
		{behaviour.CodeMalformed, append(behaviour.Pardon(device), 0)},
		{behaviour.CodeUnknownOperation, []byte{0x81, 11}},
		{behaviour.CodeUnknownOperation, []byte{0x81, 10}},
		{behaviour.CodeUnknownOperation, []byte{0x81, 0}},
		{behaviour.CodeBadName, behaviour.BindDevice(device, text)},
		{behaviour.CodeBadName, behaviour.BindModel("", "M", "it")},
		{behaviour.CodeBadName, behaviour.BindModel(text, "M", "it")},
		{behaviour.CodeBadLoaders, behaviour.SetLoaders(make([]abi.Hash, 33))},
		{behaviour.CodeNotBuilding, behaviour.Abandon("it", 7)},
		{behaviour.CodeBadVersion, behaviour.Abandon("it", 0)},
	} {
		c.refuse(m.want, abi.EntryExecute, m.b)
	}
	for _, m := range [][]byte{nil, {0x80}, {0x81, 8}, {0x82, 1, 0x60}, {0x82, 2, 0x41, 1}, {0x84, 6, 0x61, 'x', 0, 0}} {
		if _, _, err := c.call(abi.EntryQuery, m); err == nil {
			t.Errorf("query %x is answered", m)
		}
	}
}

// Bodies that the contract would misread are refused when they come.
func TestHostileProfiles(t *testing.T) {
	c := newChain(t, wasm.EngineAuto)
	good := mustMessages(t, &behaviour.Profile{MUD: mudOf(t, "lifxbulbMud.json")}, 1, 0)[0]
	head := bytes.Index(good, []byte{0x87})
	refused := 0
	for i := head; i < len(good); i++ {
		for _, flip := range []byte{1, 0x20, 0xff} {
			m := bytes.Clone(good)
			m[i] ^= flip
			if _, code, err := c.call(abi.EntryExecute, m); err != nil {
				refused++
				if code == 0 {
					t.Fatalf("byte %d by %x: %v", i, flip, err)
				}
				continue
			}
			c.must(abi.EntryExecute, behaviour.Abandon("it", 1))
			c.runTimers()
		}
	}
	if refused < 100 {
		t.Errorf("%d were refused", refused)
	}
	c.refuse(behaviour.CodeTooLarge, abi.EntryExecute, append(bytes.Clone(good[:head]), append([]byte{0x59, 0x40, 0}, make([]byte, 16384)...)...))
}

// A device has its own profile, or its model's, its maker's, or that of all.
func TestWhichProfile(t *testing.T) {
	c := newChain(t, wasm.EngineAuto)
	profile := func() string {
		s, err := behaviour.ParseStanding(c.must(abi.EntryQuery, behaviour.AskDevice(device)))
		if err != nil {
			t.Fatal(err)
		}
		return s.Profile
	}
	for _, step := range []struct {
		message []byte
		want    string
	}{
		{behaviour.BindModel("ACME", "M2", "another"), ""},
		{behaviour.BindModel("", "", "all"), "all"},
		{behaviour.BindModel("ACME", "", "maker"), "maker"},
		{behaviour.BindModel("ACME", "M1", "model"), "model"},
		{behaviour.BindDevice(device, "own"), "own"},
		{behaviour.BindDevice(device, ""), "model"},
		{behaviour.BindModel("ACME", "M1", ""), "maker"},
		{behaviour.BindModel("ACME", "", ""), "all"},
		{behaviour.BindModel("", "", ""), ""},
	} {
		c.must(abi.EntryExecute, step.message)
		if got := profile(); got != step.want {
			t.Errorf("%x: %q, want %q", step.message, got, step.want)
		}
	}
	c.load(&behaviour.Profile{}, 0)
	c.must(abi.EntryExecute, behaviour.BindDevice(device, ""))
	c.must(abi.EntryExecute, behaviour.BindModel("ACME", "M1", "it"))
	if j := c.observe(abi.ObserveTelemetry, []byte{0x81, 0xa1, 1, 0x61, 'x'}); j.Level != abi.LevelFine {
		t.Errorf("by its model: %+v", j)
	}
	c.must(abi.EntryExecute, behaviour.BindModel("ACME", "M1", ""))
	o := abi.Observation{Kind: abi.ObserveTelemetry, Device: device, Time: start, Payload: []byte{0x81, 0xa1, 1, 0x61, 'x'}}
	c.refuse(behaviour.CodeNoProfile, abi.EntryObserve, abi.AppendObservation(nil, &o))
	c.must(abi.EntryExecute, behaviour.BindDevice(device, "later"))
	c.refuse(behaviour.CodeNoSuchProfile, abi.EntryObserve, abi.AppendObservation(nil, &o))
}

func TestListsAreReadBack(t *testing.T) {
	c := newChain(t, wasm.EngineAuto)
	var want []string
	for i := range 130 {
		name := fmt.Sprintf("profile-%03d", i)
		want = append(want, name)
		messages, err := (&behaviour.Profile{}).Messages(name, 1, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages {
			c.must(abi.EntryExecute, m)
		}
	}
	got, err := behaviour.Profiles(func(m []byte) ([]byte, error) { return c.must(abi.EntryQuery, m), nil })
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	site, err := behaviour.ParseSite([]byte(`{"local-networks":["10.0.0.0/8","fd00::/8"],"controller:urn:x":["10.1.1.1/32"],"none":[]}`))
	if err != nil {
		t.Fatal(err)
	}
	c.site(site)
	back, err := behaviour.ReadSite(c.must(abi.EntryQuery, behaviour.AskSite()))
	if err != nil || !maps.EqualFunc(site, back, slices.Equal) {
		t.Errorf("%v, %v", back, err)
	}
	if _, err := behaviour.ParseInfo(c.must(abi.EntryQuery, behaviour.Describe("none"))); err != behaviour.ErrNoProfile {
		t.Error(err)
	}
}
