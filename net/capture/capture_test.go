package capture_test

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/net/capture"
	"github.com/seed79541315/postern/net/flows"
)

var (
	sensor  = net.HardwareAddr{0xb8, 0x06, 0x0d, 0x3b, 0x47, 0xf8}
	gateway = net.HardwareAddr{0xb8, 0x27, 0xeb, 0xa0, 0x92, 0x24}
	other   = net.HardwareAddr{2, 0, 0, 0, 0, 1}
	own     = net.IP{10, 42, 0, 5}
	server  = net.IP{203, 0, 113, 9}
	// resolver is the one whose answers are believed.
	resolver = net.IP{10, 42, 0, 1}
)

func newTable(t testing.TB) *capture.Table {
	t.Helper()
	table, err := capture.NewTable(sensor, netip.AddrFrom4([4]byte(resolver)))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// packet makes a frame of layers; those of IP and transport get their lengths
// and sums.
func packet(t testing.TB, parts ...gopacket.SerializableLayer) []byte {
	t.Helper()
	var network gopacket.NetworkLayer
	for _, l := range parts {
		switch l := l.(type) {
		case *layers.IPv4:
			l.Version, l.TTL = 4, 64
			network = l
		case *layers.TCP:
			_ = l.SetNetworkLayerForChecksum(network)
		case *layers.UDP:
			_ = l.SetNetworkLayerForChecksum(network)
		}
	}
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, parts...); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func ethernet(from, to net.HardwareAddr, kind layers.EthernetType) *layers.Ethernet {
	return &layers.Ethernet{SrcMAC: from, DstMAC: to, EthernetType: kind}
}

// out and in are frames between the sensor and the server over its gateway.
func out(t testing.TB, protocol layers.IPProtocol, rest ...gopacket.SerializableLayer) []byte {
	return packet(t, append([]gopacket.SerializableLayer{ethernet(sensor, gateway, layers.EthernetTypeIPv4),
		&layers.IPv4{SrcIP: own, DstIP: server, Protocol: protocol}}, rest...)...)
}

func in(t testing.TB, protocol layers.IPProtocol, rest ...gopacket.SerializableLayer) []byte {
	return packet(t, append([]gopacket.SerializableLayer{ethernet(gateway, sensor, layers.EthernetTypeIPv4),
		&layers.IPv4{SrcIP: server, DstIP: own, Protocol: protocol}}, rest...)...)
}

func take(t testing.TB, table *capture.Table, frames ...[]byte) []flows.Record {
	t.Helper()
	for _, f := range frames {
		table.Frame(f, len(f))
	}
	records, lost := table.Take()
	if lost > 0 {
		t.Fatalf("%d packets lost", lost)
	}
	return records
}

// A capture of a real device gives its exchanges with the two servers that it
// has, its broadcasts and ARP, and nothing of others.
func TestCapture(t *testing.T) {
	table := newTable(t)
	f, err := os.Open("testdata/door_sensor.pcapng")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	packets := 0
	err = capture.ReadFile(f, func(data []byte, length int, at time.Time) error {
		if at.Year() < 2015 || length < len(data) {
			t.Errorf("packet %d: %v, %d bytes of %d", packets, at, len(data), length)
		}
		packets++
		table.Frame(data, length)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	records, lost := table.Take()
	seen := map[string]int{}
	for _, r := range records {
		seen[r.Remote.String()]++
		if r.Protocol == 6 && r.Begun != flows.ByDevice {
			t.Errorf("%+v: the sensor begins all of its connections", r)
		}
	}
	if packets != 2539 || lost != 0 || len(records) != 115 || len(seen) != 4 || seen["invalid IP"] != 2 {
		t.Errorf("%d packets, %d lost, %d records: %v", packets, lost, len(records), seen)
	}
}

func TestWhoBegins(t *testing.T) {
	syn := func(from, to layers.TCPPort, ack bool) *layers.TCP {
		return &layers.TCP{SrcPort: from, DstPort: to, SYN: true, ACK: ack}
	}
	data := &layers.TCP{SrcPort: 5000, DstPort: 443, ACK: true}
	back := &layers.TCP{SrcPort: 443, DstPort: 5000, ACK: true}
	for name, c := range map[string]struct {
		first []byte
		want  flows.Begun
	}{
		"the device calls":         {out(t, 6, syn(5000, 443, false)), flows.ByDevice},
		"it is answered":           {in(t, 6, syn(443, 5000, true)), flows.ByDevice},
		"the other calls":          {in(t, 6, syn(443, 5000, false)), flows.ByOther},
		"the device answers":       {out(t, 6, syn(5000, 443, true)), flows.ByOther},
		"nobody saw the beginning": {out(t, 6, data), flows.Unknown},
	} {
		for _, r := range take(t, newTable(t), c.first, out(t, 6, data), in(t, 6, back)) {
			if r.Begun != c.want || r.RemotePort != 443 || r.LocalPort != 5000 {
				t.Errorf("%s: %+v", name, r)
			}
		}
	}
}

// The beginning is remembered beyond a Take, and records then start anew.
func TestTake(t *testing.T) {
	table := newTable(t)
	syn := out(t, 6, &layers.TCP{SrcPort: 5000, DstPort: 443, SYN: true})
	data := out(t, 6, &layers.TCP{SrcPort: 5000, DstPort: 443, ACK: true})
	if r := take(t, table, syn, data, data); len(r) != 1 || r[0].Packets != 3 || r[0].Bytes != uint64(len(syn)+2*len(data)) {
		t.Errorf("%+v", r)
	}
	if r := take(t, table, data); len(r) != 1 || r[0].Packets != 1 || r[0].Begun != flows.ByDevice {
		t.Errorf("%+v", r)
	}
	if r := take(t, table); r != nil {
		t.Errorf("%+v", r)
	}
}

func answer(t testing.TB, name string, by net.IP, from uint16, addrs ...net.IP) []byte {
	dns := &layers.DNS{QR: true, Questions: []layers.DNSQuestion{{Name: []byte(name), Type: layers.DNSTypeA, Class: layers.DNSClassIN}}}
	dns.Answers = append(dns.Answers, layers.DNSResourceRecord{Name: []byte(name), Type: layers.DNSTypeCNAME, Class: layers.DNSClassIN, CNAME: []byte("edge.cdn.example")})
	for _, a := range addrs {
		dns.Answers = append(dns.Answers, layers.DNSResourceRecord{Name: []byte("edge.cdn.example"), Type: layers.DNSTypeA, Class: layers.DNSClassIN, IP: a})
	}
	return packet(t, ethernet(gateway, sensor, layers.EthernetTypeIPv4), &layers.IPv4{SrcIP: by, DstIP: own, Protocol: 17},
		&layers.UDP{SrcPort: layers.UDPPort(from), DstPort: 5353}, dns)
}

// DNS answers name addresses by what was asked for, but only those of a resolver
// that is believed.
func TestNames(t *testing.T) {
	table := newTable(t)
	data := out(t, 17, &layers.UDP{SrcPort: 5000, DstPort: 9})
	name := func() string {
		r := take(t, table, data)
		return r[len(r)-1].Name
	}
	take(t, table, answer(t, "evil.example", resolver, 54, server), answer(t, "evil.example", server, 53, server))
	if got := name(); got != "" {
		t.Errorf("%q is told by no resolver", got)
	}
	take(t, table, answer(t, "API.Example.com", resolver, 53, net.IP{203, 0, 113, 8}, server))
	if got := name(); got != "api.example.com" {
		t.Errorf("%q", got)
	}
	take(t, table, answer(t, "a\x1b[2Jb", resolver, 53, server))
	if got := name(); got != "api.example.com" {
		t.Errorf("%q", got)
	}
}

func TestOtherFrames(t *testing.T) {
	table := newTable(t)
	arp := &layers.ARP{AddrType: 1, Protocol: 0x0800, HwAddressSize: 6, ProtAddressSize: 4, Operation: 1, SourceHwAddress: sensor, SourceProtAddress: own, DstHwAddress: gateway, DstProtAddress: server}
	eapol := packet(t, ethernet(sensor, gateway, 0x888e), gopacket.Payload{1, 2, 3})
	ping := out(t, 1, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0)})
	tagged := packet(t, ethernet(sensor, gateway, layers.EthernetTypeDot1Q), &layers.Dot1Q{Type: layers.EthernetTypeIPv4},
		&layers.IPv4{SrcIP: own, DstIP: server, Protocol: 17}, &layers.UDP{SrcPort: 1, DstPort: 2})
	records := take(t, table, packet(t, ethernet(sensor, gateway, layers.EthernetTypeARP), arp), eapol, ping, tagged,
		packet(t, ethernet(other, gateway, 0x888e), gopacket.Payload{1}), // somebody else's
		[]byte{1, 2, 3}, nil)
	want := []flows.Record{
		{Ethertype: 0x0806}, {Ethertype: 0x888e},
		{Remote: netip.MustParseAddr("203.0.113.9"), Protocol: 1, ICMP: 8 << 8},
		{Remote: netip.MustParseAddr("203.0.113.9"), Protocol: 17, Ports: true, RemotePort: 2, LocalPort: 1},
	}
	for i, r := range records {
		r.Bytes, r.Packets = 0, 0
		if i >= len(want) || r != want[i] {
			t.Errorf("%d: %+v", i, r)
		}
	}
	if len(records) != len(want) {
		t.Errorf("%d records, want %d", len(records), len(want))
	}
}

// A device that scans fills the table, no more: what does not fit is counted.
func TestAScanIsBounded(t *testing.T) {
	table := newTable(t)
	frame := out(t, 17, &layers.UDP{SrcPort: 1, DstPort: 1})
	for port := range capture.MaxRecords + 10 {
		binary.BigEndian.PutUint16(frame[36:], uint16(port))
		table.Frame(frame, len(frame))
	}
	if records, lost := table.Take(); len(records) != capture.MaxRecords || lost != 10 {
		t.Errorf("%d records, %d lost", len(records), lost)
	}
}

func TestCapturesThatAreNone(t *testing.T) {
	var raw bytes.Buffer
	w := pcapgo.NewWriter(&raw)
	if err := w.WriteFileHeader(100, layers.LinkTypeRaw); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"empty": nil, "text": []byte("hello, world, this is text"), "raw IP": raw.Bytes()} {
		if err := capture.ReadFile(bytes.NewReader(b), func([]byte, int, time.Time) error { return nil }); err == nil {
			t.Errorf("%s is read", name)
		}
	}
}

func FuzzFrame(f *testing.F) {
	f.Add(out(f, 6, &layers.TCP{SrcPort: 5000, DstPort: 443, SYN: true}))
	f.Add(answer(f, "a.example", resolver, 53, server))
	f.Add(packet(f, ethernet(sensor, gateway, 0x888e), gopacket.Payload{1, 2, 3}))
	f.Fuzz(func(t *testing.T, frame []byte) {
		table := newTable(t)
		table.Frame(frame, len(frame))
		table.Frame(frame, len(frame))
		records, _ := table.Take()
		if err := cbor.Validate(flows.AppendPayload(nil, records)); err != nil {
			t.Fatalf("%v: %+v", err, records)
		}
		if len(records) > 2 {
			t.Fatalf("%d records of one frame", len(records))
		}
	})
}
