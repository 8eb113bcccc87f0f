package chain

import (
	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// Limits of alerts and of what is kept of stolen devices.
const (
	MaxAlertKinds  = 32      // kinds of alerts a gateway may have records of
	MaxAuthorities = 4       // authorities that one item is sealed to
	MaxSealed      = 4 << 10 // bytes of one sealed text
	SealedKept     = 64      // items of a device, the newest
)

// Alert tells of attacks on a gateway itself since its last alert of the kind.
// {1: kind (a name, such as "handshake-flood"), 2: count, 3: evidence hash,
// 4: device id (optional)} The sender has the gateway role.
type Alert struct {
	Kind     string
	Count    uint64
	Evidence abi.Hash
	Device   *abi.Hash
}

// Alerts is the record of a gateway's alerts of one kind: {1: count of all,
// 2: height of the last, 3: its evidence hash, 4: its device (absent: none)}
type Alerts struct {
	Count    uint64
	Height   uint64
	Evidence abi.Hash
	Device   *abi.Hash
}

// Sealed keeps what a quarantined or stolen device sent, readable by its owner
// and by authorities alone. {1: device id, 2: sealed to the owner (bytes),
// 3: [[account id, sealed to it (bytes)] …], at most MaxAuthorities (absent:
// none), 4: evidence hash: SHA-256 of what was sealed}
// The sender has the gateway role. Texts are HPKE (RFC 9180) as package
// abi/sealed makes them, at most MaxSealed each.
type Sealed struct {
	Device      abi.Hash
	Owner       []byte
	Authorities []SealedCopy
	Evidence    abi.Hash
}

// SealedCopy is a text that is sealed to one account.
type SealedCopy struct {
	Account abi.Hash
	Text    []byte
}

// SealedItem is the record of what was kept of a device: {1: owner's account id,
// 2: sealed to it, 3: [[account id, sealed to it] …] (absent: none), 4: evidence
// hash, 5: gateway's account id, 6: height, 7: header time ms}
type SealedItem struct {
	Account     abi.Hash
	Owner       []byte
	Authorities []SealedCopy
	Evidence    abi.Hash
	Gateway     abi.Hash
	Height      uint64
	Time        int64
}

// Append appends the encoding of a.
func (a *Alert) Append(b []byte) []byte {
	var f fields
	f.text(1, a.Kind)
	f.uint(2, a.Count)
	f.bytes(3, a.Evidence[:])
	if a.Device != nil {
		f.bytes(4, a.Device[:])
	}
	return f.appendTo(b)
}

// ParseAlert reads the arguments of OpAlert.
func ParseAlert(b []byte) (a Alert, err error) {
	err = parseArgs(b, 1<<1|1<<2|1<<3, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			a.Kind = name(r)
		case 2:
			a.Count = nonZero(r)
		case 3:
			a.Evidence = hashOf(r)
		case 4:
			a.Device = hashRef(r)
		default:
			return false
		}
		return true
	})
	return a, err
}

// Append appends the encoding of a.
func (a *Alerts) Append(b []byte) []byte {
	var f fields
	f.uint(1, a.Count)
	f.uint(2, a.Height)
	f.bytes(3, a.Evidence[:])
	if a.Device != nil {
		f.bytes(4, a.Device[:])
	}
	return f.appendTo(b)
}

// ParseAlerts reads the record of a gateway's alerts of one kind.
func ParseAlerts(b []byte) (a Alerts, err error) {
	err = parseRecord(b, func(k uint64, r *cbor.Reader) {
		switch k {
		case 1:
			a.Count = r.Uint()
		case 2:
			a.Height = r.Uint()
		case 3:
			a.Evidence = hashOf(r)
		case 4:
			a.Device = hashRef(r)
		default:
			r.Skip()
		}
	})
	return a, err
}

// Append appends the encoding of a.
func (a *Sealed) Append(b []byte) []byte {
	var f fields
	f.bytes(1, a.Device[:])
	f.bytes(2, a.Owner)
	if len(a.Authorities) > 0 {
		f.raw(3, appendCopies(nil, a.Authorities))
	}
	f.bytes(4, a.Evidence[:])
	return f.appendTo(b)
}

func appendCopies(b []byte, list []SealedCopy) []byte {
	b = cbor.AppendArray(b, len(list))
	for i := range list {
		b = cbor.AppendBytes(cbor.AppendArray(b, 2), list[i].Account[:])
		b = cbor.AppendBytes(b, list[i].Text)
	}
	return b
}

// ParseSealed reads the arguments of OpSealed; they alias b.
func ParseSealed(b []byte) (a Sealed, err error) {
	err = parseArgs(b, 1<<1|1<<2|1<<4, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			a.Device = hashOf(r)
		case 2:
			a.Owner = sealedText(r)
		case 3:
			a.Authorities = readCopies(r)
		case 4:
			a.Evidence = hashOf(r)
		default:
			return false
		}
		return true
	})
	return a, err
}

func sealedText(r *cbor.Reader) []byte {
	b := someBytes(r)
	if len(b) > MaxSealed {
		r.Fail(abi.CodeTooLarge)
	}
	return b
}

func readCopies(r *cbor.Reader) (list []SealedCopy) {
	n := r.Array()
	if n == 0 || n > MaxAuthorities {
		r.Fail(abi.CodeBadArgument)
	}
	for ; n > 0 && r.Err() == nil; n-- {
		r.ArrayN(2)
		c := SealedCopy{Account: hashOf(r), Text: sealedText(r)}
		for i := range list {
			if list[i].Account == c.Account {
				r.Fail(abi.CodeBadArgument)
			}
		}
		list = append(list, c)
	}
	return list
}

// Append appends the encoding of s.
func (s *SealedItem) Append(b []byte) []byte {
	var f fields
	f.bytes(1, s.Account[:])
	f.bytes(2, s.Owner)
	if len(s.Authorities) > 0 {
		f.raw(3, appendCopies(nil, s.Authorities))
	}
	f.bytes(4, s.Evidence[:])
	f.bytes(5, s.Gateway[:])
	f.uint(6, s.Height)
	f.int(7, s.Time)
	return f.appendTo(b)
}

// ParseSealedItem reads the record of what was kept of a device; it aliases b.
func ParseSealedItem(b []byte) (s SealedItem, err error) {
	err = parseRecord(b, func(k uint64, r *cbor.Reader) {
		switch k {
		case 1:
			s.Account = hashOf(r)
		case 2:
			s.Owner = r.Bytes()
		case 3:
			s.Authorities = readCopies(r)
		case 4:
			s.Evidence = hashOf(r)
		case 5:
			s.Gateway = hashOf(r)
		case 6:
			s.Height = r.Uint()
		case 7:
			s.Time = r.Int()
		default:
			r.Skip()
		}
	})
	return s, err
}
