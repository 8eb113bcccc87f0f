package contract

import (
	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/sdk/contract/internal/host"
)

// Device is a device's record on the ledger. Its texts borrow from the
// record.
type Device struct {
	Owner        Hash // account that enrolled it
	Manufacturer string
	Model        string
	Serial       string
	Status       abi.Status
	Reason       string // of the status
	Since        uint64 // height at which the status was set
	SetBy        *Hash  // account that set it; nil when a contract did
	Enrolled     uint64 // height

	labels []byte
}

// DeviceOf is the record of a device; false when the id is no device's.
func DeviceOf(id Hash) (Device, bool) {
	b, ok := host.Device(&id)
	if !ok {
		return Device{}, false
	}
	return mustDevice(b), true
}

// SetDeviceStatus sets the status of a device that has the same owner as this
// contract, or that the contract is bound to, with a reason of at most
// abi.MaxAbortText bytes. It is there in execute and timer only. It never makes a
// status laxer: people release devices. A contract that is only bound goes as far
// as abi.StatusQuarantined. Errors are abi.CodeUnknownDevice,
// abi.CodeNotPermitted for another's device and for a status that is not the
// contract's to set, abi.CodeBadStatus where the status cannot change that way
// (retired and stolen devices stay so), and abi.CodeBadArgument for a reason with
// control characters.
func SetDeviceStatus(id Hash, status abi.Status, reason string) error {
	return codeError(host.SetDeviceStatus(&id, status, reason))
}

// Label is the value of one of the device's labels; false when it has none of
// that key.
func (d *Device) Label(key string) (value string, ok bool) {
	if d.labels == nil {
		return "", false
	}
	r, ok := Lookup(d.labels, key)
	if !ok {
		return "", false
	}
	return r.Text(), true
}

// mustDevice reads a record that the host made.
func mustDevice(b []byte) Device {
	d, err := ParseDevice(b)
	if err != nil {
		abort(err)
	}
	return d
}

// ParseDevice reads a record, a map: 1 owner, 2 manufacturer, 3 model,
// 4 serial, 5 status, 6 labels, 7 reason of the status, 8 its height, 9 the
// account that set it, 10 height of the enrolment. The result borrows from b.
// Errors wrap abi.CodeMalformed.
func ParseDevice(b []byte) (Device, error) {
	var d Device
	r := cbor.NewCheckedReader(b)
	for f := r.Fields(); f.Next(); {
		d.readField(f.Key(), &r)
	}
	if err := r.Done(); err != nil {
		return Device{}, abi.Malformed(err)
	}
	return d, nil
}

func (d *Device) readField(key uint64, r *cbor.Reader) {
	switch key {
	case 1:
		readHash(r, &d.Owner)
	case 2:
		d.Manufacturer = r.Text()
	case 3:
		d.Model = r.Text()
	case 4:
		d.Serial = r.Text()
	case 5:
		d.Status = abi.Status(min(r.Uint(), 0xff))
	case 6:
		d.labels = r.RawTextMap()
	case 7:
		d.Reason = r.Text()
	case 8:
		d.Since = r.Uint()
	case 9:
		d.SetBy = borrowHash(r)
	case 10:
		d.Enrolled = r.Uint()
	default:
		r.Skip()
	}
}
