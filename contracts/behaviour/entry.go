package behaviour

import (
	"encoding/binary"
	"net/netip"
	"strings"
)

// Entry is one entry of an access control list, as far as flows show it. What
// is nil or empty is not tested.
type Entry struct {
	Name      string // in the MUD file
	Drop      bool
	ToDevice  bool
	Family    uint8 // 4 or 6; 0 for any, also frames that are no IP
	Protocol  *uint8
	Network   netip.Prefix // of the other party's address; invalid for any
	Remote    *Ports       // the other party's
	Local     *Ports       // the device's
	ICMPType  *uint8
	ICMPCode  *uint8
	Begun     Party
	Ethertype *uint16
	OnSite    bool   // the other party is on a local network
	Class     string // of parties, that the site names
	DNSName   string // the other party's, in lower case
}

// Ports are the ports from one to another, both included.
type Ports struct{ From, To uint16 }

// Party is who began an exchange.
type Party uint8

// The parties.
const (
	Anyone Party = iota
	TheDevice
	TheOther
)

// Flags of an encoded entry; see page.rs for the form.
const (
	flagDrop = 1 << iota
	flagToDevice
	flagIPv4
	flagIPv6
	flagProtocol
	flagNetwork
	flagRemotePort
	flagLocalPort
	flagICMPType
	flagICMPCode
	flagByDevice
	flagByOther
	flagEthertype
	flagLocal
	flagClass
	flagName
)

// bucketKind is what decides in which bucket entries and flows meet.
type bucketKind uint8

const (
	bucketAny bucketKind = iota
	bucketAddress
	bucketName
	bucketClass
	bucketRemotePort
	bucketLocalPort
	bucketEthertype
)

// number is the bucket of a value: FNV-1a with 32 bits, folded.
func (k bucketKind) number(toDevice bool, value []byte, mask uint16) uint16 {
	first := byte(k) << 1
	if toDevice {
		first |= 1
	}
	hash := uint32(0x811c9dc5)
	hash = (hash ^ uint32(first)) * 0x01000193
	for _, c := range value {
		hash = (hash ^ uint32(c)) * 0x01000193
	}
	return uint16(hash^hash>>16) & mask
}

// bucket is the kind and value under which flows look for the entry: the
// rarest that it has. class is the place of its class in the profile.
func (e *Entry) bucket(class uint8) (bucketKind, []byte) {
	port := func(p *Ports) []byte { return []byte{*e.Protocol, byte(p.From >> 8), byte(p.From)} }
	exact := func(p *Ports) bool { return p != nil && p.From == p.To && e.Protocol != nil }
	switch {
	case e.Network.IsValid() && e.Network.IsSingleIP():
		return bucketAddress, e.Network.Addr().AsSlice()
	case e.DNSName != "":
		return bucketName, []byte(e.DNSName)
	case e.Class != "":
		return bucketClass, []byte{class}
	case exact(e.Remote):
		return bucketRemotePort, port(e.Remote)
	case exact(e.Local):
		return bucketLocalPort, port(e.Local)
	case e.Ethertype != nil:
		return bucketEthertype, binary.BigEndian.AppendUint16(nil, *e.Ethertype)
	}
	return bucketAny, nil
}

func (e *Entry) flags() (f uint16) {
	for _, has := range []struct {
		flag uint16
		set  bool
	}{
		{flagDrop, e.Drop}, {flagToDevice, e.ToDevice}, {flagIPv4, e.Family == 4}, {flagIPv6, e.Family == 6},
		{flagProtocol, e.Protocol != nil}, {flagNetwork, e.Network.IsValid()}, {flagRemotePort, e.Remote != nil},
		{flagLocalPort, e.Local != nil}, {flagICMPType, e.ICMPType != nil}, {flagICMPCode, e.ICMPCode != nil},
		{flagByDevice, e.Begun == TheDevice}, {flagByOther, e.Begun == TheOther}, {flagEthertype, e.Ethertype != nil},
		{flagLocal, e.OnSite}, {flagClass, e.Class != ""}, {flagName, e.DNSName != ""},
	} {
		if has.set {
			f |= has.flag
		}
	}
	return f
}

// append appends the entry as it stands in a page.
func (e *Entry) append(b []byte, sequence uint16, class uint8) []byte {
	start := len(b)
	b = append(b, 0, 0)
	b = binary.BigEndian.AppendUint16(b, sequence)
	b = binary.BigEndian.AppendUint16(b, e.flags())
	if e.Protocol != nil {
		b = append(b, *e.Protocol)
	}
	if e.Network.IsValid() {
		b = append(append(b, byte(e.Network.Bits())), e.Network.Addr().AsSlice()...)
	}
	for _, p := range []*Ports{e.Remote, e.Local} {
		if p != nil {
			b = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, p.From), p.To)
		}
	}
	if e.ICMPType != nil {
		b = append(b, *e.ICMPType)
	}
	if e.ICMPCode != nil {
		b = append(b, *e.ICMPCode)
	}
	if e.Ethertype != nil {
		b = binary.BigEndian.AppendUint16(b, *e.Ethertype)
	}
	if e.Class != "" {
		b = append(b, class)
	}
	if e.DNSName != "" {
		b = append(append(b, byte(len(e.DNSName))), e.DNSName...)
	}
	binary.BigEndian.PutUint16(b[start:], uint16(len(b)-start-2))
	return b
}

// String is the entry in a line, for people.
func (e *Entry) String() string {
	var b strings.Builder
	word := func(words ...string) {
		for _, w := range words {
			b.WriteByte(' ')
			b.WriteString(w)
		}
	}
	b.WriteString(map[bool]string{false: "admit", true: "forbid"}[e.Drop])
	word(map[bool]string{false: "from the device to", true: "to the device from"}[e.ToDevice])
	switch {
	case e.Network.IsValid():
		word(e.Network.String())
	case e.DNSName != "":
		word(e.DNSName)
	case e.Class != "":
		word(e.Class)
	default:
		word("anyone")
	}
	if e.OnSite {
		word("on a local network")
	}
	if e.Protocol != nil {
		word("protocol", number(*e.Protocol))
	}
	if e.Remote != nil {
		word("port", e.Remote.String())
	}
	if e.Local != nil {
		word("own port", e.Local.String())
	}
	if e.ICMPType != nil {
		word("type", number(*e.ICMPType))
	}
	if e.Ethertype != nil {
		word("frames of type", number(*e.Ethertype))
	}
	if e.Begun != Anyone {
		word(map[Party]string{TheDevice: "begun by the device", TheOther: "begun by the other"}[e.Begun])
	}
	return b.String()
}

func (p *Ports) String() string {
	if p.From == p.To {
		return number(p.From)
	}
	return number(p.From) + "-" + number(p.To)
}
