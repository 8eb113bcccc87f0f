package chain

import (
	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// MaxBound is how many contracts may be bound to a device: each judges every
// report.
const MaxBound = 4

// Transfer gives a device to the owner whose key signed the statement
// (StatementTransfer with the body of Acceptance). {1: device id, 2: statement}
// The present owner sends it.
type Transfer struct {
	Device    abi.Hash
	Statement []byte
}

// Acceptance is what the new owner of a device signs: {1: device id, 2: present
// owner's account id, 3: height at which that one got it by transfer (absent if
// it enrolled it)}
// 3 keeps an acceptance from being used again when the device comes back.
type Acceptance struct {
	Device abi.Hash
	Owner  abi.Hash
	Since  uint64
}

// BindDevice has contracts judge a device: its reports, and by their execute its
// status. {1: device id, 2: [contract …], at most MaxBound}
// It replaces those that were bound; the device's owner sends it.
type BindDevice struct {
	Device    abi.Hash
	Contracts []string
}

// Append appends the encoding of a.
func (a *Transfer) Append(b []byte) []byte {
	var f fields
	f.bytes(1, a.Device[:])
	f.bytes(2, a.Statement)
	return f.appendTo(b)
}

// ParseTransfer reads the arguments of OpTransfer; they alias b.
func ParseTransfer(b []byte) (a Transfer, err error) {
	err = parseArgs(b, 1<<1|1<<2, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			a.Device = hashOf(r)
		case 2:
			a.Statement = someBytes(r)
		default:
			return false
		}
		return true
	})
	return a, err
}

// Append appends the encoding of a.
func (a *Acceptance) Append(b []byte) []byte {
	var f fields
	f.bytes(1, a.Device[:])
	f.bytes(2, a.Owner[:])
	f.optUint(3, a.Since)
	return f.appendTo(b)
}

// ParseAcceptance reads the body of a StatementTransfer.
func ParseAcceptance(b []byte) (a Acceptance, err error) {
	err = parseArgs(b, 1<<1|1<<2, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			a.Device = hashOf(r)
		case 2:
			a.Owner = hashOf(r)
		case 3:
			a.Since = nonZero(r)
		default:
			return false
		}
		return true
	})
	return a, err
}

// Append appends the encoding of a.
func (a *BindDevice) Append(b []byte) []byte {
	var f fields
	f.bytes(1, a.Device[:])
	f.raw(2, appendTexts(nil, a.Contracts))
	return f.appendTo(b)
}

// ParseBindDevice reads the arguments of OpBindDevice.
func ParseBindDevice(b []byte) (a BindDevice, err error) {
	err = parseArgs(b, 1<<1|1<<2, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			a.Device = hashOf(r)
		case 2:
			a.Contracts = boundNames(r)
		default:
			return false
		}
		return true
	})
	return a, err
}

// boundNames reads at most MaxBound different names.
func boundNames(r *cbor.Reader) (list []string) {
	n := r.Array()
	if n > MaxBound {
		r.Fail(abi.CodeTooLarge)
	}
	for ; n > 0 && r.Err() == nil; n-- {
		s := name(r)
		for _, before := range list {
			if s == before {
				r.Fail(abi.CodeBadArgument)
			}
		}
		list = append(list, s)
	}
	return list
}
