package chain

import (
	"fmt"
	"math"
	"strings"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// MaxText bounds free texts in records in bytes: reasons, notes, what devices
// say of themselves. They are one line, without control characters.
const MaxText = 256

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

// Rotate replaces the sender's key by the one that signed the statement
// (StatementRotate with body {1: account id}). {1: statement, 2: X25519 key}
type Rotate struct {
	Statement []byte
	X25519    []byte
}

// Enrol enrols the device whose key signed the statement (StatementEnrol with
// the body of Enrolment). {1: statement, 2: labels}
type Enrol struct {
	Statement []byte
	Labels    Labels
}

// Enrolment is what a device says of itself and signs:
// {1: owner's account id, 2: manufacturer, 3: model, 4: serial, 5: X25519 key}
type Enrolment struct {
	Owner        abi.Hash
	Manufacturer string
	Model        string
	Serial       string
	X25519       []byte
}

// DeviceStatus sets a device's status. {1: device id, 2: status, 3: reason}
type DeviceStatus struct {
	Device abi.Hash
	Status abi.Status
	Reason string
}

// Upload declares code to come. {1: code hash, 2: length in bytes}
type Upload struct {
	Code   abi.Hash
	Length uint64
}

// Chunk is one part of an upload: all are abi.MaxChunk long but the last.
// {1: code hash, 2: index, 3: bytes}
type Chunk struct {
	Code  abi.Hash
	Index uint64
	Data  []byte
}

// Deploy makes a contract of a complete upload or of a code that is there.
// {1: name, 2: code hash, 3: init message, 4: note}
type Deploy struct {
	Name string
	Code abi.Hash
	Init []byte
	Note string
}

// Upgrade gives a contract the code of a complete upload or one that is there.
// {1: name, 2: code hash, 3: migrate message, 4: note}
type Upgrade struct {
	Name    string
	Code    abi.Hash
	Migrate []byte
	Note    string
}

// Call runs a contract's execute. {1: contract, 2: message}
type Call struct {
	Contract string
	Message  []byte
}

// Bind binds a policy domain to a contract. {1: domain, 2: contract}
type Bind struct{ Domain, Contract string }

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

// RevokeToken ends a token. {1: SHA-256 of the token}
type RevokeToken struct{ Token abi.Hash }

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

// Append appends the encoding of a.
func (a *Enrol) Append(b []byte) []byte {
	var f fields
	f.bytes(1, a.Statement)
	if len(a.Labels) > 0 {
		f.raw(2, a.Labels.Append(nil))
	}
	return f.appendTo(b)
}

// ParseEnrol reads the arguments of OpEnrol.
func ParseEnrol(b []byte) (a Enrol, err error) {
	err = parseArgs(b, 1<<1, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			a.Statement = r.Bytes()
		case 2:
			a.Labels = readLabels(r)
		default:
			return false
		}
		return true
	})
	return a, err
}

// Append appends the encoding of a.
func (a *Enrolment) Append(b []byte) []byte {
	var f fields
	f.bytes(1, a.Owner[:])
	f.text(2, a.Manufacturer)
	f.text(3, a.Model)
	f.text(4, a.Serial)
	f.optBytes(5, a.X25519)
	return f.appendTo(b)
}

// ParseEnrolment reads the body of a StatementEnrol.
func ParseEnrolment(b []byte) (a Enrolment, err error) {
	err = parseArgs(b, 1<<1|1<<2|1<<3|1<<4, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			a.Owner = hashOf(r)
		case 2:
			a.Manufacturer = shortText(r)
		case 3:
			a.Model = shortText(r)
		case 4:
			a.Serial = shortText(r)
		case 5:
			a.X25519 = r.BytesN(32)
		default:
			return false
		}
		return true
	})
	return a, err
}

// Append appends the encoding of a.
func (a *DeviceStatus) Append(b []byte) []byte {
	var f fields
	f.bytes(1, a.Device[:])
	f.uint(2, uint64(a.Status))
	f.optText(3, a.Reason)
	return f.appendTo(b)
}

