package behaviour_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/contracts"
	"github.com/seed79541315/postern/contracts/behaviour"
	"github.com/seed79541315/postern/net/flows"
	"github.com/seed79541315/postern/runtime/wasm"
)

// largeMUD is a description with n entries from the device: by name, address,
// port and network in turn.
func largeMUD(n int) []byte {
	var b strings.Builder
	b.WriteString(`{"ietf-mud:mud":{"mud-version":1,"mud-url":"https://large.example/mud","from-device-policy":{"access-lists":{"access-list":[{"name":"from"}]}}},
		"ietf-access-control-list:acls":{"acl":[{"name":"from","type":"ipv4-acl-type","aces":{"ace":[`)
	for i := range n {
		match := fmt.Sprintf(`"ipv4":{"protocol":6,"ietf-acldns:dst-dnsname":"host-%d.example.com"},"tcp":{"destination-port":{"operator":"eq","port":443},"ietf-mud:direction-initiated":"from-device"}`, i)
		switch i % 4 {
		case 1:
			match = fmt.Sprintf(`"ipv4":{"protocol":6,"destination-ipv4-network":"198.18.%d.%d/32"},"tcp":{"destination-port":{"operator":"eq","port":8883}}`, i>>8, i&255)
		case 2:
			match = fmt.Sprintf(`"ietf-mud:mud":{"local-networks":[null]},"ipv4":{"protocol":17},"udp":{"destination-port":{"operator":"eq","port":%d}}`, 2000+i)
		case 3:
			match = fmt.Sprintf(`"ipv4":{"protocol":6,"destination-ipv4-network":"198.19.%d.0/24"},"tcp":{"destination-port":{"operator":"eq","port":%d}}`, i>>2&255, 3000+i)
		}
		fmt.Fprintf(&b, `%.*s{"name":"from-%d","matches":{%s},"actions":{"forwarding":"accept"}}`, min(i, 1), ",", i, match)
	}
	b.WriteString(`]}}]}}`)
	return []byte(b.String())
}

// largeFlows are n flows that a large description admits, of all kinds, and
// every tenth that it does not.
func largeFlows(n, entries int) []flows.Record {
	list := make([]flows.Record, n)
	for k := range list {
		i := k * 7919 % entries
		r := flows.Record{Protocol: 6, Ports: true, LocalPort: uint16(40000 + k), Begun: flows.ByDevice, Packets: 10, Bytes: 1000}
		switch i % 4 {
		case 0:
			r.Remote, r.RemotePort, r.Name = netip.AddrFrom4([4]byte{203, 0, 113, byte(k)}), 443, fmt.Sprintf("host-%d.example.com", i)
		case 1:
			r.Remote, r.RemotePort = netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}), 8883
		case 2:
			r.Remote, r.Protocol, r.RemotePort = netip.AddrFrom4([4]byte{10, 0, 0, byte(k)}), 17, uint16(2000+i)
		case 3:
			r.Remote, r.RemotePort = netip.AddrFrom4([4]byte{198, 19, byte(i >> 2), byte(k)}), uint16(3000+i)
		}
		if k%10 == 9 {
			r.RemotePort = 9
		}
		list[k] = r
	}
	return list
}

// BenchmarkFlows judges batches of flows by descriptions of several sizes.
func BenchmarkFlows(b *testing.B) {
	for _, engine := range []wasm.Engine{wasm.EngineCompiler, wasm.EngineInterpreter} {
		for _, entries := range []int{10, 100, 1000, 4000} {
			for _, batch := range []int{1, 64} {
				b.Run(fmt.Sprintf("%v/entries=%d/flows=%d", engine, entries, batch), func(b *testing.B) {
					benchmarkFlows(b, engine, entries, batch)
				})
			}
		}
	}
}

// crowd is a chain where so many devices are bound, and as many profiles loaded.
func crowd(tb testing.TB, n int) *chain {
	c := newChain(tb, wasm.EngineCompiler)
	for i := range n {
		id := abi.Hash{0xff, byte(i), byte(i >> 8), byte(i >> 16)}
		c.env.state["b"+string(id[:])] = []byte("it")
		c.env.state[fmt.Sprintf("aprofile-%d", i)] = make([]byte, 300)
	}
	return c
}

// What judging a flow costs does not grow with devices and profiles.
func TestGasStays(t *testing.T) {
	var gas [2]uint64
	for i, n := range []int{10, 10_000} {
		c := crowd(t, n)
		c.load(&behaviour.Profile{MUD: parsedMUD(t, 1000)}, 0)
		c.observe(abi.ObserveFlows, flows.AppendPayload(nil, largeFlows(64, 1000)))
		gas[i] = c.used
	}
	if gas[1]*2 > gas[0]*3 {
		t.Errorf("%d gas among 10 devices, %d among 10,000", gas[0], gas[1])
	}
}

