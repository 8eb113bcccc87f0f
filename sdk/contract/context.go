package contract

import (
	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// Context is what an entry point knows of its call. It borrows from the
// call's input: nothing of it may be changed, or kept in the state other than
// by value.
type Context struct {
	Chain    Hash   // id of the chain
	Height   uint64 // of the block that is made, or that is asked at
	Time     int64  // of that block, ms since 1970
	Contract string // this contract's name
	Owner    Hash   // account that owns this contract

	// Caller is the account that signed the transaction or asks; nil in a
	// timer. Where Parent is set it is Parent that asks, and the account
	// signed something that may have been meant for another contract: use
	// Account or CallerIs to decide what a caller may do.
	Caller *Hash
	Roles  abi.Role // of the caller; none where Parent is set
	Parent string   // the contract that calls this one, "" at the top level

	Transaction *Hash  // id of the transaction, nil outside of one
	Domain      string // the policy domain that is asked, in decide only

	// Evidence is the device that signed what Message holds, an observation
	// (abi.ParseObservation): execute judges it. It is no command of the
	// caller's, whoever that is. Nil everywhere else.
	Evidence *Hash

	// Message is what the caller sent: hostile until it is parsed.
	Message []byte

	device []byte // the caller's device record, nil when it is no device
}

// Account is the account that asks directly; false in a timer, and where
// another contract asks.
func (c *Context) Account() (id Hash, ok bool) {
	if c.Caller == nil || c.Parent != "" {
		return Hash{}, false
	}
	return *c.Caller, true
}

// CallerIs says whether this account asks, directly.
func (c *Context) CallerIs(account Hash) bool {
	id, ok := c.Account()
	return ok && id == account
}

// FromOwner says whether this contract's owner asks, directly.
func (c *Context) FromOwner() bool { return c.CallerIs(c.Owner) }

// HasRoles says whether the caller has all of the roles.
func (c *Context) HasRoles(roles abi.Role) bool { return c.Roles&roles == roles }

// CallerDevice is the caller's device record; false when the caller is no
// device or another contract asks.
func (c *Context) CallerDevice() (Device, bool) {
	if c.device == nil {
		return Device{}, false
	}
	return mustDevice(c.device), true
}

// Reader reads the message; texts borrow from it. A parser that ends with Done
// has refused all but the one canonical encoding.
func (c *Context) Reader() cbor.Reader { return cbor.NewBorrowingReader(c.Message) }

// ParseContext reads an input of the host (abi.Input); the result borrows
// from b. Errors are, or wrap, abi.CodeMalformed and abi.CodeBadArgument.
func ParseContext(b []byte) (Context, error) {
	var c Context
	if err := c.parse(b); err != nil {
		return Context{}, err
	}
	return c, nil
}

func (c *Context) parse(b []byte) error {
	r := cbor.NewCheckedReader(b)
	r.ArrayN(2)
	seen := uint64(0)
	for f := r.Fields(); f.Next(); {
		seen |= 1 << min(f.Key(), 63)
		c.readField(f.Key(), &r)
	}
	c.Message = r.Bytes()
	if err := r.Done(); err != nil {
		return abi.Malformed(err)
	}
	const always = 1<<1 | 1<<2 | 1<<3 | 1<<4 | 1<<9
	if seen&always != always {
		return abi.CodeBadArgument
	}
	return nil
}

func (c *Context) readField(key uint64, r *cbor.Reader) {
	switch key {
	case 1:
		readHash(r, &c.Chain)
	case 2:
		c.Height = r.Uint()
	case 3:
		c.Time = r.Int()
	case 4:
		c.Contract = r.Text()
	case 5:
		c.Caller = borrowHash(r)
	case 6:
		c.Roles = abi.Role(r.Uint())
	case 7:
		c.device = r.Raw()
	case 8:
		c.Transaction = borrowHash(r)
	case 9:
		readHash(r, &c.Owner)
	case 10:
		c.Domain = r.Text()
	case 11:
		c.Parent = r.Text()
	case 12:
		c.Evidence = borrowHash(r)
	default:
		r.Skip()
	}
}

func readHash(r *cbor.Reader, h *Hash) { copy(h[:], r.BytesN(len(h))) }

// borrowHash reads a hash that stays where it is.
func borrowHash(r *cbor.Reader) *Hash {
	b := r.BytesN(len(Hash{}))
	if b == nil {
		return nil
	}
	return (*Hash)(b)
}
