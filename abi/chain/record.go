package chain

import (
	"math"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// Account is the record of an account:
// {1: current public key, 2: roles, 3: X25519 key, 4: gas quota,
// 5: storage quota, 6: owner's account id (devices), 7: created at height}
// A device's quotas are its owner's.
type Account struct {
	Key          []byte
	Roles        abi.Role
	X25519       []byte
	GasQuota     uint64 // 0: the chain's default
	StorageQuota uint64 // 0: the chain's default
	Owner        *abi.Hash
	Created      uint64
}

// Append appends the encoding of a.
func (a *Account) Append(b []byte) []byte {
	var f fields
	f.bytes(1, a.Key)
	f.uint(2, uint64(a.Roles))
	f.optBytes(3, a.X25519)
	f.optUint(4, a.GasQuota)
	f.optUint(5, a.StorageQuota)
	if a.Owner != nil {
		f.bytes(6, a.Owner[:])
	}
	f.uint(7, a.Created)
	return f.appendTo(b)
}

// ParseAccount reads an account's record.
func ParseAccount(b []byte) (a Account, err error) {
	err = parseRecord(b, func(k uint64, r *cbor.Reader) {
		switch k {
		case 1:
			a.Key = r.Bytes()
		case 2:
			a.Roles = abi.Role(r.Uint())
		case 3:
			a.X25519 = r.BytesN(32)
		case 4:
			a.GasQuota = r.Uint()
		case 5:
			a.StorageQuota = r.Uint()
		case 6:
			h := hashOf(r)
			a.Owner = &h
		case 7:
			a.Created = r.Uint()
		default:
			r.Skip()
		}
	})
	return a, err
}

// Quota is what an account has left: {1: gas, 2: bytes of storage, 3: the
// header time in ms at which both were counted}.
type Quota struct {
	Gas     uint64
	Storage uint64
	Time    int64
}

// Append appends the encoding of q.
func (q *Quota) Append(b []byte) []byte {
	var f fields
	f.uint(1, q.Gas)
	f.uint(2, q.Storage)
	f.int(3, q.Time)
	return f.appendTo(b)
}

// ParseQuota reads a quota's record.
func ParseQuota(b []byte) (q Quota, err error) {
	err = parseRecord(b, func(k uint64, r *cbor.Reader) {
		switch k {
		case 1:
			q.Gas = r.Uint()
		case 2:
			q.Storage = r.Uint()
		case 3:
			q.Time = r.Int()
		default:
			r.Skip()
		}
	})
	return q, err
}

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

// Code is the record of a code whose upload is complete: {1: length in
// bytes, 2: account that uploaded it, 3: height}. Its bytes are the chunks
// under CodeChunkKey of that account.
type Code struct {
	Length   uint64
	Uploader abi.Hash
	Height   uint64
}

// Append appends the encoding of c.
func (c *Code) Append(b []byte) []byte {
	var f fields
	f.uint(1, c.Length)
	f.bytes(2, c.Uploader[:])
	f.uint(3, c.Height)
	return f.appendTo(b)
}

// ParseCode reads a code's record.
func ParseCode(b []byte) (c Code, err error) {
	err = parseRecord(b, func(k uint64, r *cbor.Reader) {
		switch k {
		case 1:
			c.Length = r.Uint()
		case 2:
			c.Uploader = hashOf(r)
		case 3:
			c.Height = r.Uint()
		default:
			r.Skip()
		}
	})
	return c, err
}

// PendingUpload is the record of an unfinished upload: {1: length in bytes,
// 2: expiry in ms of header time, 3: chunks that have arrived, a bit each,
// the first being the lowest bit of the first byte}.
type PendingUpload struct {
	Length  uint64
	Expiry  int64
	Arrived []byte
}

// Append appends the encoding of u.
func (u *PendingUpload) Append(b []byte) []byte {
	var f fields
	f.uint(1, u.Length)
	f.int(2, u.Expiry)
	f.bytes(3, u.Arrived)
	return f.appendTo(b)
}

// ParsePendingUpload reads the record of an unfinished upload.
func ParsePendingUpload(b []byte) (u PendingUpload, err error) {
	err = parseRecord(b, func(k uint64, r *cbor.Reader) {
		switch k {
		case 1:
			u.Length = r.Uint()
		case 2:
			u.Expiry = r.Int()
		case 3:
			u.Arrived = r.Bytes()
		default:
			r.Skip()
		}
	})
	return u, err
}

// ContractStatus is where a contract stands.
type ContractStatus uint8

// The statuses of a contract: it waits for its activation time, answers, or
// failed in init.
const (
	ContractPending ContractStatus = iota + 1
	ContractActive
	ContractFailed
)

func (s ContractStatus) String() string {
	switch s {
	case ContractPending:
		return "pending"
	case ContractActive:
		return "active"
	case ContractFailed:
		return "failed"
	}
	return "unknown"
}

// Contract is the record of a contract:
// {1: code hash, 2: owner, 3: status, 4: activation time ms, 5: height of the
// deployment, 6: code of init's failure, 7: abort code of init's failure,
// 8: note, 9: live timers, 10: number of the version that answers, or of the
// first while none has, 11: number of the newest version, 12: number of the
// version that waits for its activation beside the one that answers}
type Contract struct {
	Code        abi.Hash
	Owner       abi.Hash
	Status      ContractStatus
	Activation  int64
	Height      uint64
	Failure     abi.Code
	FailureCode uint16
	Note        string
	Timers      uint64
	Version     uint64
	Versions    uint64
	Pending     uint64
}

// Append appends the encoding of c.
func (c *Contract) Append(b []byte) []byte {
	var f fields
	f.bytes(1, c.Code[:])
	f.bytes(2, c.Owner[:])
	f.uint(3, uint64(c.Status))
	f.int(4, c.Activation)
	f.uint(5, c.Height)
	f.optUint(6, uint64(c.Failure))
	f.optUint(7, uint64(c.FailureCode))
	f.optText(8, c.Note)
	f.optUint(9, c.Timers)
	f.uint(10, c.Version)
	f.uint(11, c.Versions)
	f.optUint(12, c.Pending)
	return f.appendTo(b)
}

// ParseContract reads a contract's record.
func ParseContract(b []byte) (c Contract, err error) {
	err = parseRecord(b, func(k uint64, r *cbor.Reader) {
		switch k {
		case 1:
			c.Code = hashOf(r)
		case 2:
			c.Owner = hashOf(r)
		case 3:
			c.Status = ContractStatus(uintUpTo(r, math.MaxUint8))
		case 4:
			c.Activation = r.Int()
		case 5:
			c.Height = r.Uint()
		case 6:
			c.Failure = abi.Code(uintUpTo(r, math.MaxUint16))
		case 7:
			c.FailureCode = uint16(uintUpTo(r, math.MaxUint16))
		case 8:
			c.Note = r.Text()
		case 9:
			c.Timers = r.Uint()
		case 10:
			c.Version = r.Uint()
		case 11:
			c.Versions = r.Uint()
		case 12:
			c.Pending = r.Uint()
		default:
			r.Skip()
		}
	})
	return c, err
}

// VersionStatus is where a version of a contract stands.
type VersionStatus uint8

// The statuses of a version: it waits for its activation time, answers, failed
// in init or migrate and never answered, or answered until another did.
const (
	VersionPending VersionStatus = iota + 1
	VersionActive
	VersionFailed
	VersionSuperseded
)

func (s VersionStatus) String() string {
	switch s {
	case VersionPending:
		return "pending"
	case VersionActive:
		return "active"
	case VersionFailed:
		return "failed"
	case VersionSuperseded:
		return "superseded"
	}
	return "unknown"
}

// ContractVersion is the record of one deployment or upgrade of a contract:
// {1: code hash, 2: account, 3: header time ms, 4: height, 5: activation time
// ms, 6: SHA-256 of the init or migrate message (absent if there was none),
// 7: status, 8: failure, 9: abort code of the failure, 10: note, 11: height at
// which it became active or failed (absent while it is pending)}
// Account, time and height are those of the transaction.
type ContractVersion struct {
	Code        abi.Hash
	Account     abi.Hash
	Time        int64
	Height      uint64
	Activation  int64
	Message     *abi.Hash
	Status      VersionStatus
	Failure     abi.Code
	FailureCode uint16
	Note        string
	Decided     uint64
}

// Append appends the encoding of v.
func (v *ContractVersion) Append(b []byte) []byte {
	var f fields
	f.bytes(1, v.Code[:])
	f.bytes(2, v.Account[:])
	f.int(3, v.Time)
	f.uint(4, v.Height)
	f.int(5, v.Activation)
	if v.Message != nil {
		f.bytes(6, v.Message[:])
	}
	f.uint(7, uint64(v.Status))
	f.optUint(8, uint64(v.Failure))
	f.optUint(9, uint64(v.FailureCode))
	f.optText(10, v.Note)
	f.optUint(11, v.Decided)
	return f.appendTo(b)
}

// ParseContractVersion reads the record of a version.
func ParseContractVersion(b []byte) (v ContractVersion, err error) {
	err = parseRecord(b, func(k uint64, r *cbor.Reader) {
		switch k {
		case 1:
			v.Code = hashOf(r)
		case 2:
			v.Account = hashOf(r)
		case 3:
			v.Time = r.Int()
		case 4:
			v.Height = r.Uint()
		case 5:
			v.Activation = r.Int()
		case 6:
			h := hashOf(r)
			v.Message = &h
		case 7:
			v.Status = VersionStatus(uintUpTo(r, math.MaxUint8))
		case 8:
			v.Failure = abi.Code(uintUpTo(r, math.MaxUint16))
		case 9:
			v.FailureCode = uint16(uintUpTo(r, math.MaxUint16))
		case 10:
			v.Note = r.Text()
		case 11:
			v.Decided = r.Uint()
		default:
			r.Skip()
		}
	})
	return v, err
}

// Domain is the record of a policy domain: {1: contract, 2: account that
// bound it}.
type Domain struct {
	Contract string
	Owner    abi.Hash
}

// Append appends the encoding of d.
func (d *Domain) Append(b []byte) []byte {
	var f fields
	f.text(1, d.Contract)
	f.bytes(2, d.Owner[:])
	return f.appendTo(b)
}

// ParseDomain reads a policy domain's record.
func ParseDomain(b []byte) (d Domain, err error) {
	err = parseRecord(b, func(k uint64, r *cbor.Reader) {
		switch k {
		case 1:
			d.Contract = r.Text()
		case 2:
			d.Owner = hashOf(r)
		default:
			r.Skip()
		}
	})
	return d, err
}

// Token is the record of a bearer token, kept under the token's hash:
// {1: account, 2: domain, 3: expiry ms, 4: note, 5: issued by, 6: revoked at
// height}
type Token struct {
	Account  abi.Hash
	Domain   string
	Expiry   int64
	Note     string
	IssuedBy abi.Hash
	Revoked  uint64
}

// Append appends the encoding of t.
func (t *Token) Append(b []byte) []byte {
	var f fields
	f.bytes(1, t.Account[:])
	f.text(2, t.Domain)
	f.int(3, t.Expiry)
	f.optText(4, t.Note)
	f.bytes(5, t.IssuedBy[:])
	f.optUint(6, t.Revoked)
	return f.appendTo(b)
}

// ParseToken reads a token's record.
func ParseToken(b []byte) (t Token, err error) {
	err = parseRecord(b, func(k uint64, r *cbor.Reader) {
		switch k {
		case 1:
			t.Account = hashOf(r)
		case 2:
			t.Domain = r.Text()
		case 3:
			t.Expiry = r.Int()
		case 4:
			t.Note = r.Text()
		case 5:
			t.IssuedBy = hashOf(r)
		case 6:
			t.Revoked = r.Uint()
		default:
			r.Skip()
		}
	})
	return t, err
}

// TimerKind is what a timer runs.
type TimerKind uint64

// A timer runs a contract's timer entry, activates a contract, drops an upload
// whose time is over, activates a contract's pending version, or sees to a
// proposal that is due: it executes an approved one and ends an expired one.
const (
	TimerContract TimerKind = 1
	TimerActivate TimerKind = 2
	TimerUpload   TimerKind = 3
	TimerUpgrade  TimerKind = 4
	TimerProposal TimerKind = 5
)

// Timer is the record of a timer, kept under its due time and number:
// {1: kind, 2: contract, 3: message, 4: account, 5: code hash, 6: proposal};
// 2 and 3 for TimerContract (3 is init's message for TimerActivate, migrate's
// for TimerUpgrade), 4 and 5 for TimerUpload, 6 for TimerProposal; 4 is also
// who pays for what runs.
type Timer struct {
	Kind     TimerKind
	Contract string
	Message  []byte
	Account  abi.Hash
	Code     abi.Hash
	Proposal uint64
}

// Append appends the encoding of t.
func (t *Timer) Append(b []byte) []byte {
	var f fields
	f.uint(1, uint64(t.Kind))
	f.optText(2, t.Contract)
	f.optBytes(3, t.Message)
	f.bytes(4, t.Account[:])
	if t.Kind == TimerUpload {
		f.bytes(5, t.Code[:])
	}
	f.optUint(6, t.Proposal)
	return f.appendTo(b)
}

// ParseTimer reads a timer's record.
func ParseTimer(b []byte) (t Timer, err error) {
	err = parseRecord(b, func(k uint64, r *cbor.Reader) {
		switch k {
		case 1:
			t.Kind = TimerKind(r.Uint())
		case 2:
			t.Contract = r.Text()
		case 3:
			t.Message = r.Bytes()
		case 4:
			t.Account = hashOf(r)
		case 5:
			t.Code = hashOf(r)
		case 6:
			t.Proposal = r.Uint()
		default:
			r.Skip()
		}
	})
	return t, err
}

// parseRecord walks the map b; read skips the keys it does not know.
func parseRecord(b []byte, read func(key uint64, r *cbor.Reader)) error {
	r := cbor.NewReader(b)
	for f := r.Fields(); f.Next(); {
		read(f.Key(), &r)
	}
	if err := r.Done(); err != nil {
		return abi.Malformed(err)
	}
	return nil
}
