package chain

import (
	"math"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// Device is the record of a device:
// {1: owner, 2: manufacturer, 3: model, 4: serial, 5: status, 6: labels,
// 7: reason of the status, 8: height of the status, 9: account that set it
// (absent when a contract did), 10: enrolled at height}
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
}

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
		default:
			r.Skip()
		}
	})
	return d, err
}

// Enrol enrols the device whose key signed the statement (StatementEnrol with
// the body of Enrolment). {1: statement, 2: labels}
type Enrol struct {
	Statement []byte
	Labels    Labels
}

// Append appends the encoding of a.
func (a *Enrol) Append(b []byte) []byte {
	var f fields
	f.bytes(1, a.Statement)
	if len(a.Labels) > 0 {
		f.raw(2, a.Labels.Append(nil))
	}
	return f.appendTo(b)
}

// ParseEnrol reads the arguments of OpEnrol.
func ParseEnrol(b []byte) (a Enrol, err error) {
	err = parseArgs(b, 1<<1, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			a.Statement = r.Bytes()
		case 2:
			a.Labels = readLabels(r)
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
