package chain

import (
	"math"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

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

// Deploy makes a contract of a complete upload or of a code that is there.
// {1: name, 2: code hash, 3: init message, 4: note}
type Deploy struct {
	Name string
	Code abi.Hash
	Init []byte
	Note string
}

// Append appends the encoding of a.
func (a *Deploy) Append(b []byte) []byte {
	var f fields
	f.text(1, a.Name)
	f.bytes(2, a.Code[:])
	f.optBytes(3, a.Init)
	f.optText(4, a.Note)
	return f.appendTo(b)
}

// ParseDeploy reads the arguments of OpDeploy.
func ParseDeploy(b []byte) (a Deploy, err error) {
	err = parseArgs(b, 1<<1|1<<2, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			a.Name = name(r)
		case 2:
			a.Code = hashOf(r)
		case 3:
			a.Init = someBytes(r)
		case 4:
			a.Note = shortText(r)
		default:
			return false
		}
		return true
	})
	return a, err
}

// Upgrade gives a contract the code of a complete upload or one that is there.
// {1: name, 2: code hash, 3: migrate message, 4: note}
type Upgrade struct {
	Name    string
	Code    abi.Hash
	Migrate []byte
	Note    string
}

// Append appends the encoding of a.
func (a *Upgrade) Append(b []byte) []byte {
	d := Deploy{Name: a.Name, Code: a.Code, Init: a.Migrate, Note: a.Note}
	return d.Append(b)
}

// ParseUpgrade reads the arguments of OpUpgrade, which have the form of
// OpDeploy's.
func ParseUpgrade(b []byte) (Upgrade, error) {
	d, err := ParseDeploy(b)
	return Upgrade{Name: d.Name, Code: d.Code, Migrate: d.Init, Note: d.Note}, err
}

// Call runs a contract's execute. {1: contract, 2: message}
type Call struct {
	Contract string
	Message  []byte
}

// Append appends the encoding of a.
func (a *Call) Append(b []byte) []byte {
	var f fields
	f.text(1, a.Contract)
	f.bytes(2, a.Message)
	return f.appendTo(b)
}

// ParseCall reads the arguments of OpCall; Message aliases b.
func ParseCall(b []byte) (a Call, err error) {
	err = parseArgs(b, 1<<1|1<<2, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			a.Contract = name(r)
		case 2:
			a.Message = r.Bytes()
		default:
			return false
		}
		return true
	})
	return a, err
}
