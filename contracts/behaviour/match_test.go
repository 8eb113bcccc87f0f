package behaviour_test

import (
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/contracts/behaviour"
	"github.com/seed79541315/postern/net/flows"
	"github.com/seed79541315/postern/runtime/wasm"
)

// fileOf is a MUD file with one entry in a direction.
func fileOf(direction, kind, matches string) string {
	return `{"ietf-mud:mud":{"mud-version":1,"mud-url":"https://maker.example/m1","` + direction + `-policy":{"access-lists":{"access-list":[{"name":"l"}]}}},
		"ietf-access-control-list:acls":{"acl":[{"name":"l","type":"` + kind + `","aces":{"ace":[{"name":"e","matches":` + matches + `,"actions":{"forwarding":"accept"}}]}}]}}`
}

var testSite = behaviour.Site{
	"controller:urn:ietf:params:mud:dns":     {netip.MustParsePrefix("10.0.0.1/32")},
	"controller:https://c.example":           {netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00:1::/32")},
	"my-controller:https://maker.example/m1": {netip.MustParsePrefix("10.2.0.1/32")},
	"manufacturer:maker.example":             {netip.MustParsePrefix("10.3.0.0/24")},
	"manufacturer:other.example":             {netip.MustParsePrefix("10.4.0.0/24")},
	"model:https://maker.example/m2":         {netip.MustParsePrefix("10.5.0.1/32")},
}

func remote(addr string, protocol uint8, remotePort, localPort uint16) flows.Record {
	return flows.Record{Remote: netip.MustParseAddr(addr), Protocol: protocol, Ports: true, RemotePort: remotePort, LocalPort: localPort, Packets: 1}
}

func with(r flows.Record, change func(*flows.Record)) flows.Record {
	change(&r)
	return r
}

func named(name string) func(*flows.Record)      { return func(r *flows.Record) { r.Name = name } }
func begunBy(by flows.Begun) func(*flows.Record) { return func(r *flows.Record) { r.Begun = by } }
func icmp(kind, code uint16) func(*flows.Record) {
	return func(r *flows.Record) { r.Ports, r.RemotePort, r.LocalPort, r.ICMP = false, 0, 0, kind<<8|code }
}

// Each match of RFC 8519 and RFC 8520 admits what it should, and no more.
func TestMatches(t *testing.T) {
	https := remote("203.0.113.9", 6, 443, 5000)
	for _, c := range []struct {
		kind, matches  string
		admits, denies []flows.Record
	}{
		{"ipv4-acl-type", `{"ipv4":{"protocol":6,"destination-ipv4-network":"203.0.113.0/29"}}`,
			[]flows.Record{remote("203.0.113.7", 6, 1, 1)}, []flows.Record{https, remote("203.0.113.7", 17, 1, 1)}},
		{"ipv4-acl-type", `{"ipv4":{"ietf-acldns:dst-dnsname":"API.example.com."},"tcp":{"destination-port":{"operator":"eq","port":443}}}`,
			[]flows.Record{with(https, named("api.example.com")), with(https, named("Api.Example.COM."))},
			[]flows.Record{https, with(https, named("example.com")), with(https, named("x.api.example.com")), with(remote("203.0.113.9", 17, 443, 1), named("api.example.com"))}},
		{"ipv4-acl-type", `{"tcp":{"destination-port":{"operator":"neq","port":80}}}`,
			[]flows.Record{https, remote("1.1.1.1", 6, 79, 1), remote("1.1.1.1", 6, 65535, 1)}, []flows.Record{remote("1.1.1.1", 6, 80, 1), remote("2001:db8::1", 6, 79, 1)}},
		{"ipv4-acl-type", `{"udp":{"source-port":{"lower-port":5000,"upper-port":5010},"destination-port":{"operator":"gte","port":1024}}}`,
			[]flows.Record{remote("1.1.1.1", 17, 1024, 5010)}, []flows.Record{remote("1.1.1.1", 17, 1023, 5000), remote("1.1.1.1", 17, 2000, 5011), remote("1.1.1.1", 17, 2000, 4999)}},
		{"ipv4-acl-type", `{"udp":{"destination-port":{"operator":"lte","port":99}}}`,
			[]flows.Record{remote("1.1.1.1", 17, 99, 1)}, []flows.Record{remote("1.1.1.1", 17, 100, 1)}},
		{"ipv4-acl-type", `{"tcp":{"ietf-mud:direction-initiated":"from-device"}}`,
			[]flows.Record{https, with(https, begunBy(flows.ByDevice))}, []flows.Record{with(https, begunBy(flows.ByOther))}},
		{"ipv4-acl-type", `{"tcp":{"ietf-mud:direction-initiated":"to-device"}}`,
			[]flows.Record{https, with(https, begunBy(flows.ByOther))}, []flows.Record{with(https, begunBy(flows.ByDevice))}},
		{"ipv4-acl-type", `{"icmp":{"type":8,"code":0}}`,
			[]flows.Record{with(remote("1.1.1.1", 1, 0, 0), icmp(8, 0))}, []flows.Record{with(remote("1.1.1.1", 1, 0, 0), icmp(8, 1)), with(remote("1.1.1.1", 1, 0, 0), icmp(0, 0))}},
		{"ipv6-acl-type", `{"icmp":{"type":135},"ipv6":{"protocol":58,"destination-ipv6-network":"ff00::/8"}}`,
			[]flows.Record{with(remote("ff02::1", 58, 0, 0), icmp(135, 7))}, []flows.Record{with(remote("fe80::1", 58, 0, 0), icmp(135, 0)), with(remote("ff02::1", 58, 0, 0), icmp(136, 0))}},
		{"ipv6-acl-type", `{"ipv6":{"destination-ipv6-network":"2001:db8::/33"}}`,
			[]flows.Record{remote("2001:db8:7fff::1", 6, 1, 1)}, []flows.Record{remote("2001:db8:8000::1", 6, 1, 1), remote("32.1.13.184", 6, 1, 1)}},
		{"ipv4-acl-type", `{"ietf-mud:mud":{"local-networks":[null]}}`,
			[]flows.Record{remote("192.168.4.4", 6, 1, 1), remote("255.255.255.255", 17, 1, 1), remote("224.0.0.251", 17, 1, 1)}, []flows.Record{https, remote("172.32.0.1", 6, 1, 1), remote("224.0.1.1", 17, 1, 1)}},
		{"ipv6-acl-type", `{"ietf-mud:mud":{"local-networks":[null]}}`,
			[]flows.Record{remote("fe80::1", 6, 1, 1), remote("fd12::1", 6, 1, 1), remote("ff02::fb", 17, 1, 1)}, []flows.Record{remote("2001:db8::1", 6, 1, 1), remote("ff0e::1", 6, 1, 1), remote("10.0.0.1", 6, 1, 1)}},
		{"ipv4-acl-type", `{"ietf-mud:mud":{"controller":"https://c.example"},"tcp":{"destination-port":{"operator":"eq","port":443}}}`,
			[]flows.Record{remote("10.1.2.3", 6, 443, 1)}, []flows.Record{remote("10.1.2.3", 6, 80, 1), https, remote("fd00:1::1", 6, 443, 1)}},
		{"ipv4-acl-type", `{"ietf-mud:mud":{"my-controller":[null]}}`, []flows.Record{remote("10.2.0.1", 6, 1, 1)}, []flows.Record{remote("10.1.2.3", 6, 1, 1)}},
		{"ipv4-acl-type", `{"ietf-mud:mud":{"same-manufacturer":[null]}}`, []flows.Record{remote("10.3.0.9", 6, 1, 1)}, []flows.Record{remote("10.4.0.9", 6, 1, 1)}},
		{"ipv4-acl-type", `{"ietf-mud:mud":{"manufacturer":"other.example"}}`, []flows.Record{remote("10.4.0.9", 6, 1, 1)}, []flows.Record{remote("10.3.0.9", 6, 1, 1)}},
		{"ipv4-acl-type", `{"ietf-mud:mud":{"model":"https://maker.example/m2"}}`, []flows.Record{remote("10.5.0.1", 6, 1, 1)}, []flows.Record{remote("10.3.0.9", 6, 1, 1)}},
		{"ipv4-acl-type", `{"ietf-mud:mud":{"controller":"urn:nobody"}}`, nil, []flows.Record{https, remote("10.1.2.3", 6, 1, 1)}},
		{"ethernet-acl-type", `{"eth":{"ethertype":"0x888e"}}`, []flows.Record{{Ethertype: 0x888e}}, []flows.Record{{Ethertype: 0x0806}, https}},
		{"ethernet-acl-type", `{"eth":{"ethertype":"arp"},"ietf-mud:mud":{"local-networks":[null]}}`, []flows.Record{{Ethertype: 0x0806}}, []flows.Record{{Ethertype: 0x88cc}}},
		{"ethernet-acl-type", `{"eth":{"ethertype":"0x0800"}}`, []flows.Record{https}, []flows.Record{remote("2001:db8::1", 6, 1, 1)}},
		// What is not understood is passed over, but an entry of that alone is none.
		{"ipv4-acl-type", `{"x:new":{"a":1},"tcp":{"destination-port":{"operator":"eq","port":443}}}`, []flows.Record{https}, []flows.Record{remote("203.0.113.9", 6, 80, 1)}},
		{"ipv4-acl-type", `{"x:new":{"a":1}}`, nil, []flows.Record{https}},
		{"ipv4-acl-type", `{"ietf-mud:mud":{"controller":"https://c.example","manufacturer":"maker.example"}}`, nil, []flows.Record{remote("10.1.2.3", 6, 1, 1)}},
		{"ipv4-acl-type", `{"ipv4":{"protocol":6},"udp":{}}`, nil, []flows.Record{https, remote("1.1.1.1", 17, 1, 1)}},
		// The default entries: the site's own name service.
		{"ipv4-acl-type", `{"tcp":{}}`, []flows.Record{remote("10.0.0.1", 17, 53, 1)}, []flows.Record{remote("10.0.0.1", 17, 54, 1), remote("8.8.8.8", 17, 53, 1), remote("10.0.0.1", 17, 123, 1)}},
	} {
		for _, direction := range []string{"from-device", "to-device"} {
			matches := c.matches
			if direction == "to-device" {
				matches = strings.NewReplacer("destination-", "source-", "source-", "destination-", "dst-", "src-").Replace(matches)
			}
			judged := newChain(t, wasm.EngineAuto)
			m, err := behaviour.ParseMUD([]byte(fileOf(direction, c.kind, matches)))
			if err != nil {
				t.Errorf("%s: %v", c.matches, err)
				continue
			}
			judged.load(&behaviour.Profile{MUD: m}, 0)
			judged.site(testSite)
			for i, r := range append(slices.Clone(c.admits), c.denies...) {
				r.ToDevice = direction == "to-device"
				j := judged.observe(abi.ObserveFlows, flows.AppendPayload(nil, []flows.Record{r}))
				if admitted := j.ReasonID == ""; admitted != (i < len(c.admits)) {
					t.Errorf("%s %s: %+v: %+v", direction, c.matches, r, j)
				}
				r.ToDevice = !r.ToDevice
				if j := judged.observe(abi.ObserveFlows, flows.AppendPayload(nil, []flows.Record{r})); r.Remote.IsValid() && j.ReasonID == "" && !(r.RemotePort == 53 && r.Remote.String() == "10.0.0.1") {
					t.Errorf("%s %s admits the other direction: %+v", direction, c.matches, r)
				}
			}
		}
	}
}

// The first entry that holds decides, wherever they lie.
func TestTheFirstEntryDecides(t *testing.T) {
	entry := func(matches, action string) string {
		return `{"name":"e","matches":` + matches + `,"actions":{"forwarding":"` + action + `"}}`
	}
	wide, narrow := `{"ipv4":{"protocol":6}}`, `{"ipv4":{"protocol":6,"destination-ipv4-network":"203.0.113.9/32"}}`
	for _, c := range []struct {
		entries []string
		reason  string
	}{
		{[]string{entry(narrow, "drop"), entry(wide, "accept")}, "flow-forbidden"},
		{[]string{entry(wide, "accept"), entry(narrow, "reject")}, ""},
		{[]string{entry(narrow, "accept"), entry(wide, "drop")}, ""},
		{[]string{entry(wide, "drop"), entry(narrow, "accept")}, "flow-forbidden"},
	} {
		src := strings.Replace(fileOf("from-device", "ipv4-acl-type", "{}"), entry("{}", "accept"), strings.Join(c.entries, ","), 1)
		m, err := behaviour.ParseMUD([]byte(src))
		if err != nil {
			t.Fatal(err)
		}
		judged := newChain(t, wasm.EngineAuto)
		judged.load(&behaviour.Profile{MUD: m}, 0)
		if j := judged.observe(abi.ObserveFlows, flows.AppendPayload(nil, []flows.Record{remote("203.0.113.9", 6, 443, 1)})); j.ReasonID != c.reason {
			t.Errorf("%q: %+v", c.entries, j)
		}
	}
}

// holds is what an entry says, read one by one: the contract's buckets and
// pages must come to the same.
func holds(e *behaviour.Entry, r *flows.Record, site behaviour.Site) bool {
	in := func(class string) bool {
		return slices.ContainsFunc(site[class], func(p netip.Prefix) bool { return p.Contains(r.Remote) })
	}
	within := func(p *behaviour.Ports, port uint16) bool {
		return p == nil || r.Ports && port >= p.From && port <= p.To
	}
	ethertype := r.Ethertype
	if r.Remote.Is4() {
		ethertype = 0x0800
	} else if r.Remote.Is6() {
		ethertype = 0x86dd
	}
	switch {
	case e.ToDevice != r.ToDevice, e.Family == 4 && !r.Remote.Is4(), e.Family == 6 && !r.Remote.Is6(),
		e.Protocol != nil && (!r.Remote.IsValid() || *e.Protocol != r.Protocol),
		e.Network.IsValid() && !e.Network.Contains(r.Remote),
		!within(e.Remote, r.RemotePort), !within(e.Local, r.LocalPort),
		e.ICMPType != nil && *e.ICMPType != uint8(r.ICMP>>8), e.ICMPCode != nil && *e.ICMPCode != uint8(r.ICMP),
		e.Begun == behaviour.TheDevice && r.Begun == flows.ByOther, e.Begun == behaviour.TheOther && r.Begun == flows.ByDevice,
		e.Ethertype != nil && *e.Ethertype != ethertype, e.OnSite && r.Remote.IsValid() && !in(behaviour.LocalNetworks),
		e.Class != "" && !in(e.Class), e.DNSName != "" && e.DNSName != r.Name:
		return false
	}
	return true
}

// near makes a flow that an entry may hold for, or just not.
func near(e *behaviour.Entry, random *rand.Rand) flows.Record {
	r := flows.Record{ToDevice: e.ToDevice, Protocol: 6, Packets: 1, Begun: flows.Begun(random.IntN(3)), Name: e.DNSName}
	addresses := []string{"10.0.0.1", "192.168.1.7", "203.0.113.77", "255.255.255.255", "239.255.255.250", "fe80::1", "2001:db8::5", "ff02::fb"}
	r.Remote = netip.MustParseAddr(addresses[random.IntN(len(addresses))])
	if e.Network.IsValid() {
		r.Remote = e.Network.Addr()
		if random.IntN(4) == 0 {
			r.Remote = r.Remote.Next()
		}
	}
	if e.Protocol != nil {
		r.Protocol = *e.Protocol
	}
	if r.Protocol == 6 || r.Protocol == 17 {
		r.Ports, r.RemotePort, r.LocalPort = true, uint16(random.IntN(65536)), uint16(random.IntN(65536))
	}
	if e.Remote != nil {
		r.RemotePort = e.Remote.From + uint16(random.IntN(2))
	}
	if e.Local != nil {
		r.LocalPort = e.Local.To + uint16(random.IntN(2))
	}
	if e.ICMPType != nil {
		r.ICMP = uint16(*e.ICMPType)<<8 | uint16(random.IntN(2))
	}
	if e.Ethertype != nil && random.IntN(2) == 0 {
		r = flows.Record{ToDevice: e.ToDevice, Ethertype: *e.Ethertype, Packets: 1}
	}
	if random.IntN(8) == 0 {
		r.ToDevice = !r.ToDevice
	}
	return r
}

// By buckets the contract comes to what reading the entries one by one does,
// for the descriptions of real devices and a large one.
func TestBucketsDecideAsEntriesDo(t *testing.T) {
	files, err := filepath.Glob("testdata/mud/*.json")
	if err != nil {
		t.Fatal(err)
	}
	local := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("255.255.255.255/32"), netip.MustParsePrefix("239.0.0.0/8"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("ff02::/16")}
	site := behaviour.Site{behaviour.LocalNetworks: local, "controller:urn:ietf:params:mud:gateway": {netip.MustParsePrefix("192.168.1.7/32"), netip.MustParsePrefix("fe80::1/128")}, "controller:urn:ietf:params:mud:dns": {netip.MustParsePrefix("10.0.0.1/32")}}
	random := rand.New(rand.NewPCG(3, 4))
	for _, name := range append(files, "large") {
		src := largeMUD(1000)
		if name != "large" {
			if src, err = os.ReadFile(name); err != nil {
				t.Fatal(err)
			}
		}
		m, err := behaviour.ParseMUD(src)
		if err != nil {
			t.Fatal(err)
		}
		m.FramesFrom, m.FramesTo = true, true
		if name == "large" { // entries that forbid make the order count
			for i := range m.Entries {
				m.Entries[i].Drop = random.IntN(4) == 0
			}
		}
		c := newChain(t, wasm.EngineAuto)
		c.load(&behaviour.Profile{MUD: m}, 0)
		c.site(site)
		admitted := 0
		for range 600 {
			r := near(&m.Entries[random.IntN(len(m.Entries))], random)
			want := "flow-not-admitted"
			if i := slices.IndexFunc(m.Entries, func(e behaviour.Entry) bool { return holds(&e, &r, site) }); i >= 0 {
				if want = ""; m.Entries[i].Drop {
					want = "flow-forbidden"
				}
				admitted++
			}
			c.env.local = nil
			if j := c.observe(abi.ObserveFlows, flows.AppendPayload(nil, []flows.Record{r})); j.ReasonID != want {
				t.Fatalf("%s: %+v: %+v, want %q", name, r, j, want)
			}
		}
		if admitted < 50 || admitted > 550 {
			t.Errorf("%s: %d of 600 flows concern an entry", name, admitted)
		}
	}
}

// Mistakes are told with their path, all at once.
func TestMistakesNameTheirPath(t *testing.T) {
	for src, want := range map[string][]string{
		`{`:     {"JSON: "},
		`{} {}`: {"more than one value"},
		`{}`:    {".ietf-mud:mud: missing"},
		`{"ietf-mud:mud":{"mud-version":2,"mud-url":7,"cache-validity":169}}`: {
			".ietf-mud:mud.mud-version: only version 1", ".ietf-mud:mud.mud-url: not a text", ".ietf-mud:mud.cache-validity: 169"},
		fileOf("from-device", "ipv4-acl-type", `{"ipv4":{"protocol":256,"destination-ipv4-network":"1.2.3.4/33","dst-dnsname":""}}`): {
			".acl[0].aces.ace[0].matches.ipv4.protocol: 256", `.destination-ipv4-network: "1.2.3.4/33" is no network`, ".dst-dnsname: not a name"},
		fileOf("from-device", "ipv4-acl-type", `{"tcp":{"destination-port":{"operator":"like","port":65536},"direction-initiated":"up"},"eth":{"ethertype":"beer"}}`): {
			".tcp.destination-port.port: 65536", ".operator: none of", ".direction-initiated: neither", `.ethertype: "beer"`},
		fileOf("from-device", "ipv4-acl-type", `{"udp":{"source-port":{"lower-port":5,"upper-port":4},"destination-port":{}}}`): {
			".source-port: the range ends", ".destination-port.port: missing"},
		strings.Replace(fileOf("from-device", "t", `{}`), `"accept"`, `"maybe"`, 1):              {".actions.forwarding: neither accept"},
		strings.Replace(fileOf("from-device", "t", `{}`), `[{"name":"l"}]`, `[{"name":"m"}]`, 1): {`.access-list[0].name: there is no list "m"`},
		fileOf("from-device", "t", `[]`): {".matches: not an object"},
	} {
		_, err := behaviour.ParseMUD([]byte(src))
		for _, w := range want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%.80s: %v, want %q", src, err, w)
			}
		}
	}
	for src, want := range map[string]string{
		`{"alert":0}`:                                                                       ".alert: want 1 to",
		`{"half_life":"soon"}`:                                                              ".half_life: want a time span",
		`{"weights":{"rain":1}}`:                                                            ".weights.rain: no kind of finding",
		`{"telemetry":[{"name":""}]}`:                                                       ".telemetry[0].name: want 1 to 64",
		`{"telemetry":[{"name":"t","min":2,"max":1.9}]}`:                                    ".telemetry[0]: max is below min",
		`{"telemetry":[{"name":"t","min":1e40}]}`:                                           ".telemetry[0].min: 1e40",
		`{"telemetry":[{"name":"t","states":["a"],"stays":true}]}`:                          ".telemetry[0].stays: states are listed",
		`{"telemetry":[{"name":"t","next":{}}]}`:                                            ".telemetry[0].next: there are no states",
		`{"telemetry":[{"name":"t","states":["a"],"next":{"a":["b"]}}]}`:                    `.next: "b" is none`,
		`{"telemetry":[{"name":"t","max":1,"mx":2}]}`:                                       ".telemetry[0].mx: not known",
		`{"hours":{"zone":"Mars","windows":[{"from":"07:00","to":"25:00"}]}}`:               ".hours.zone: unknown time zone",
		`{"hours":{"zone":"UTC","windows":[{"days":["fri-mon"],"from":"7","to":"08:00"}]}}`: ".hours.windows[0].from: want a time of day",
		`{"mud":{"ietf-mud:mud":{}}}`:                                                       ".mud.ietf-mud:mud.mud-version: only version 1",
	} {
		if _, err := behaviour.ParseProfile([]byte(src)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", src, err, want)
		}
	}
}