func parsedMUD(tb testing.TB, entries int) *behaviour.MUD {
	tb.Helper()
	m, err := behaviour.ParseMUD(largeMUD(entries))
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// BenchmarkMain judges flows by a description of 1,000 entries while few and many
// devices are bound, and as many profiles loaded.
func BenchmarkMain(b *testing.B) {
	for _, n := range []int{10, 100_000} {
		b.Run(fmt.Sprintf("devices=%d", n), func(b *testing.B) {
			benchmarkFlowsOn(b, crowd(b, n), 1000, 64)
		})
	}
}

func benchmarkFlows(b *testing.B, engine wasm.Engine, entries, batch int) {
	benchmarkFlowsOn(b, newChain(b, engine), entries, batch)
}

func benchmarkFlowsOn(b *testing.B, c *chain, entries, batch int) {
	c.load(&behaviour.Profile{MUD: parsedMUD(b, entries)}, 0)
	j := c.observe(abi.ObserveFlows, flows.AppendPayload(nil, largeFlows(batch, entries)))
	if len(j.Findings) != batch/10 {
		b.Fatalf("%+v", j)
	}
	reads := c.env.reads
	in := c.input
	in.Message = abi.AppendObservation(nil, &abi.Observation{Kind: abi.ObserveFlows, Device: device, Time: start, Payload: flows.AppendPayload(nil, largeFlows(batch, entries))})
	call := wasm.Call{
		Code: contracts.Behaviour().Hash, Entry: abi.EntryObserve,
		Load:  func() ([]byte, error) { return contracts.Behaviour().Wasm, nil },
		Input: abi.AppendInput(nil, &in), Gas: 1 << 40, Env: &c.env,
	}
	var gas uint64
	begin := cpuTime(b)
	for b.Loop() {
		res, err := c.runtime.Call(context.Background(), call)
		if err != nil {
			b.Fatal(err)
		}
		gas = res.GasUsed
	}
	spent := float64(cpuTime(b)-begin) / float64(b.N)
	b.ReportMetric(spent, "cpu-ns/op")
	b.ReportMetric(float64(batch)*1e9/spent, "flows/cpu-s")
	b.ReportMetric(float64(gas)/float64(batch), "gas/flow")
	b.ReportMetric(float64(reads), "reads/op")
}

// BenchmarkDevices judges one reading while few and many devices are bound: at a
// gateway, and on the ledger as evidence.
func BenchmarkDevices(b *testing.B) {
	for _, devices := range []int{10, 100_000} {
		for _, entry := range []abi.Entry{abi.EntryObserve, abi.EntryExecute} {
			b.Run(fmt.Sprintf("devices=%d/%v", devices, entry), func(b *testing.B) { benchmarkDevices(b, devices, entry) })
		}
	}
}

func benchmarkDevices(b *testing.B, devices int, entry abi.Entry) {
	c := withProfile(b, sensorProfile)
	for i := range devices {
		id := abi.Hash{0xff, byte(i), byte(i >> 8), byte(i >> 16)}
		c.env.state["b"+string(id[:])] = []byte("it")
	}
	payload := telemetry(b, `[{"n":"urn:dev:x:temperature","u":"Cel","v":21.5},{"n":"urn:dev:x:battery","v":90}]`)
	in := c.input
	if entry == abi.EntryExecute {
		in.Evidence = &device
	}
	call := wasm.Call{
		Code: contracts.Behaviour().Hash, Entry: entry, Gas: 1 << 40, Env: &c.env,
		Load: func() ([]byte, error) { return contracts.Behaviour().Wasm, nil },
	}
	at, used := int64(start), uint64(0)
	begin := cpuTime(b)
	for b.Loop() {
		// Each is a millisecond newer, as evidence must be.
		at++
		in.Time = at
		in.Message = abi.AppendObservation(nil, &abi.Observation{Kind: abi.ObserveTelemetry, Device: device, Time: at, Payload: payload})
		call.Input = abi.AppendInput(nil, &in)
		res, err := c.runtime.Call(context.Background(), call)
		if err != nil {
			b.Fatal(err)
		}
		used = res.GasUsed
	}
	b.ReportMetric(float64(cpuTime(b)-begin)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(used), "gas/op")
	kept := c.env.local
	if entry == abi.EntryExecute {
		kept = c.env.state["e"+string(device[:])]
	}
	b.ReportMetric(float64(len(kept)), "kept-B")
}

// cpuTime is the process's CPU time in ns: wall time says little on a machine
// that others use as well.
func cpuTime(b *testing.B) int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
