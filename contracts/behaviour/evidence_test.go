package behaviour_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/contracts/behaviour"
	"github.com/seed79541315/postern/net/flows"
	"github.com/seed79541315/postern/runtime/wasm"
)

// Evidence is judged by validators over what earlier evidence added up to, once
// each, and quarantines.
func TestEvidence(t *testing.T) {
	c := withProfile(t, sensorProfile)
	bad := telemetry(t, `[{"n":"temperature","u":"Cel","v":99}]`)
	c.as(someone)
	for i := range 9 {
		if j := c.evidence(abi.ObserveTelemetry, start+int64(i), bad); j.Level != abi.LevelAlert || len(j.Findings) > 0 {
			t.Fatalf("%d: %+v", i, j)
		}
	}
	if c.env.devices[device] != abi.StatusActive {
		t.Fatal("quarantined too early")
	}
	if j := c.evidence(abi.ObserveTelemetry, start+9, bad); j.Level != abi.LevelQuarantine {
		t.Fatalf("%+v", j)
	}
	if c.env.devices[device] != abi.StatusQuarantined || c.env.reason != "behaviour: value-out-of-range" {
		t.Errorf("%v, %q", c.env.devices[device], c.env.reason)
	}
	s, err := behaviour.ParseStanding(c.must(abi.EntryQuery, behaviour.AskDevice(device)))
	if err != nil || s.Score != 100 || s.LastEvidence != start+9 || !slices.Contains(c.env.events, "judged") {
		t.Errorf("%+v, %v", s, err)
	}
	// Only an active device is touched, and a gateway's record is another.
	c.env.devices[device] = abi.StatusStolen
	c.evidence(abi.ObserveTelemetry, start+10, bad)
	if c.env.devices[device] != abi.StatusStolen || c.env.local != nil {
		t.Error("evidence changes what it must not")
	}
}

func TestHostileEvidence(t *testing.T) {
	c := withProfile(t, sensorProfile)
	bad := telemetry(t, `[{"n":"temperature","u":"Cel","v":99}]`)
	message := func(kind abi.ObservationKind, at int64, of abi.Hash, payload []byte) []byte {
		return abi.AppendObservation(nil, &abi.Observation{Kind: kind, Device: of, Time: at, Payload: payload})
	}
	// What is not told to be evidence is a message like any other.
	c.as(device).refuse(behaviour.CodeMalformed, abi.EntryExecute, message(abi.ObserveTelemetry, start, device, bad))
	c.input.Evidence = &device
	day := 24 * time.Hour.Milliseconds()
	for name, m := range map[string]struct {
		want behaviour.Code
		b    []byte
	}{
		"about another":  {behaviour.CodeWrongDevice, message(abi.ObserveTelemetry, start, someone, bad)},
		"a gateway's":    {behaviour.CodeNotEvidence, message(abi.ObserveSilence, start, device, silence(0))},
		"of a denial":    {behaviour.CodeNotEvidence, message(abi.ObserveDenial, start, device, denial("x"))},
		"of the future":  {behaviour.CodeOldEvidence, message(abi.ObserveTelemetry, start+day, device, bad)},
		"of long ago":    {behaviour.CodeOldEvidence, message(abi.ObserveTelemetry, start-day-1, device, bad)},
		"of no time":     {behaviour.CodeOldEvidence, message(abi.ObserveTelemetry, -1<<63, device, bad)},
		"empty":          {behaviour.CodeTooMany, message(abi.ObserveTelemetry, start, device, []byte{0x80})},
		"not a record":   {behaviour.CodeMalformed, message(abi.ObserveTelemetry, start, device, []byte{0x81, 1})},
		"not an obs":     {behaviour.CodeMalformed, []byte{0x80}},
		"too many items": {behaviour.CodeTooMany, message(abi.ObserveTelemetry, start, device, append([]byte{0x99, 1, 1}, make([]byte, 257)...))},
	} {
		t.Run(name, func(t *testing.T) { c.refuse(m.want, abi.EntryExecute, m.b) })
	}
	once := message(abi.ObserveTelemetry, start, device, bad)
	c.must(abi.EntryExecute, once)
	c.refuse(behaviour.CodeOldEvidence, abi.EntryExecute, once)
	c.refuse(behaviour.CodeOldEvidence, abi.EntryExecute, message(abi.ObserveTelemetry, start-1, device, bad))
	// A pardon forgets the score, but what was judged is not judged again.
	c.input.Evidence = nil
	c.as(owner).must(abi.EntryExecute, behaviour.Pardon(device))
	s, _ := behaviour.ParseStanding(c.must(abi.EntryQuery, behaviour.AskDevice(device)))
	c.input.Evidence = &device
	c.refuse(behaviour.CodeOldEvidence, abi.EntryExecute, once)
	if s.Score != 0 || s.LastEvidence != start {
		t.Errorf("%+v", s)
	}
}