// What the parser takes of damaged files, the contract takes.
func TestDamagedFilesLoadOrAreRefused(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	words := []string{`"eq"`, `"neq"`, `"gte"`, "443", "0", "65535", "null", `""`, "[null]", "{}", "[]", `"tcp"`, `"icmp"`, `"ipv6"`, `"0x0800"`, `"drop"`, `"::/0"`, `"ethernet-acl-type"`}
	loaded := 0
	for i := range 400 {
		src, err := os.ReadFile(filepath.Join("testdata", "mud", []string{"lifxbulbMud.json", "augustdoorbellcamMud.json", "door_sensor.json"}[i%3]))
		if err != nil {
			t.Fatal(err)
		}
		// A value gives way to another, or a word of the vocabulary.
		list := strings.Split(string(src), ":")
		for range 1 + random.IntN(3) {
			at := 1 + random.IntN(len(list)-1)
			value := strings.TrimSpace(list[at])
			if end := strings.IndexAny(value, ",}"); end > 0 && value[0] != '{' && value[0] != '[' {
				list[at] = words[random.IntN(len(words))] + value[end:]
			}
		}
		m, err := behaviour.ParseMUD([]byte(strings.Join(list, ":")))
		if err != nil {
			continue
		}
		messages, err := (&behaviour.Profile{MUD: m}).Messages("it", 1, 0)
		if err != nil {
			continue
		}
		loaded++
		c := newChain(t, wasm.EngineAuto)
		for _, message := range messages {
			c.must(abi.EntryExecute, message)
		}
		if _, err := behaviour.ParseInfo(c.must(abi.EntryQuery, behaviour.Describe("it"))); err != nil {
			t.Fatal(err)
		}
	}
	if loaded < 50 {
		t.Errorf("%d of 400 files loaded", loaded)
	}
}

