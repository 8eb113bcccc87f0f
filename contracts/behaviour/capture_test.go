package behaviour_test

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/contracts/behaviour"
	"github.com/seed79541315/postern/net/capture"
	"github.com/seed79541315/postern/net/flows"
	"github.com/seed79541315/postern/runtime/wasm"
)

// The door sensor's network: its gateway is the controller that its MUD file
// calls urn:ietf:params:mud:gateway.
var doorSite = behaviour.Site{"controller:urn:ietf:params:mud:gateway": {netip.MustParsePrefix("10.42.0.1/32")}}

// doorFlows are the records of the door sensor's capture.
func doorFlows(t testing.TB) []flows.Record {
	t.Helper()
	f, err := os.Open("../../net/capture/testdata/door_sensor.pcapng")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	table, err := capture.NewTable(net.HardwareAddr{0xb8, 0x06, 0x0d, 0x3b, 0x47, 0xf8})
	if err != nil {
		t.Fatal(err)
	}
	if err := capture.ReadFile(f, func(data []byte, length int, _ time.Time) error {
		table.Frame(data, length)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	records, lost := table.Take()
	if len(records) < 100 || lost > 0 {
		t.Fatalf("%d records, %d packets lost", len(records), lost)
	}
	return records
}

// foreign are flows that the door sensor's MUD file does not admit, each of
// another kind.
func foreign() []flows.Record {
	to := func(addr string, protocol uint8, port uint16) flows.Record {
		return flows.Record{Remote: netip.MustParseAddr(addr), Protocol: protocol, Ports: true, RemotePort: port, LocalPort: 40001, Packets: 1, Bytes: 60}
	}
	from := func(r flows.Record) flows.Record {
		r.ToDevice = true
		return r
	}
	begun := func(r flows.Record, by flows.Begun) flows.Record {
		r.Begun = by
		return r
	}
	return []flows.Record{
		to("203.0.113.9", 6, 443),                         // a stranger at a port that it uses
		to("54.187.112.38", 6, 8883),                      // its own server, another port
		to("54.187.112.38", 17, 443),                      // its own server, another protocol
		begun(to("54.187.112.38", 6, 443), flows.ByOther), // begun from outside
		to("54.187.112.39", 6, 443),                       // the address next to its server's
		to("10.42.0.77", 6, 23),                           // telnet to a neighbour
		to("10.42.0.1", 17, 53),                           // DNS that the site does not serve
		to("255.255.255.255", 17, 6668),                   // a broadcast to another port
		to("2001:db8::1", 6, 443),                         // IPv6, of which its file says nothing
		from(to("203.0.113.9", 6, 8886)),                  // a stranger that calls
		from(to("10.42.0.2", 17, 67)),                     // DHCP by somebody else than the gateway
		{Remote: netip.MustParseAddr("10.42.0.1"), Protocol: 1, ICMP: 8 << 8, Packets: 1},
		{Ethertype: 0x88cc, Packets: 1}, // LLDP, where its file knows ARP
	}
}

// A real device's own traffic raises no alert by its own manufacturer's
// description. The file has no entry for one record of it: the ARP packets to
// the sensor. It speaks of frames only from the device, so those to it are not
// judged, and the file's notes say so.
func TestOwnTrafficOfARealDevice(t *testing.T) {
	c := newChain(t, wasm.EngineAuto)
	m := mudOf(t, "door_sensor.json")
	c.load(&behaviour.Profile{MUD: m}, 0)
	c.site(doorSite)
	records := doorFlows(t)
	for part := range slices.Chunk(records, 50) {
		if j := c.observe(abi.ObserveFlows, flows.AppendPayload(nil, part)); j.Level != abi.LevelFine || j.Score != 0 || len(j.Findings) > 0 {
			t.Errorf("%+v", j)
		}
	}
	isARPTo := func(r flows.Record) bool { return r.ToDevice && r.Ethertype == 0x0806 }
	if i := slices.IndexFunc(records, isARPTo); i < 0 || records[i].Packets != 86 {
		t.Error("the capture has no ARP to the device")
	}
	if !slices.ContainsFunc(m.Notes, func(n behaviour.Note) bool {
		return strings.Contains(n.Path, "to-device-policy") && strings.Contains(n.Text, "not judged")
	}) {
		t.Errorf("no note says that frames to the device are not judged: %v", m.Notes)
	}

	m.FramesTo = true
	c.load(&behaviour.Profile{MUD: m}, 1)
	for _, r := range records {
		c.env.local = nil
		j := c.observe(abi.ObserveFlows, flows.AppendPayload(nil, []flows.Record{r}))
		if fine := j.Level == abi.LevelFine; fine == isARPTo(r) {
			t.Errorf("%+v: %+v, where frames to the device are judged", r, j)
		}
	}
}

// Each foreign flow in the midst of the sensor's own is told, and none besides.
func TestForeignFlowsAmongARealDevices(t *testing.T) {
	c := newChain(t, wasm.EngineAuto)
	c.load(&behaviour.Profile{MUD: mudOf(t, "door_sensor.json")}, 0)
	c.site(doorSite)
	own := doorFlows(t)
	for _, stranger := range foreign() {
		for at := 0; at < len(own); at += 37 {
			part := slices.Insert(slices.Clone(own[at:min(at+37, len(own))]), 2, stranger)
			c.env.local = nil
			j := c.observe(abi.ObserveFlows, flows.AppendPayload(nil, part))
			if j.Level != abi.LevelAlert || len(j.Findings) != 1 || j.ReasonID != behaviour.ReasonFlowNotAdmitted.String() {
				t.Fatalf("%+v: %+v", stranger, j)
			}
		}
	}
	all := foreign()
	c.env.local = nil
	j := c.observe(abi.ObserveFlows, flows.AppendPayload(nil, append(own, all...)))
	if j.Level != abi.LevelQuarantine || len(j.Findings) != len(all) || j.Score != int64(10*len(all)) {
		t.Errorf("all at once: %+v", j)
	}
	for _, f := range j.Findings {
		t.Log(f)
	}
}

// The compiler and the interpreter judge alike, at the same price.
func TestEnginesAgree(t *testing.T) {
	type end struct {
		judgement string
		used      uint64
	}
	var ends [2][]end
	for i, engine := range []wasm.Engine{wasm.EngineAuto, wasm.EngineInterpreter} {
		c := newChain(t, engine)
		c.load(&behaviour.Profile{MUD: mudOf(t, "door_sensor.json")}, 0)
		c.site(doorSite)
		for part := range slices.Chunk(append(doorFlows(t), foreign()...), 30) {
			j := c.observe(abi.ObserveFlows, flows.AppendPayload(nil, part))
			ends[i] = append(ends[i], end{string(abi.AppendJudgement(nil, &j)), c.used})
		}
	}
	if !slices.Equal(ends[0], ends[1]) {
		t.Errorf("%+v\n%+v", ends[0], ends[1])
	}
}
