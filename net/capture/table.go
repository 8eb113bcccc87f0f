package capture

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/seed79541315/postern/net/flows"
)

// The limits of a Table. A device that exceeds them loses records of its own:
// Take tells how many.
const (
	// MaxRecords is how many records are kept between two Takes.
	MaxRecords = 4096
	maxNames   = 4096 // addresses whose names are remembered
	maxBegun   = 4096 // TCP connections whose beginning is remembered
	maxName    = 253
)

// The protocols whose records say more.
const (
	tcp = 6
	udp = 17
)

// Table gathers the records of one device's packets.
type Table struct {
	device    [6]byte
	resolvers []netip.Addr
	parser    *frameParser
	// records are those since the last Take, in the order of their first packet.
	records []flows.Record
	places  map[flows.Record]int // by what tells records apart
	begun   map[connection]flows.Begun
	names   map[netip.Addr]string
	lost    uint64
}

// connection is a TCP connection of the device.
type connection struct {
	remote                netip.Addr
	remotePort, localPort uint16
}

// NewTable makes a table for the device with a hardware address of six bytes.
// Names are learned from the answers of the resolvers alone: any other server
// could name an address as it likes, and so have its flows admitted.
func NewTable(device net.HardwareAddr, resolvers ...netip.Addr) (*Table, error) {
	if len(device) != 6 {
		return nil, fmt.Errorf("%v: want a hardware address of six bytes", device)
	}
	t := &Table{
		device: [6]byte(device), resolvers: resolvers, parser: newFrameParser(),
		places: map[flows.Record]int{}, begun: map[connection]flows.Begun{}, names: map[netip.Addr]string{},
	}
	return t, nil
}

// Take gives the records since the last Take, and how many packets belonged to
// records that did not fit.
func (t *Table) Take() (records []flows.Record, lost uint64) {
	records, lost = t.records, t.lost
	t.records, t.lost = nil, 0
	clear(t.places)
	return records, lost
}

// Frame takes an Ethernet frame; length is that on the wire, which may be more
// than was captured. Frames of other devices, and damaged ones, are passed over.
func (t *Table) Frame(frame []byte, length int) {
	p := t.parser
	if !p.parse(frame) {
		return
	}
	r := flows.Record{ToDevice: [6]byte(p.ethernet.DstMAC) == t.device}
	if !r.ToDevice && [6]byte(p.ethernet.SrcMAC) != t.device {
		return
	}
	p.describe(&r)
	if r.Ports && r.Protocol == tcp {
		r.Begun = t.beginning(&r, p.tcp.SYN, p.tcp.ACK)
	}
	if p.has(layers.LayerTypeDNS) && r.ToDevice && r.RemotePort == 53 && slices.Contains(t.resolvers, r.Remote) {
		t.learn(&p.dns)
	}
	r.Name = t.names[r.Remote]
	t.count(r, length)
}

// beginning is who began a TCP connection: who sent SYN without ACK, or got it
// with.
func (t *Table) beginning(r *flows.Record, syn, ack bool) flows.Begun {
	c := connection{r.Remote, r.RemotePort, r.LocalPort}
	if !syn {
		return t.begun[c]
	}
	who := flows.ByDevice
	if r.ToDevice != ack {
		who = flows.ByOther
	}
	if len(t.begun) >= maxBegun {
		clear(t.begun) // those that go on are of unknown beginning from here
	}
	t.begun[c] = who
	return who
}

