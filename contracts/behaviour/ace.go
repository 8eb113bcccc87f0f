package behaviour

import (
	"cmp"
	"net/netip"
	"strconv"
	"strings"
)

// aceParser reads the entries of one list (RFC 8519 with the matches that RFC
// 8520 adds).
type aceParser struct {
	*mudParser
	toDevice bool
	family   uint8 // of the list's type
}

// ace is an entry that is being read.
type ace struct {
	Entry
	tests    int                  // that are understood
	nobody   bool                 // it can hold for no flow
	notPorts func(*Entry) **Ports // which ports have an exception, nil for neither
	ports    []Ports              // what the exception leaves
}

// trimModule takes the YANG module off a name.
func trimModule(name string) string { return name[strings.LastIndexByte(name, ':')+1:] }

// entries reads an entry: none where it can hold for no flow, two where it
// excepts a port.
func (p *aceParser) entries(n node) []Entry {
	a := &ace{Entry: Entry{Name: n.get("name").required(), ToDevice: p.toDevice, Family: p.family}}
	// What the packet's IP version is decides how icmp is meant.
	members := 0
	for _, ip := range []bool{true, false} {
		n.get("matches").members(func(name string, member node) {
			if version := trimModule(name); ip == (version == "ipv4" || version == "ipv6") {
				members++
				p.match(a, name, member)
			}
		})
	}
	p.action(a, n.get("actions"))
	switch {
	case a.nobody:
		return nil
	case members > 0 && a.tests == 0:
		p.note(n, "none of its matches is understood: the entry holds for nothing")
		return nil
	case a.ICMPCode != nil && a.ICMPType == nil:
		p.note(n, "a code without a type: the entry holds for nothing")
		return nil
	}
	return a.split()
}

func (p *aceParser) match(a *ace, name string, n node) {
	switch trimModule(name) {
	case "mud":
		n.members(func(name string, m node) { p.party(a, name, m) })
	case "ipv4":
		p.ip(a, n, 4)
	case "ipv6":
		p.ip(a, n, 6)
	case "tcp":
		p.transport(a, n, 6)
	case "udp":
		p.transport(a, n, 17)
	case "icmp":
		p.icmp(a, n)
	case "eth":
		n.members(func(name string, m node) { p.ethernet(a, name, m) })
	default:
		p.note(n, "not understood")
	}
}

func (p *aceParser) action(a *ace, n node) {
	switch forwarding := n.get("forwarding"); trimModule(forwarding.required()) {
	case "accept":
	case "drop", "reject":
		a.Drop = true
	default:
		forwarding.fail("neither accept nor drop nor reject")
	}
	n.members(func(name string, m node) {
		if trimModule(name) != "forwarding" {
			p.note(m, "not understood")
		}
	})
}

// party reads the matches of RFC 8520 section 8.
func (p *aceParser) party(a *ace, name string, n node) {
	class := ""
	switch trimModule(name) {
	case "local-networks":
		a.OnSite = true
	case "controller":
		class = "controller:" + n.required()
	case "my-controller":
		class = "my-controller:" + p.mud.URL
	case "manufacturer":
		class = "manufacturer:" + strings.ToLower(n.required())
	case "same-manufacturer":
		class = "manufacturer:" + strings.ToLower(p.authority)
	case "model":
		class = "model:" + n.required()
	default:
		p.note(n, "not understood")
		return
	}
	a.tests++
	if len(class) > 255 {
		n.fail("longer than 255 bytes")
	}
	if class != "" && a.Class != "" {
		p.note(n, "a second class of parties: the entry holds for nothing")
		a.nobody = true
	}
	a.Class = cmp.Or(class, a.Class)
}

func (p *aceParser) ip(a *ace, n node, family uint8) {
	if a.Family != 0 && a.Family != family {
		p.note(n, "another IP version than the list's: the entry holds for nothing")
		a.nobody = true
	}
	a.Family = family
	a.tests++
	version := "ipv" + number(family)
	remote, own := "destination-", "source-"
	name, ownName := "dst-dnsname", "src-dnsname"
	if p.toDevice {
		remote, own, name, ownName = own, remote, ownName, name
	}
	n.members(func(key string, m node) {
		switch trimModule(key) {
		case "protocol":
			protocol := uint8(m.uint(255))
			p.protocol(a, m, protocol)
		case remote + version + "-network":
			p.network(a, m, family)
		case name:
			p.dnsName(a, m)
		case own + version + "-network", ownName:
			p.note(m, "the device's own address is not tested: flows are the device's by its key")
		default:
			p.note(m, "records of flows do not show it: not tested")
		}
	})
}

// protocol sets the protocol, which two matches must not tell differently.
func (p *aceParser) protocol(a *ace, n node, protocol uint8) {
	if a.Protocol != nil && *a.Protocol != protocol {
		p.note(n, "another protocol than elsewhere in the entry, which holds for nothing")
		a.nobody = true
	}
	a.Protocol = &protocol
}

