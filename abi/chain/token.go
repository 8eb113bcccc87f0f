package chain

import (
	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

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

// IssueToken lets the holder of a bearer token ask for decisions over HTTPS
// as an account with the enforcement-point role.
// {1: SHA-256 of the token, 2: account id, 3: domain, 4: expiry ms, 5: note}
type IssueToken struct {
	Token   abi.Hash
	Account abi.Hash
	Domain  string
	Expiry  int64
	Note    string
}

// Append appends the encoding of a.
func (a *IssueToken) Append(b []byte) []byte {
	var f fields
	f.bytes(1, a.Token[:])
	f.bytes(2, a.Account[:])
	f.text(3, a.Domain)
	f.int(4, a.Expiry)
	f.optText(5, a.Note)
	return f.appendTo(b)
}

// ParseIssueToken reads the arguments of OpIssueToken.
func ParseIssueToken(b []byte) (a IssueToken, err error) {
	err = parseArgs(b, 1<<1|1<<2|1<<3|1<<4, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			a.Token = hashOf(r)
		case 2:
			a.Account = hashOf(r)
		case 3:
			a.Domain = name(r)
		case 4:
			a.Expiry = r.Int()
		case 5:
			a.Note = shortText(r)
		default:
			return false
		}
		return true
	})
	return a, err
}

// RevokeToken ends a token. {1: SHA-256 of the token}
type RevokeToken struct{ Token abi.Hash }

// Append appends the encoding of a.
func (a *RevokeToken) Append(b []byte) []byte {
	var f fields
	f.bytes(1, a.Token[:])
	return f.appendTo(b)
}

// ParseRevokeToken reads the arguments of OpRevokeToken.
func ParseRevokeToken(b []byte) (a RevokeToken, err error) {
	err = parseArgs(b, 1<<1, func(k uint64, r *cbor.Reader) bool {
		a.Token = hashOf(r)
		return k == 1
	})
	return a, err
}
