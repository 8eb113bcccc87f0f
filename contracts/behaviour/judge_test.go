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
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/contracts/behaviour"
	"github.com/seed79541315/postern/net/flows"
	"github.com/seed79541315/postern/runtime/wasm"
)

// telemetry makes a payload of JSON records {"n": …, "t": ms, "u": …, "v": …,
// "vs": …, "vb": …}.
func telemetry(t testing.TB, records string) []byte {
	t.Helper()
	keys := map[string]uint64{"n": 1, "t": 2, "u": 3, "v": 4, "vs": 5, "vb": 6}
	raw, err := cbor.AppendJSON(nil, []byte(records))
	if err != nil {
		t.Fatal(err)
	}
	r := cbor.NewReader(raw)
	n := r.Array()
	b := cbor.AppendArray(nil, n)
	for range n {
		fields := map[uint64][]byte{}
		for k := r.Map(); k > 0; k-- {
			name := r.Text()
			fields[keys[name]] = r.Raw()
		}
		b = cbor.AppendMap(b, len(fields))
		for key := range uint64(9) {
			if v, ok := fields[key]; ok {
				b = append(cbor.AppendUint(b, key), v...)
			}
		}
	}
	return b
}

func profileOf(t testing.TB, src string) *behaviour.Profile {
	t.Helper()
	p, err := behaviour.ParseProfile([]byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func withProfile(t testing.TB, src string) *chain {
	c := newChain(t, wasm.EngineAuto)
	c.load(profileOf(t, src), 0)
	return c
}

const sensorProfile = `{
	"strict_names": true, "half_life": "10m",
	"telemetry": [
		{"name": "temperature", "unit": "Cel", "min": -20.5, "max": 60, "change": 2},
		{"name": "door", "states": ["closed", "open", "locked"], "next": {"closed": ["open", "locked"], "open": ["closed"], "locked": ["closed"]}},
		{"name": "case", "is": true, "theft": true, "weight": 60},
		{"name": "network", "states": ["home", "work"], "theft": true},
		{"name": "battery", "min": 0, "max": 1e2, "weight": 1}
	]}`

func TestTelemetry(t *testing.T) {
	for records, want := range map[string]string{
		`[{"n":"urn:dev:x:temperature","u":"Cel","v":21.5}]`:                                              "",
		`[{"n":"temperature","u":"Cel","v":-20.5},{"n":"a/battery","v":100}]`:                             "",
		`[{"n":"temperature","u":"Cel","v":-20.500000000000001}]`:                                         "value-out-of-range",
		`[{"n":"temperature","u":"Cel","v":60.1}]`:                                                        "value-out-of-range",
		`[{"n":"temperature","u":"K","v":21}]`:                                                            "wrong-form",
		`[{"n":"temperature","v":21}]`:                                                                    "wrong-form",
		`[{"n":"temperature","u":"Cel","vs":"21"}]`:                                                       "wrong-form",
		`[{"n":"mytemperature","u":"Cel","v":21}]`:                                                        "unknown-name",
		`[{"n":"humidity","v":21}]`:                                                                       "unknown-name",
		`[{"n":"door","vs":"closed"},{"n":"door","vs":"locked"}]`:                                         "",
		`[{"n":"door","vs":"open"},{"n":"door","vs":"locked"}]`:                                           "unexpected-state",
		`[{"n":"a:door","vs":"open"},{"n":"b:door","vs":"locked"}]`:                                       "",
		`[{"n":"door","vs":"broken"}]`:                                                                    "unexpected-state",
		`[{"n":"door","v":1}]`:                                                                            "wrong-form",
		`[{"n":"case","vb":true},{"n":"network","vs":"work"}]`:                                            "",
		`[{"n":"case","vb":false}]`:                                                                       "sign-of-theft",
		`[{"n":"network","vs":"elsewhere"}]`:                                                              "sign-of-theft",
		`[{"n":"temperature","u":"Cel","v":20,"t":1699999880000},{"n":"temperature","u":"Cel","v":24}]`:   "",
		`[{"n":"temperature","u":"Cel","v":20,"t":1699999880000},{"n":"temperature","u":"Cel","v":24.1}]`: "change-too-fast",
		`[{"n":"temperature","u":"Cel","v":20},{"n":"temperature","u":"Cel","v":20}]`:                     "",
		// Neither equal times nor times ahead or behind hide a jump.
		`[{"n":"temperature","u":"Cel","v":20},{"n":"temperature","u":"Cel","v":30}]`:                   "change-too-fast",
		`[{"n":"temperature","u":"Cel","v":20},{"n":"temperature","u":"Cel","v":30,"t":1800000000000}]`: "change-too-fast",
		`[{"n":"temperature","u":"Cel","v":20},{"n":"temperature","u":"Cel","v":30,"t":1600000000000}]`: "change-too-fast",
	} {
		c := withProfile(t, sensorProfile)
		j := c.observe(abi.ObserveTelemetry, telemetry(t, records))
		if j.ReasonID != want || (want == "") != (len(j.Findings) == 0) || len(j.Findings) > 1 {
			t.Errorf("%s: %+v, want %q", records, j, want)
		}
	}
}

// Changes are seen from report to report, by the gateway's own record.
func TestChangeAcrossReports(t *testing.T) {
	c := withProfile(t, sensorProfile)
	for i, step := range []struct {
		after time.Duration
		value string
		want  abi.Level
	}{
		{0, "20", abi.LevelFine}, {time.Minute, "22", abi.LevelFine}, {time.Minute, "25", abi.LevelAlert},
		{30 * time.Minute, "60", abi.LevelFine}, {time.Second, "59.9", abi.LevelAlert}, {time.Minute, "58", abi.LevelFine},
	} {
		c.input.Time += step.after.Milliseconds()
		j := c.observe(abi.ObserveTelemetry, telemetry(t, `[{"n":"temperature","u":"Cel","v":`+step.value+`}]`))
		if j.Level != step.want {
			t.Errorf("%d: %+v", i, j)
		}
	}
}

// Findings add up, halve with time, and name the level; an observation without
// any is fine whatever the score.
func TestScores(t *testing.T) {
	c := withProfile(t, sensorProfile)
	bad := telemetry(t, `[{"n":"temperature","u":"Cel","v":99}]`)
	good := telemetry(t, `[{"n":"battery","v":50}]`)
	for i := 1; i <= 9; i++ {
		if j := c.observe(abi.ObserveTelemetry, bad); j.Level != abi.LevelAlert || j.Score != int64(10*i) {
			t.Fatalf("%d: %+v", i, j)
		}
	}
	if j := c.observe(abi.ObserveTelemetry, good); j.Level != abi.LevelFine || j.Score != 90 {
		t.Fatalf("%+v", j)
	}
	if j := c.observe(abi.ObserveTelemetry, bad); j.Level != abi.LevelQuarantine || j.Score != 100 || j.Reason != uint64(behaviour.ReasonValueOutOfRange) {
		t.Fatalf("%+v", j)
	}
	for _, step := range []struct {
		after time.Duration
		want  int64
	}{{10 * time.Minute, 50}, {5 * time.Minute, 37}, {5 * time.Minute, 28}, {20 * time.Minute, 7}, {24 * time.Hour, 0}, {1000 * time.Hour, 0}} {
		c.input.Time += step.after.Milliseconds()
		if j := c.observe(abi.ObserveTelemetry, good); j.Score != step.want {
			t.Errorf("%v later: %d, want %d", step.after, j.Score, step.want)
		}
	}
	// A clock that goes back lets no time pass, and gives none back.
	c.observe(abi.ObserveTelemetry, bad)
	c.input.Time -= time.Hour.Milliseconds()
	if j := c.observe(abi.ObserveTelemetry, bad); j.Score != 20 {
		t.Errorf("%+v", j)
	}
	light := telemetry(t, `[{"n":"battery","v":101}]`)
	c.env.local = nil
	if j := c.observe(abi.ObserveTelemetry, light); j.Level != abi.LevelFine || j.Score != 1 || len(j.Findings) != 1 {
		t.Errorf("below the threshold: %+v", j)
	}
}

func TestTheft(t *testing.T) {
	c := withProfile(t, sensorProfile)
	j := c.observe(abi.ObserveLocation, telemetry(t, `[{"n":"network","vs":"elsewhere"}]`))
	if j.Level != abi.LevelAlert {
		t.Errorf("one sign: %+v", j)
	}
	j = c.observe(abi.ObserveTelemetry, telemetry(t, `[{"n":"case","vb":false}]`))
	if j.Level != abi.LevelSuspectedStolen || j.Score != 85 || j.ReasonID != "sign-of-theft" {
		t.Errorf("two signs: %+v", j)
	}
}

func TestRates(t *testing.T) {
	c := withProfile(t, `{"reports_per_minute": 6, "bytes_per_hour": 10000, "mud": `+string(largeMUD(4))+`}`)
	report := telemetry(t, `[{"n":"x","v":1}]`)
	for i := range 6 {
		if j := c.observe(abi.ObserveTelemetry, report); j.Level != abi.LevelFine {
			t.Fatalf("report %d: %+v", i, j)
		}
	}
	if j := c.observe(abi.ObserveTelemetry, report); j.ReasonID != "too-many-reports" {
		t.Errorf("the seventh: %+v", j)
	}
	for range 100 {
		c.observe(abi.ObserveTelemetry, report)
	}
	c.input.Time += 3 * time.Minute.Milliseconds()
	if j := c.observe(abi.ObserveTelemetry, report); j.ReasonID != "" {
		t.Errorf("three minutes after a flood: %+v", j)
	}
	transfer := func(bytes uint64) string {
		r := largeFlows(2, 4)[1:]
		r[0].RemotePort, r[0].Bytes = 3003, bytes
		return c.observe(abi.ObserveFlows, flows.AppendPayload(nil, r)).ReasonID
	}
	c.input.Time += time.Hour.Milliseconds()
	if a, b := transfer(9000), transfer(2000); a != "" || b != "too-many-bytes" {
		t.Errorf("%q, %q", a, b)
	}
	c.input.Time += time.Hour.Milliseconds()
	if a := transfer(8000); a != "" {
		t.Errorf("an hour later: %q", a)
	}
	if a := transfer(1 << 62); a != "too-many-bytes" {
		t.Errorf("%q", a)
	}
}

func silence(last int64) []byte {
	return cbor.AppendInt(cbor.AppendUint(cbor.AppendMap(cbor.AppendArray(nil, 1), 1), 1), last)
}

func TestSilence(t *testing.T) {
	c := withProfile(t, `{"silence": "5m"}`)
	if j := c.observe(abi.ObserveTelemetry, telemetry(t, `[{"n":"x","v":1}]`)); j.Timer != 300_000 {
		t.Errorf("%+v", j)
	}
	c.input.Time += 200_000
	if j := c.observe(abi.ObserveSilence, silence(start)); j.Timer != 100_000 || len(j.Findings) > 0 {
		t.Errorf("too early: %+v", j)
	}
	c.input.Time += 100_000
	if j := c.observe(abi.ObserveSilence, silence(start)); j.Timer != 300_000 || j.Level != abi.LevelAlert || j.ReasonID != "silent" {
		t.Errorf("%+v", j)
	}
	if j := withProfile(t, `{}`).observe(abi.ObserveSilence, silence(0)); j.Level != abi.LevelFine || j.Timer != 0 {
		t.Errorf("nobody asked: %+v", j)
	}
}

func TestHours(t *testing.T) {
	c := withProfile(t, `{"hours": {"zone": "Europe/Vienna", "windows": [{"days": ["mon-fri"], "from": "07:00", "to": "18:00"}, {"days": ["fri"], "from": "22:00", "to": "02:00"}]}}`)
	report := telemetry(t, `[{"n":"x","v":1}]`)
	vienna, err := time.LoadLocation("Europe/Vienna")
	if err != nil {
		t.Fatal(err)
	}
	for at, inside := range map[string]bool{
		"2026-11-23 07:00": true, "2026-11-23 06:59": false, "2026-11-23 17:59": true, "2026-11-23 18:00": false, // Monday
		"2026-07-20 07:00": true, "2026-07-20 06:59": false, // in summer time
		"2026-11-27 23:00": true, "2026-11-28 01:59": true, "2026-11-28 02:00": false, "2026-11-28 12:00": false,
		"2050-01-03 12:00": true, // beyond what the table knows nothing is outside
	} {
		when, err := time.ParseInLocation("2006-01-02 15:04", at, vienna)
		if err != nil {
			t.Fatal(err)
		}
		c.env.local, c.input.Time = nil, when.UnixMilli()
		if j := c.observe(abi.ObserveTelemetry, report); (j.ReasonID == "") != inside {
			t.Errorf("%s: %+v", at, j)
		}
	}
	c.env.local, c.env.trusted = nil, false
	c.input.Time = start
	if j := c.observe(abi.ObserveTelemetry, report); j.ReasonID != "" {
		t.Errorf("by a clock that is not to be trusted: %+v", j)
	}
}

func denial(resource string) []byte {
	b := cbor.AppendMap(cbor.AppendArray(nil, 1), 4)
	b = cbor.AppendText(cbor.AppendUint(b, 1), "default")
	b = cbor.AppendUint(cbor.AppendUint(b, 2), uint64(abi.CodeDenied))
	b = cbor.AppendText(cbor.AppendUint(b, 3), "unlock")
	return cbor.AppendText(cbor.AppendUint(b, 4), resource)
}

// A few denials are nothing; probing is.
func TestDenials(t *testing.T) {
	c := withProfile(t, `{"silence": "1h"}`)
	for i := range 60 {
		want := abi.LevelFine
		if i >= 49 {
			want = abi.LevelQuarantine
		} else if i >= 4 {
			want = abi.LevelAlert
		}
		if j := c.observe(abi.ObserveDenial, denial(fmt.Sprint("door-", i))); j.Level != want || j.Timer != 0 {
			t.Fatalf("denial %d: %+v", i, j)
		}
	}
}

// What others chose reaches operators as printable ASCII.
func TestFindingsDoNoHarm(t *testing.T) {
	c := withProfile(t, `{"alert": 1}`)
	j := c.observe(abi.ObserveDenial, denial("\x1b[2J\u202e"+strings.Repeat("x", 1000)))
	if len(j.Findings) != 1 || strings.ContainsFunc(j.Findings[0], func(r rune) bool { return r < ' ' || r > '~' }) || len(j.Findings[0]) > 160 {
		t.Errorf("%q", j.Findings)
	}
}

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
