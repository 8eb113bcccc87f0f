package chain

import (
	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

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

// Bind binds a policy domain to a contract. {1: domain, 2: contract}
type Bind struct{ Domain, Contract string }

// Append appends the encoding of a.
func (a *Bind) Append(b []byte) []byte {
	var f fields
	f.text(1, a.Domain)
	f.text(2, a.Contract)
	return f.appendTo(b)
}

// ParseBind reads the arguments of OpBind.
func ParseBind(b []byte) (a Bind, err error) {
	err = parseArgs(b, 1<<1|1<<2, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			a.Domain = name(r)
		case 2:
			a.Contract = name(r)
		default:
			return false
		}
		return true
	})
	return a, err
}