// network reads a prefix, or an address alone, as some tools write it.
func (p *aceParser) network(a *ace, n node, family uint8) {
	s := n.required()
	prefix, err := netip.ParsePrefix(s)
	if err != nil {
		var addr netip.Addr
		if addr, err = netip.ParseAddr(s); err == nil {
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
	}
	if err != nil || prefix.Addr().Zone() != "" {
		n.fail("%q is no network", s)
		return
	}
	if prefix.Addr().Is4() != (family == 4) {
		p.note(n, s+" is no network of IPv"+number(family)+": the entry holds for nothing")
		a.nobody = true
		return
	}
	a.Network = prefix.Masked()
}

func (p *aceParser) dnsName(a *ace, n node) {
	name := strings.TrimSuffix(strings.ToLower(n.required()), ".")
	if name == "" || len(name) > 253 {
		n.fail("not a name of 1 to 253 bytes")
	}
	a.DNSName = name
}

func (p *aceParser) transport(a *ace, n node, protocol uint8) {
	p.protocol(a, n, protocol)
	a.tests++
	remote, local := "destination-port", "source-port"
	if p.toDevice {
		remote, local = local, remote
	}
	n.members(func(key string, m node) {
		switch trimModule(key) {
		case remote:
			a.setPorts(m, func(e *Entry) **Ports { return &e.Remote })
		case local:
			a.setPorts(m, func(e *Entry) **Ports { return &e.Local })
		case "direction-initiated":
			a.initiated(m)
		default:
			p.note(m, "records of flows do not show it: not tested")
		}
	})
}

func (a *ace) initiated(n node) {
	switch trimModule(n.required()) {
	case "from-device":
		a.Begun = TheDevice
	case "to-device":
		a.Begun = TheOther
	default:
		n.fail("neither from-device nor to-device")
	}
}

// setPorts reads a range, or a port with an operator (RFC 8519 section 4.2).
func (a *ace) setPorts(n node, of func(*Entry) **Ports) {
	const top = 65535
	if n.get("lower-port").exists() {
		from := uint16(n.get("lower-port").uint(top))
		to := from
		if upper := n.get("upper-port"); upper.exists() {
			to = uint16(upper.uint(top))
		}
		if to < from {
			n.fail("the range ends before it begins")
		}
		*of(&a.Entry) = &Ports{from, to}
		return
	}
	if !n.get("port").exists() {
		n.get("port").fail("missing")
	}
	port := uint16(n.get("port").uint(top))
	switch operator := n.get("operator"); trimModule(operator.text()) {
	case "", "eq":
		*of(&a.Entry) = &Ports{port, port}
	case "lte":
		*of(&a.Entry) = &Ports{0, port}
	case "gte":
		*of(&a.Entry) = &Ports{port, top}
	case "neq":
		a.except(n, port, of)
	default:
		operator.fail("none of eq, neq, lte and gte")
	}
}

// except makes the entry hold for all ports but one: for those below, and those
// above.
func (a *ace) except(n node, port uint16, of func(*Entry) **Ports) {
	if a.notPorts != nil {
		n.fail("two exceptions of ports in one entry")
	}
	a.notPorts = of
	if port > 0 {
		a.ports = append(a.ports, Ports{0, port - 1})
	}
	if port < 65535 {
		a.ports = append(a.ports, Ports{port + 1, 65535})
	}
}

// split gives an entry for each of its ranges of ports.
func (a *ace) split() []Entry {
	if a.notPorts == nil {
		return []Entry{a.Entry}
	}
	var list []Entry
	for _, r := range a.ports {
		e := a.Entry
		*a.notPorts(&e) = &r
		list = append(list, e)
	}
	return list
}

func (p *aceParser) icmp(a *ace, n node) {
	protocol := uint8(1)
	if a.Family == 6 {
		protocol = 58
	}
	p.protocol(a, n, protocol)
	a.tests++
	n.members(func(key string, m node) {
		switch trimModule(key) {
		case "type":
			v := uint8(m.uint(255))
			a.ICMPType = &v
		case "code":
			v := uint8(m.uint(255))
			a.ICMPCode = &v
		default:
			p.note(m, "records of flows do not show it: not tested")
		}
	})
}

// ethertypes are the names that RFC 8519's model has for the usual types.
var ethertypes = map[string]uint16{"ipv4": 0x0800, "arp": 0x0806, "ipv6": 0x86dd, "eapol": 0x888e, "lldp": 0x88cc, "vlan": 0x8100}

func (p *aceParser) ethernet(a *ace, key string, n node) {
	if trimModule(key) != "ethertype" {
		p.note(n, "records of flows do not show it: not tested")
		return
	}
	a.tests++
	s := strings.ToLower(trimModule(n.required()))
	v, known := ethertypes[s]
	if !known {
		parsed, err := strconv.ParseUint(s, 0, 16)
		if err != nil {
			n.fail("%q is no ethertype", s)
		}
		v = uint16(parsed)
	}
	a.Ethertype = &v
	if v != 0x0800 && v != 0x86dd {
		p.speaksOfFrames()
	}
}

func (p *aceParser) speaksOfFrames() {
	if p.toDevice {
		p.mud.FramesTo = true
	} else {
		p.mud.FramesFrom = true
	}
}
