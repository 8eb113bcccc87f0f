package behaviour_test

import (
	"fmt"
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
	// Nor does one that was wrong for a while stop the decay for ever.
	c.input.Time += 365 * 24 * time.Hour.Milliseconds()
	c.observe(abi.ObserveTelemetry, bad)
	c.input.Time -= 364 * 24 * time.Hour.Milliseconds()
	c.observe(abi.ObserveTelemetry, bad)
	c.input.Time += 10 * time.Minute.Milliseconds()
	if j := c.observe(abi.ObserveTelemetry, good); j.Score != 10 {
		t.Errorf("after a clock was wrong: %+v", j)
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

// A network or place that need not be listed: the one before must stay, and a
// new one is told once.
func TestWhatStays(t *testing.T) {
	c := withProfile(t, `{"telemetry": [{"name": "network", "stays": true, "theft": true, "weight": 50}]}`)
	for i, step := range []struct {
		network string
		want    abi.Level
	}{
		{"home", abi.LevelFine}, {"home", abi.LevelFine}, {"elsewhere", abi.LevelSuspectedStolen},
		{"elsewhere", abi.LevelFine}, {"home", abi.LevelSuspectedStolen}, {"", abi.LevelSuspectedStolen},
	} {
		j := c.observe(abi.ObserveTelemetry, telemetry(t, fmt.Sprintf(`[{"n":"a:network","vs":%q}]`, step.network)))
		if j.Level != step.want {
			t.Errorf("%d: %+v, want %v", i, j, step.want)
		}
	}
	if j := c.observe(abi.ObserveTelemetry, telemetry(t, `[{"n":"network","v":1}]`)); j.ReasonID != "sign-of-theft" {
		t.Errorf("a number: %+v", j)
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