// ParseDeviceStatus reads the arguments of OpDeviceStatus.
func ParseDeviceStatus(b []byte) (a DeviceStatus, err error) {
	err = parseArgs(b, 1<<1|1<<2, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			a.Device = hashOf(r)
		case 2:
			a.Status = abi.Status(uintUpTo(r, math.MaxUint8))
			if r.Err() == nil && (a.Status < abi.StatusActive || a.Status > abi.StatusRetired) {
				r.Fail(abi.CodeBadStatus)
			}
		case 3:
			a.Reason = shortText(r)
		default:
			return false
		}
		return true
	})
	return a, err
}

// Append appends the encoding of a.
func (a *Upload) Append(b []byte) []byte {
	var f fields
	f.bytes(1, a.Code[:])
	f.uint(2, a.Length)
	return f.appendTo(b)
}

// ParseUpload reads the arguments of OpUpload.
func ParseUpload(b []byte) (a Upload, err error) {
	err = parseArgs(b, 1<<1|1<<2, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			a.Code = hashOf(r)
		case 2:
			a.Length = r.Uint()
		default:
			return false
		}
		return true
	})
	return a, err
}

// Append appends the encoding of a.
func (a *Chunk) Append(b []byte) []byte {
	var f fields
	f.bytes(1, a.Code[:])
	f.uint(2, a.Index)
	f.bytes(3, a.Data)
	return f.appendTo(b)
}

// ParseChunk reads the arguments of OpChunk; Data aliases b.
func ParseChunk(b []byte) (a Chunk, err error) {
	err = parseArgs(b, 1<<1|1<<2|1<<3, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			a.Code = hashOf(r)
		case 2:
			a.Index = uintUpTo(r, math.MaxUint32)
		case 3:
			a.Data = r.Bytes()
		default:
			return false
		}
		return true
	})
	if err == nil && (len(a.Data) == 0 || len(a.Data) > abi.MaxChunk) {
		err = abi.CodeTooLarge
	}
	return a, err
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

// parseArgs walks the map b, hands each pair to read, refuses keys that read
// does not know, and requires the keys of the bit set.
func parseArgs(b []byte, required uint64, read func(key uint64, r *cbor.Reader) bool) error {
	r := cbor.NewReader(b)
	seen := uint64(0)
	for f := r.Fields(); f.Next(); {
		if !read(f.Key(), &r) {
			r.Fail(abi.CodeBadArgument)
		}
		seen |= 1 << min(f.Key(), 63)
	}
	if err := r.Done(); err != nil {
		return abi.Malformed(err)
	}
	if seen&required != required {
		return abi.CodeBadArgument
	}
	return nil
}

func name(r *cbor.Reader) string {
	s := r.Text()
	if r.Err() == nil && !abi.ValidName(s) {
		r.Fail(abi.CodeBadArgument)
	}
	return s
}

// shortText reads a text of 1 to MaxText bytes on one line.
func shortText(r *cbor.Reader) string {
	s := r.Text()
	if r.Err() == nil && (s == "" || len(s) > MaxText || hasControl(s)) {
		r.Fail(abi.CodeBadArgument)
	}
	return s
}

// hasControl says whether s holds a control character (Unicode category Cc).
// They are refused in texts because a NUL separates manufacturer and serial in
// SerialKey, and because an escape would reach the operator's terminal.
func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(c rune) bool { return c < 0x20 || c >= 0x7f && c < 0xa0 })
}

// An optional field that is zero or empty is left out, so that a message has
// one encoding only: nonZero and someBytes refuse it when it is there.

func nonZero(r *cbor.Reader) uint64 {
	v := r.Uint()
	if v == 0 {
		r.Fail(fmt.Errorf("zero field is left out: %w", abi.CodeMalformed))
	}
	return v
}

func someBytes(r *cbor.Reader) []byte {
	b := r.Bytes()
	if len(b) == 0 {
		r.Fail(fmt.Errorf("empty field is left out: %w", abi.CodeMalformed))
	}
	return b
}

// uintUpTo reads an unsigned integer that must fit a smaller type.
func uintUpTo(r *cbor.Reader, limit uint64) uint64 {
	v := r.Uint()
	if v > limit {
		r.Fail(fmt.Errorf("%d is above %d: %w", v, limit, abi.CodeBadArgument))
		return 0
	}
	return v
}