func FuzzMUD(f *testing.F) {
	for _, name := range []string{"lifxbulbMud.json", "augustdoorbellcamMud.json", "door_sensor.json"} {
		src, err := os.ReadFile(filepath.Join("testdata", "mud", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(src))
	}
	f.Add(fileOf("to-device", "ipv6-acl-type", `{"ipv6":{"src-dnsname":"a.example"},"udp":{"source-port":{"operator":"neq","port":7}},"ietf-mud:mud":{"model":"x","local-networks":[null]}}`))
	f.Fuzz(func(t *testing.T, src string) {
		m, err := behaviour.ParseMUD([]byte(src))
		if err != nil {
			return
		}
		for i := range m.Entries {
			_ = m.Entries[i].String()
		}
		messages, err := (&behaviour.Profile{MUD: m}).Messages("it", 1, 0)
		for _, message := range messages {
			if err := cbor.Validate(message); err != nil {
				t.Fatal(err)
			}
		}
		if err == nil && len(messages) < 2 {
			t.Fatalf("%d messages", len(messages))
		}
	})
}

// FuzzProfile: what is read of a profile, the contract admits whole.
func FuzzProfile(f *testing.F) {
	f.Add(sensorProfile)
	f.Add(`{"telemetry":[{"name":"network","stays":true,"theft":true,"weight":50}],"bytes_per_hour":9}`)
	f.Add(`{"mud":{"ietf-mud:mud":{"mud-version":1,"mud-url":"https://a.example/m"}},"hours":{"zone":"UTC","windows":[{"days":["mon-fri","sun"],"from":"07:00","to":"24:00"}]},"weights":{"silent":0},"silence":"1h"}`)
	f.Fuzz(func(t *testing.T, src string) {
		p, err := behaviour.ParseProfile([]byte(src))
		if err != nil {
			return
		}
		messages, err := p.Messages("it", 1, 0)
		if err != nil {
			return // more than a profile holds
		}
		c := newChain(t, wasm.EngineAuto)
		for _, message := range messages {
			c.must(abi.EntryExecute, message)
		}
	})
}
