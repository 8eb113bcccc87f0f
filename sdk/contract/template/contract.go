// A contract with a list of guests: its owner invites accounts and takes
// invitations back, and whoever is invited is permitted everything.
package main

import (
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/sdk/contract"
)

// The contract's state: for each guest the time until which it is invited,
// ms since 1970. All state lives in such variables; nothing else is kept
// between calls.
var guests = contract.NewMap("guests/", contract.HashKey, contract.Int64Value)

// Why the contract refuses. The numbers stand in outcomes on the ledger and
// never change their meaning.
var (
	errNotOwner   = contract.Refuse(2, "only the owner invites")
	errUnknown    = contract.Refuse(3, "no such operation")
	errNotAccount = contract.Refuse(4, "an account is 64 hexadecimal digits")
)

// Why it denies.
const (
	reasonNotInvited = 1
	reasonOver       = 2
	reasonNoClock    = 3
)

// Each entry point that the contract has is exported by two lines like these.
//
//go:wasmexport execute
func execute(ptr, size uint32) uint64 { return contract.Enter(ptr, size, onExecute) }

//go:wasmexport query
func query(ptr, size uint32) uint64 { return contract.Enter(ptr, size, onQuery) }

//go:wasmexport decide
func decide(ptr, size uint32) uint64 { return contract.EnterDecide(ptr, size, onDecide) }

func main() {}

// onExecute changes the list. In JSON its message is ["invite", account, until
// in ms] or ["revoke", account]. It runs in a transaction, on every node; an
// error undoes all that it did.
func onExecute(c *contract.Context) ([]byte, error) {
	if !c.FromOwner() {
		return nil, errNotOwner
	}
	r := c.Reader()
	switch fields := r.Array(); r.Text() {
	case "invite":
		account, until := readAccount(&r), r.Int()
		if err := done(&r, fields, 3); err != nil {
			return nil, err
		}
		guests.Set(account, until)
		contract.Emit("invited", account[:])
	case "revoke":
		account := readAccount(&r)
		if err := done(&r, fields, 2); err != nil {
			return nil, err
		}
		guests.Delete(account)
		contract.Emit("revoked", account[:])
	default:
		r.Fail(errUnknown) // unless it was malformed before
		return nil, r.Err()
	}
	return nil, nil
}

// readAccount reads an account's id.
func readAccount(r *cbor.Reader) contract.Hash {
	account, ok := contract.ParseHash(r.Text())
	if !ok {
		r.Fail(errNotAccount)
	}
	return account
}

// done ends a message that has to be an array of want items.
func done(r *cbor.Reader, items, want int) error {
	if items != want {
		r.Fail(cbor.ErrMalformed)
	}
	return r.Done()
}

// onQuery tells until when an account is invited, 0 if it is not. It changes
// nothing.
func onQuery(c *contract.Context) ([]byte, error) {
	r := c.Reader()
	account := readAccount(&r)
	if err := r.Done(); err != nil {
		return nil, err
	}
	until, _ := guests.Get(account)
	return cbor.AppendInt(nil, until), nil
}

// onDecide answers a device that asks "may I?". It runs on one gateway, with
// the gateway's clock, and changes nothing.
func onDecide(_ *contract.Context, q *contract.Question) (contract.Verdict, error) {
	account, ok := contract.ParseHash(q.Subject.ID)
	until, invited := guests.Get(account)
	if !ok || !invited {
		return contract.Deny(reasonNotInvited, "not-invited"), nil
	}
	now, trusted := contract.Now()
	switch {
	case !trusted:
		return contract.Deny(reasonNoClock, "no-clock"), nil
	case now >= until:
		return contract.Deny(reasonOver, "invitation-over"), nil
	}
	return contract.Permit(), nil
}