// The largest observations and records stay within their limits.
func TestLargestObservations(t *testing.T) {
	c := withProfile(t, sensorProfile)
	var b strings.Builder
	for i := range 256 {
		fmt.Fprintf(&b, `%.*s{"n":"%s:%d:temperature","u":"Cel","v":%d}`, min(i, 1), ",", strings.Repeat("x", 200), i, 100+i)
	}
	j := c.observe(abi.ObserveTelemetry, telemetry(t, "["+b.String()+"]"))
	if len(j.Findings) != 65 || j.Findings[64] != "and 192 more" || j.Score != 2560 || len(c.env.local) > abi.MaxLocal {
		t.Errorf("%d findings, %d bytes kept: %+v", len(j.Findings), len(c.env.local), j.Score)
	}
	c = newChain(t, wasm.EngineAuto)
	c.load(&behaviour.Profile{MUD: mudOf(t, "door_sensor.json")}, 0)
	list := make([]flows.Record, 256)
	for i := range list {
		list[i] = flows.Record{Remote: netip.AddrFrom16([16]byte{0x20, 1, 15: byte(i)}), Protocol: 255, Ports: true, RemotePort: 65535, LocalPort: 1, Name: strings.Repeat("n", 200), Bytes: 1 << 60}
	}
	j = c.observe(abi.ObserveFlows, flows.AppendPayload(nil, list))
	if len(j.Findings) != 65 || j.Score != 2560 || c.used > 10_000_000 {
		t.Errorf("%d findings, %d gas: %+v", len(j.Findings), c.used, j)
	}
}

// Mutated observations are refused or judged: the contract never traps.
func TestMutatedObservations(t *testing.T) {
	c := withProfile(t, sensorProfile)
	p := profileOf(t, sensorProfile)
	p.MUD = mudOf(t, "augustdoorbellcamMud.json")
	c.load(p, 1)
	var seeds [][]byte
	add := func(kind abi.ObservationKind, payload []byte) {
		seeds = append(seeds, abi.AppendObservation(nil, &abi.Observation{Kind: kind, Device: device, Time: start, Payload: payload}))
	}
	add(abi.ObserveTelemetry, telemetry(t, `[{"n":"a:temperature","u":"Cel","v":21.25,"t":1699999880000},{"n":"door","vs":"open"},{"n":"case","vb":false}]`))
	add(abi.ObserveFlows, flows.AppendPayload(nil, append(doorFlows(t)[:4], foreign()...)))
	add(abi.ObserveSilence, silence(5))
	add(abi.ObserveDenial, denial("door"))
	random := rand.New(rand.NewPCG(1, 2))
	judged := 0
	for i := range 3000 {
		m := bytes.Clone(seeds[i%len(seeds)])
		for range 1 + random.IntN(3) {
			m[random.IntN(len(m))] = byte(random.Uint32())
		}
		_, code, err := c.call(abi.EntryObserve, m)
		if err != nil && code == 0 {
			t.Fatalf("%s: %v", hex.EncodeToString(m), err)
		}
		if err == nil {
			judged++
		}
	}
	if judged < 100 {
		t.Errorf("%d were judged", judged)
	}
	// So with records that a gateway kept of another version of the contract.
	for range 300 {
		c.env.local = make([]byte, random.IntN(200))
		for i := range c.env.local {
			c.env.local[i] = byte(random.Uint32())
		}
		if len(c.env.local) > 0 {
			c.env.local[0] = 0x88
		}
		if _, code, err := c.call(abi.EntryObserve, seeds[0]); err != nil && code == 0 {
			t.Fatalf("record %x: %v", c.env.local, err)
		}
	}
}
