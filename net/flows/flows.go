// Package flows holds records of a device's connections: what a network monitor
// reports to a gateway, and a behaviour contract judges. Package capture makes
// them from packets; other monitors write them as JSON (Record).
package flows

import (
	"net/netip"

	"github.com/seed79541315/postern/abi/cbor"
)

// Begun is who began an exchange.
type Begun uint8

// Who began. Only TCP shows it, by its first packet: where that was not seen,
// and of other protocols, it is not known.
const (
	Unknown Begun = iota
	ByDevice
	ByOther
)

// Record is the packets in one direction between a device and another party
// that belong together.
type Record struct {
	ToDevice bool
	// Ethertype is the frames' type where they are no IP; 0 for IP.
	Ethertype uint16
	// Remote is the other party's address, invalid where the frames are no IP.
	Remote   netip.Addr
	Protocol uint8
	// Ports says that RemotePort and LocalPort are meant.
	Ports                 bool
	RemotePort, LocalPort uint16
	// ICMP is type << 8 | code, where Protocol is 1 or 58.
	ICMP    uint16
	Begun   Begun
	Bytes   uint64 // of the frames
	Packets uint64
	// Name is the other party's, where a DNS answer told it; else "".
	Name string
}

// The protocols whose records say more.
const (
	icmp   = 1
	icmpv6 = 58
)

// AppendPayload appends the payload of a flows observation; package abi shows
// its form.
func AppendPayload(b []byte, records []Record) []byte {
	b = cbor.AppendArray(b, len(records))
	for i := range records {
		b = records[i].append(b)
	}
	return b
}

func (r *Record) append(b []byte) []byte {
	ip, n := r.Remote.IsValid(), 3 // direction, bytes, packets
	isICMP := ip && (r.Protocol == icmp || r.Protocol == icmpv6)
	ports := ip && r.Ports
	for _, f := range []struct {
		present bool
		fields  int
	}{{ip, 2}, {ports, 2}, {r.Name != "", 1}, {r.Begun != Unknown, 1}, {!ip, 1}, {isICMP, 1}} {
		if f.present {
			n += f.fields
		}
	}
	number := func(key, v uint64) { b = cbor.AppendUint(cbor.AppendUint(b, key), v) }
	b = cbor.AppendMap(b, n)
	number(1, map[bool]uint64{true: 1}[r.ToDevice])
	if ip {
		number(2, uint64(r.Protocol))
		b = cbor.AppendBytes(cbor.AppendUint(b, 3), r.Remote.AsSlice())
	}
	if ports {
		number(4, uint64(r.RemotePort))
		number(5, uint64(r.LocalPort))
	}
	number(6, r.Bytes)
	number(7, r.Packets)
	if r.Name != "" {
		b = cbor.AppendText(cbor.AppendUint(b, 8), r.Name)
	}
	if r.Begun != Unknown {
		b = cbor.AppendBool(cbor.AppendUint(b, 9), r.Begun == ByDevice)
	}
	if !ip {
		number(10, uint64(r.Ethertype))
	}
	if isICMP {
		number(11, uint64(r.ICMP))
	}
	return b
}
