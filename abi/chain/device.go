package chain

import (
	"math"
	"slices"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// Device is the record of a device:
// {1: owner, 2: manufacturer, 3: model, 4: serial, 5: status, 6: labels,
// 7: reason of the status, 8: height of the status, 9: account that set it
// (absent when a contract did), 10: enrolled at height, 11: [contract …] that
// are bound to it, 12: its origin was proven at height, 13: HardwareHash of its
// proven hardware id, 14: its owner got it by transfer at height}
// 11 to 14 are absent where there is none.
type Device struct {
	Owner        abi.Hash
	Manufacturer string
	Model        string
	Serial       string
	Status       abi.Status
	Labels       Labels
	Reason       string
	Since        uint64
	SetBy        *abi.Hash
	Enrolled     uint64
	Contracts    []string
	Proven       uint64
	Hardware     *abi.Hash
	Transferred  uint64
}

// Judges says whether a contract is bound to the device.
func (d *Device) Judges(contract string) bool { return slices.Contains(d.Contracts, contract) }

// Append appends the encoding of d.
func (d *Device) Append(b []byte) []byte {
	var f fields
	f.bytes(1, d.Owner[:])
	f.text(2, d.Manufacturer)
	f.text(3, d.Model)
	f.text(4, d.Serial)
	f.uint(5, uint64(d.Status))
	if len(d.Labels) > 0 {
		f.raw(6, d.Labels.Append(nil))
	}
	f.optText(7, d.Reason)
	f.uint(8, d.Since)
	if d.SetBy != nil {
		f.bytes(9, d.SetBy[:])
	}
	f.uint(10, d.Enrolled)
	if len(d.Contracts) > 0 {
		f.raw(11, appendTexts(nil, d.Contracts))
	}
	f.optUint(12, d.Proven)
	if d.Hardware != nil {
		f.bytes(13, d.Hardware[:])
	}
	f.optUint(14, d.Transferred)
	return f.appendTo(b)
}

// ParseDevice reads a device's record.
func ParseDevice(b []byte) (d Device, err error) {
	err = parseRecord(b, func(k uint64, r *cbor.Reader) {
		switch k {
		case 1:
			d.Owner = hashOf(r)
		case 2:
			d.Manufacturer = r.Text()
		case 3:
			d.Model = r.Text()
		case 4:
			d.Serial = r.Text()
		case 5:
			d.Status = abi.Status(uintUpTo(r, math.MaxUint8))
		case 6:
			d.Labels = readLabels(r)
		case 7:
			d.Reason = r.Text()
		case 8:
			d.Since = r.Uint()
		case 9:
			h := hashOf(r)
			d.SetBy = &h
		case 10:
			d.Enrolled = r.Uint()
		case 11:
			d.Contracts = readTexts(r)
		case 12:
			d.Proven = r.Uint()
		case 13:
			d.Hardware = hashRef(r)
		case 14:
			d.Transferred = r.Uint()
		default:
			r.Skip()
		}
	})
	return d, err
}

// Enrol enrols the device whose key signed the statement (StatementEnrol with
// the body of Enrolment). {1: statement, 2: labels, 3: DeviceOrigin, signed
// (optional; since protocol version 3)}
type Enrol struct {
	Statement []byte
	Labels    Labels
	Origin    []byte
}

// Append appends the encoding of a.
func (a *Enrol) Append(b []byte) []byte {
	var f fields
	f.bytes(1, a.Statement)
	if len(a.Labels) > 0 {
		f.raw(2, a.Labels.Append(nil))
	}
	f.optBytes(3, a.Origin)
	return f.appendTo(b)
}

// ParseEnrol reads the arguments of OpEnrol.
func ParseEnrol(b []byte) (a Enrol, err error) { return ParseEnrolIn(b, Protocol) }

// ParseEnrolIn reads the arguments of OpEnrol as blocks of a protocol version do.
func ParseEnrolIn(b []byte, protocol uint64) (a Enrol, err error) {
	err = parseArgs(b, 1<<1, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			a.Statement = r.Bytes()
		case 2:
			a.Labels = readLabels(r)
		case 3:
			if protocol < 3 {
				return false
			}
			a.Origin = someBytes(r)
		default:
			return false
		}
		return true
	})
	return a, err
}

// Enrolment is what a device says of itself and signs:
// {1: owner's account id, 2: manufacturer, 3: model, 4: serial, 5: X25519 key}
type Enrolment struct {
	Owner        abi.Hash
	Manufacturer string
	Model        string
	Serial       string
	X25519       []byte
}

// Append appends the encoding of a.
func (a *Enrolment) Append(b []byte) []byte {
	var f fields
	f.bytes(1, a.Owner[:])
	f.text(2, a.Manufacturer)
	f.text(3, a.Model)
	f.text(4, a.Serial)
	f.optBytes(5, a.X25519)
	return f.appendTo(b)
}

// ParseEnrolment reads the body of a StatementEnrol.
func ParseEnrolment(b []byte) (a Enrolment, err error) {
	err = parseArgs(b, 1<<1|1<<2|1<<3|1<<4, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			a.Owner = hashOf(r)
		case 2:
			a.Manufacturer = shortText(r)
		case 3:
			a.Model = shortText(r)
		case 4:
			a.Serial = shortText(r)
		case 5:
			a.X25519 = r.BytesN(32)
		default:
			return false
		}
		return true
	})
	return a, err
}

// DeviceStatus sets a device's status. {1: device id, 2: status, 3: reason}
type DeviceStatus struct {
	Device abi.Hash
	Status abi.Status
	Reason string
}

// Append appends the encoding of a.
func (a *DeviceStatus) Append(b []byte) []byte {
	var f fields
	f.bytes(1, a.Device[:])
	f.uint(2, uint64(a.Status))
	f.optText(3, a.Reason)
	return f.appendTo(b)
}

// ParseDeviceStatus reads the arguments of OpDeviceStatus.
func ParseDeviceStatus(b []byte) (a DeviceStatus, err error) {
	err = parseArgs(b, 1<<1|1<<2, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			a.Device = hashOf(r)
		case 2:
			a.Status = abi.Status(uintUpTo(r, math.MaxUint8))
			if r.Err() == nil && (a.Status < abi.StatusActive || a.Status > abi.StatusRetired) {
				r.Fail(abi.CodeBadStatus)
			}
		case 3:
			a.Reason = shortText(r)
		default:
			return false
		}
		return true
	})
	return a, err
}
