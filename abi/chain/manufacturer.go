package chain

import (
	"crypto/sha256"
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// Limits of what manufacturers and platforms register.
const (
	// MaxVouchingKeys is how many keys a manufacturer or a platform has at once:
	// one a factory, and one that follows.
	MaxVouchingKeys = 8
	// MaxHardwareID bounds a hardware identity in bytes: a MAC address, an
	// IMEI, the endorsement key's digest of a TPM.
	MaxHardwareID = 64
)

// PurposeOrigin is what a factory signs a DeviceOrigin for. It names no chain
// and does not expire: when it is signed there may be neither.
const PurposeOrigin Purpose = "postern/origin/1"

// RegisterManufacturer registers who vouches for the serials of a manufacturer.
// {1: name, 2: account id, 3: [public key …], 1 to MaxVouchingKeys}
// The name is the one that enrolments give. The first registration and one that
// changes the account need the operator role; the registered account itself may
// change its keys. The account must have the manufacturer role.
type RegisterManufacturer struct {
	Name    string
	Account abi.Hash
	Keys    [][]byte
}

// Manufacturer is the record of a manufacturer: {1: account, 2: [public key …],
// 3: registered, or changed, at height}. Proofs that were checked while a key
// stood here stay good when it does no more.
type Manufacturer struct {
	Account abi.Hash
	Keys    [][]byte
	Height  uint64
}

// ProveOrigin brings the proof of origin of a device that was enrolled without
// it. {1: device id, 2: DeviceOrigin, signed} Anybody may.
type ProveOrigin struct {
	Device abi.Hash
	Origin []byte
}

// DeviceOrigin is what a manufacturer signs of a device that it made, the
// payload of a COSE_Sign1 envelope (PurposeOrigin) under one of its keys:
// {1: manufacturer, 2: model, 3: serial, 4: the device's public key,
// 5: hardware id (bytes, 1 to MaxHardwareID; optional)}
// The key is the device's first, which its id is the hash of.
type DeviceOrigin struct {
	Manufacturer string
	Model        string
	Serial       string
	Key          []byte
	Hardware     []byte

	// Signer is the public key that signed it, set by OpenOrigin.
	Signer []byte
}

// Append appends the encoding of a.
func (a *RegisterManufacturer) Append(b []byte) []byte {
	var f fields
	f.text(1, a.Name)
	f.bytes(2, a.Account[:])
	f.raw(3, appendByteStrings(nil, a.Keys))
	return f.appendTo(b)
}

// ParseRegisterManufacturer reads the arguments of OpManufacturer.
func ParseRegisterManufacturer(b []byte) (a RegisterManufacturer, err error) {
	err = parseArgs(b, 1<<1|1<<2|1<<3, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			a.Name = shortText(r)
		case 2:
			a.Account = hashOf(r)
		case 3:
			a.Keys = vouchingKeys(r)
		default:
			return false
		}
		return true
	})
	if err == nil && len(a.Keys) == 0 {
		err = abi.CodeBadArgument
	}
	return a, err
}

// vouchingKeys reads at most MaxVouchingKeys different public keys.
func vouchingKeys(r *cbor.Reader) [][]byte {
	list := readByteStrings(r)
	if r.Err() != nil {
		return nil
	}
	if len(list) > MaxVouchingKeys {
		r.Fail(abi.CodeTooLarge)
		return nil
	}
	for i, key := range list {
		if !ValidKey(key) {
			r.Fail(abi.CodeBadKey)
		}
		if hasKey(list[:i], key) {
			r.Fail(abi.CodeBadArgument)
		}
	}
	return list
}

func hasKey(list [][]byte, key []byte) bool {
	for _, k := range list {
		if string(k) == string(key) {
			return true
		}
	}
	return false
}

// Append appends the encoding of m.
func (m *Manufacturer) Append(b []byte) []byte {
	var f fields
	f.bytes(1, m.Account[:])
	f.raw(2, appendByteStrings(nil, m.Keys))
	f.uint(3, m.Height)
	return f.appendTo(b)
}

// ParseManufacturer reads a manufacturer's record; it aliases b.
func ParseManufacturer(b []byte) (m Manufacturer, err error) {
	err = parseRecord(b, func(k uint64, r *cbor.Reader) {
		switch k {
		case 1:
			m.Account = hashOf(r)
		case 2:
			m.Keys = readByteStrings(r)
		case 3:
			m.Height = r.Uint()
		default:
			r.Skip()
		}
	})
	return m, err
}

// Vouches says whether a key is one of the manufacturer's.
func (m *Manufacturer) Vouches(key []byte) bool { return hasKey(m.Keys, key) }

// Append appends the encoding of a.
func (a *ProveOrigin) Append(b []byte) []byte {
	var f fields
	f.bytes(1, a.Device[:])
	f.bytes(2, a.Origin)
	return f.appendTo(b)
}

// ParseProveOrigin reads the arguments of OpOrigin; they alias b.
func ParseProveOrigin(b []byte) (a ProveOrigin, err error) {
	err = parseArgs(b, 1<<1|1<<2, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			a.Device = hashOf(r)
		case 2:
			a.Origin = someBytes(r)
		default:
			return false
		}
		return true
	})
	return a, err
}

// Append appends the encoding of o, what is signed; Signer is no part of it.
func (o *DeviceOrigin) Append(b []byte) []byte {
	var f fields
	f.text(1, o.Manufacturer)
	f.text(2, o.Model)
	f.text(3, o.Serial)
	f.bytes(4, o.Key)
	f.optBytes(5, o.Hardware)
	return f.appendTo(b)
}

// ParseDeviceOrigin reads what a manufacturer signs of a device.
func ParseDeviceOrigin(b []byte) (o DeviceOrigin, err error) {
	err = parseArgs(b, 1<<1|1<<2|1<<3|1<<4, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			o.Manufacturer = shortText(r)
		case 2:
			o.Model = shortText(r)
		case 3:
			o.Serial = shortText(r)
		case 4:
			o.Key = r.Bytes()
		case 5:
			o.Hardware = someBytes(r)
		default:
			return false
		}
		return true
	})
	switch {
	case err != nil:
	case !ValidKey(o.Key):
		err = abi.CodeBadKey
	case len(o.Hardware) > MaxHardwareID:
		err = abi.CodeTooLarge
	}
	return o, err
}

// SignOrigin signs o and returns the encoded envelope.
func SignOrigin(o *DeviceOrigin, by Signer) ([]byte, error) {
	return Seal(o.Append(nil), PurposeOrigin, by)
}

// OpenOrigin reads a signed proof of origin and checks its signature, but not
// whose the Signer is. It aliases raw.
func OpenOrigin(raw []byte) (DeviceOrigin, error) {
	e, err := ParseEnvelope(raw, PurposeOrigin)
	if err != nil {
		return DeviceOrigin{}, err
	}
	o, err := ParseDeviceOrigin(e.Payload)
	if err != nil {
		return DeviceOrigin{}, fmt.Errorf("proof of origin: %w", err)
	}
	if err := e.Verify(); err != nil {
		return DeviceOrigin{}, err
	}
	o.Signer = e.Key
	return o, nil
}

// HardwareHash names a hardware identity on the ledger: SHA-256 of manufacturer,
// a zero byte and the id. So no manufacturer's list reaches another's devices.
func HardwareHash(manufacturer string, id []byte) abi.Hash {
	b := append(append(make([]byte, 0, len(manufacturer)+1+len(id)), manufacturer...), 0)
	return sha256.Sum256(append(b, id...))
}
