package flows

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
)

// recordJSON is a Record as other programs write it, under the names by which a
// report is shown.
type recordJSON struct {
	Direction     uint8      `json:"direction"` // 0 from the device, 1 to it
	Protocol      uint8      `json:"protocol,omitempty"`
	Address       netip.Addr `json:"address,omitzero"`
	RemotePort    *uint16    `json:"remote_port,omitempty"`
	LocalPort     *uint16    `json:"local_port,omitempty"`
	Bytes         uint64     `json:"bytes"`
	Packets       uint64     `json:"packets"`
	RemoteName    string     `json:"remote_name,omitempty"`
	BegunByDevice *bool      `json:"begun_by_device,omitempty"`
	Ethertype     uint16     `json:"ethertype,omitempty"`
	ICMP          uint16     `json:"icmp,omitempty"`
}

// MarshalJSON writes direction (0 from the device, 1 to it), protocol, address,
// remote_port, local_port, bytes, packets, remote_name, begun_by_device,
// ethertype and icmp (type << 8 | code); what is not known is left out.
func (r Record) MarshalJSON() ([]byte, error) {
	j := recordJSON{Protocol: r.Protocol, Address: r.Remote, Bytes: r.Bytes, Packets: r.Packets, RemoteName: r.Name, Ethertype: r.Ethertype, ICMP: r.ICMP}
	if r.ToDevice {
		j.Direction = 1
	}
	if r.Ports {
		j.RemotePort, j.LocalPort = &r.RemotePort, &r.LocalPort
	}
	if r.Begun != Unknown {
		by := r.Begun == ByDevice
		j.BegunByDevice = &by
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads what MarshalJSON writes. A name that it does not know is an
// error: a misspelt port would be none.
func (r *Record) UnmarshalJSON(text []byte) error {
	var j recordJSON
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&j); err != nil {
		return err
	}
	switch {
	case j.Direction > 1:
		return errors.New("direction is 0 (from the device) or 1 (to it)")
	case j.Address.IsValid() == (j.Ethertype != 0):
		return errors.New("a record has an address or ethertype, and not both")
	case j.Address.Zone() != "":
		return errors.New("an address has no zone")
	case (j.RemotePort == nil) != (j.LocalPort == nil):
		return errors.New("a record has both ports or none")
	}
	*r = Record{ToDevice: j.Direction == 1, Ethertype: j.Ethertype, Remote: j.Address.Unmap(), Protocol: j.Protocol, ICMP: j.ICMP,
		Bytes: j.Bytes, Packets: j.Packets, Name: j.RemoteName}
	if j.RemotePort != nil {
		r.Ports, r.RemotePort, r.LocalPort = true, *j.RemotePort, *j.LocalPort
	}
	if j.BegunByDevice != nil {
		r.Begun = ByOther
		if *j.BegunByDevice {
			r.Begun = ByDevice
		}
	}
	return nil
}
