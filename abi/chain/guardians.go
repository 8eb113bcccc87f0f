package chain

import (
	"math"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// Guardians is the arguments of OpGuardians and the record under GuardiansKey:
// {1: [account id …], 2: threshold, 3: delay ms}
// So many of the guardians as the threshold says may give the account a new
// key, which it has after the delay unless its present key objects. Without
// guardians the list is empty and 2 and 3 are left out.
type Guardians struct {
	Accounts  []abi.Hash
	Threshold uint64
	Delay     int64
}

// Append appends the encoding of a.
func (a *Guardians) Append(b []byte) []byte {
	var f fields
	list := cbor.AppendArray(nil, len(a.Accounts))
	for i := range a.Accounts {
		list = cbor.AppendBytes(list, a.Accounts[i][:])
	}
	f.raw(1, list)
	f.optUint(2, a.Threshold)
	f.optUint(3, uint64(a.Delay))
	return f.appendTo(b)
}

// Has says whether the account is one of the guardians.
func (a *Guardians) Has(account abi.Hash) bool {
	for i := range a.Accounts {
		if a.Accounts[i] == account {
			return true
		}
	}
	return false
}

// ParseGuardians reads the arguments of OpGuardians, or a record of them.
func ParseGuardians(b []byte) (a Guardians, err error) {
	err = parseArgs(b, 1<<1, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			a.Accounts = readGuardians(r)
		case 2:
			a.Threshold = nonZero(r)
		case 3:
			a.Delay = int64(min(nonZero(r), math.MaxInt64))
		default:
			return false
		}
		return true
	})
	n := uint64(len(a.Accounts))
	if err == nil && (a.Threshold > n || a.Threshold == 0 && n > 0 || a.Delay > MaxRecoveryDelay || n == 0 && a.Delay > 0) {
		err = abi.CodeBadArgument
	}
	return a, err
}

func readGuardians(r *cbor.Reader) (list []abi.Hash) {
	n := r.Array()
	if n > MaxGuardians {
		r.Fail(abi.CodeTooLarge)
	}
	seen := make(map[abi.Hash]bool, MaxGuardians)
	for ; n > 0 && r.Err() == nil; n-- {
		h := hashOf(r)
		if seen[h] {
			r.Fail(abi.CodeBadArgument)
		}
		seen[h] = true
		list = append(list, h)
	}
	return list
}

// Recover gives an account a new key on its guardians' word.
// {1: account id, 2: statement of the new key (StatementRotate)}
type Recover struct {
	Account   abi.Hash
	Statement []byte
}

// Append appends the encoding of a.
func (a *Recover) Append(b []byte) []byte {
	var f fields
	f.bytes(1, a.Account[:])
	f.bytes(2, a.Statement)
	return f.appendTo(b)
}

// ParseRecover reads the arguments of ProposeRecover.
func ParseRecover(b []byte) (a Recover, err error) {
	err = parseArgs(b, 1<<1|1<<2, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			a.Account = hashOf(r)
		case 2:
			a.Statement = r.Bytes()
		default:
			return false
		}
		return true
	})
	return a, err
}

// DeclareStolen declares a device stolen on the word of its owner's guardians.
// {1: device id, 2: reason}
type DeclareStolen struct {
	Device abi.Hash
	Reason string
}

// Append appends the encoding of a.
func (a *DeclareStolen) Append(b []byte) []byte {
	var f fields
	f.bytes(1, a.Device[:])
	f.text(2, a.Reason)
	return f.appendTo(b)
}

// ParseDeclareStolen reads the arguments of ProposeStolen.
func ParseDeclareStolen(b []byte) (a DeclareStolen, err error) {
	err = parseArgs(b, 1<<1|1<<2, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			a.Device = hashOf(r)
		case 2:
			a.Reason = shortText(r)
		default:
			return false
		}
		return true
	})
	return a, err
}
