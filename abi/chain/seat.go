package chain

import (
	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// AddValidator makes a key a validator. {1: statement, 2: roles}
// The statement is a StatementValidator of the key. The account gets the
// validator role, and those of 2 besides.
type AddValidator struct {
	Statement []byte
	Roles     abi.Role
}

// Append appends the encoding of a.
func (a *AddValidator) Append(b []byte) []byte {
	var f fields
	f.bytes(1, a.Statement)
	f.optUint(2, uint64(a.Roles))
	return f.appendTo(b)
}

// ParseAddValidator reads the arguments of ProposeAddValidator.
func ParseAddValidator(b []byte) (a AddValidator, err error) {
	err = parseArgs(b, 1<<1, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			a.Statement = r.Bytes()
		case 2:
			a.Roles = abi.Role(nonZero(r))
		default:
			return false
		}
		return true
	})
	if err == nil && a.Roles&^abi.AllRoles != 0 {
		err = abi.CodeBadArgument
	}
	return a, err
}

// RemoveValidator takes the vote from a validator. {1: validator id}
type RemoveValidator struct{ ID uint64 }

// Append appends the encoding of a.
func (a *RemoveValidator) Append(b []byte) []byte {
	var f fields
	f.uint(1, a.ID)
	return f.appendTo(b)
}

// ParseRemoveValidator reads the arguments of ProposeRemoveValidator.
func ParseRemoveValidator(b []byte) (a RemoveValidator, err error) {
	err = parseArgs(b, 1<<1, func(k uint64, r *cbor.Reader) bool {
		a.ID = r.Uint()
		return k == 1
	})
	return a, err
}

// ReplaceValidator gives a validator's vote to another key, or a validator
// another key. {1: validator id, 2: statement (StatementValidator)}
type ReplaceValidator struct {
	ID        uint64
	Statement []byte
}

// Append appends the encoding of a.
func (a *ReplaceValidator) Append(b []byte) []byte {
	var f fields
	f.uint(1, a.ID)
	f.bytes(2, a.Statement)
	return f.appendTo(b)
}

// ParseReplaceValidator reads the arguments of ProposeReplaceValidator and
// ProposeRotateValidator.
func ParseReplaceValidator(b []byte) (a ReplaceValidator, err error) {
	err = parseArgs(b, 1<<1|1<<2, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			a.ID = r.Uint()
		case 2:
			a.Statement = r.Bytes()
		default:
			return false
		}
		return true
	})
	return a, err
}