// learn remembers the names of an answer's addresses: that which was asked for,
// also where it leads to them over others.
func (t *Table) learn(dns *layers.DNS) {
	if !dns.QR || len(dns.Questions) != 1 {
		return
	}
	name := strings.ToLower(strings.TrimSuffix(string(dns.Questions[0].Name), "."))
	if name == "" || len(name) > maxName || !printable(name) {
		return
	}
	for _, answer := range dns.Answers {
		if answer.Type != layers.DNSTypeA && answer.Type != layers.DNSTypeAAAA {
			continue
		}
		if addr, ok := netip.AddrFromSlice(answer.IP); ok {
			if len(t.names) >= maxNames {
				clear(t.names)
			}
			t.names[addr.Unmap()] = name
		}
	}
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

func (t *Table) count(r flows.Record, length int) {
	place, ok := t.places[r]
	if !ok {
		if len(t.records) == MaxRecords {
			t.lost++
			return
		}
		place = len(t.records)
		t.places[r] = place
		t.records = append(t.records, r)
	}
	t.records[place].Bytes += uint64(max(length, 0))
	t.records[place].Packets++
}

// frameParser reads frames into layers that it has, without allocating.
type frameParser struct {
	parser   *gopacket.DecodingLayerParser
	found    []gopacket.LayerType
	ethernet layers.Ethernet
	vlan     layers.Dot1Q
	ipv4     layers.IPv4
	ipv6     layers.IPv6
	tcp      layers.TCP
	udp      layers.UDP
	icmpv4   layers.ICMPv4
	icmpv6   layers.ICMPv6
	dns      layers.DNS
}

func newFrameParser() *frameParser {
	p := &frameParser{}
	p.parser = gopacket.NewDecodingLayerParser(layers.LayerTypeEthernet,
		&p.ethernet, &p.vlan, &p.ipv4, &p.ipv6, &p.tcp, &p.udp, &p.icmpv4, &p.icmpv6, &p.dns)
	return p
}

// parse says whether the frame has an Ethernet header. What follows may be
// anything: the layers that are whole are found.
func (p *frameParser) parse(frame []byte) bool {
	p.found = p.found[:0]
	_ = p.parser.DecodeLayers(frame, &p.found) // its error says which layer is not known
	return p.has(layers.LayerTypeEthernet)
}

func (p *frameParser) has(l gopacket.LayerType) bool {
	return slices.Contains(p.found, l)
}

// describe sets what the frame tells of its record.
func (p *frameParser) describe(r *flows.Record) {
	source, destination := p.addresses(r)
	if !source.IsValid() {
		r.Ethertype = uint16(p.ethernet.EthernetType)
		if p.has(layers.LayerTypeDot1Q) {
			r.Ethertype = uint16(p.vlan.Type)
		}
		if p.ethernet.EthernetType == layers.EthernetTypeLLC {
			r.Ethertype = p.ethernet.Length
		}
		return
	}
	r.Remote = destination
	if r.ToDevice {
		r.Remote = source
	}
	switch {
	case p.has(layers.LayerTypeTCP):
		setPorts(r, tcp, uint16(p.tcp.SrcPort), uint16(p.tcp.DstPort))
	case p.has(layers.LayerTypeUDP):
		setPorts(r, udp, uint16(p.udp.SrcPort), uint16(p.udp.DstPort))
	case p.has(layers.LayerTypeICMPv4):
		r.ICMP = uint16(p.icmpv4.TypeCode)
	case p.has(layers.LayerTypeICMPv6):
		r.ICMP = uint16(p.icmpv6.TypeCode)
	}
}

// addresses are those of the IP header, invalid where there is none.
func (p *frameParser) addresses(r *flows.Record) (source, destination netip.Addr) {
	switch {
	case p.has(layers.LayerTypeIPv4):
		r.Protocol = uint8(p.ipv4.Protocol)
		source, _ = netip.AddrFromSlice(p.ipv4.SrcIP)
		destination, _ = netip.AddrFromSlice(p.ipv4.DstIP)
	case p.has(layers.LayerTypeIPv6):
		r.Protocol = uint8(p.ipv6.NextHeader)
		source, _ = netip.AddrFromSlice(p.ipv6.SrcIP)
		destination, _ = netip.AddrFromSlice(p.ipv6.DstIP)
	}
	return source.Unmap(), destination.Unmap()
}

// setPorts sets whose port is which.
func setPorts(r *flows.Record, protocol uint8, source, destination uint16) {
	r.Protocol, r.Ports = protocol, true
	r.RemotePort, r.LocalPort = destination, source
	if r.ToDevice {
		r.RemotePort, r.LocalPort = source, destination
	}
}
