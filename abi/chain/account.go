package chain

import (
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

// Grant creates the account of a key, or sets an account's roles and quota.
// {1: public key, 2: roles, 3: X25519 key, 4: gas quota, 5: storage quota}
// It needs the operator role. Without 4 or 5 the chain's default holds.
type Grant struct {
	Key          []byte
	Roles        abi.Role
	X25519       []byte // 32 bytes or nil; nil keeps what is there
	GasQuota     uint64
	StorageQuota uint64
}

// Append appends the encoding of a.
func (a *Grant) Append(b []byte) []byte {
	var f fields
	f.bytes(1, a.Key)
	f.uint(2, uint64(a.Roles))
	f.optBytes(3, a.X25519)
	f.optUint(4, a.GasQuota)
	f.optUint(5, a.StorageQuota)
	return f.appendTo(b)
}

// ParseGrant reads the arguments of OpGrant.
func ParseGrant(b []byte) (a Grant, err error) {
	err = parseArgs(b, 1<<1|1<<2, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			a.Key = r.Bytes()
		case 2:
			a.Roles = abi.Role(r.Uint())
		case 3:
			a.X25519 = r.BytesN(32)
		case 4:
			a.GasQuota = nonZero(r)
		case 5:
			a.StorageQuota = nonZero(r)
		default:
			return false
		}
		return true
	})
	if err == nil && a.Roles&^abi.AllRoles != 0 {
		err = abi.CodeBadArgument
	}
	if err == nil && !ValidKey(a.Key) {
		err = abi.CodeBadKey
	}
	return a, err
}

// Rotate replaces the sender's key by the one that signed the statement
// (StatementRotate with body {1: account id}). {1: statement, 2: X25519 key}
type Rotate struct {
	Statement []byte
	X25519    []byte
}

// Append appends the encoding of a.
func (a *Rotate) Append(b []byte) []byte {
	var f fields
	f.bytes(1, a.Statement)
	f.optBytes(2, a.X25519)
	return f.appendTo(b)
}

// ParseRotate reads the arguments of OpRotate.
func ParseRotate(b []byte) (a Rotate, err error) {
	err = parseArgs(b, 1<<1, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			a.Statement = r.Bytes()
		case 2:
			a.X25519 = r.BytesN(32)
		default:
			return false
		}
		return true
	})
	return a, err
}

// RotationBody is the body of a StatementRotate and of a StatementValidator:
// {1: account id}. A key that is to be the first of an account names the
// account that it will be, AccountID of the key.
func RotationBody(account abi.Hash) []byte {
	var f fields
	f.bytes(1, account[:])
	return f.appendTo(nil)
}

// ParseRotationBody reads the body of a StatementRotate or StatementValidator.
func ParseRotationBody(b []byte) (account abi.Hash, err error) {
	err = parseArgs(b, 1<<1, func(k uint64, r *cbor.Reader) bool {
		account = hashOf(r)
		return k == 1
	})
	return account, err
}
