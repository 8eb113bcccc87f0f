// Command locker lets accounts rent lockers for a time and decides who may
// open them. It shows records with owners, an index, events, timers, a
// decision with a follow-up, and the migration of state.
package main

import (
	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/sdk/contract"
)

//go:wasmexport init
func initialise(ptr, size uint32) uint64 { return contract.Enter(ptr, size, onInit) }

//go:wasmexport migrate
func migrate(ptr, size uint32) uint64 { return contract.Enter(ptr, size, onMigrate) }

//go:wasmexport execute
func execute(ptr, size uint32) uint64 { return contract.Enter(ptr, size, onExecute) }

//go:wasmexport timer
func timer(ptr, size uint32) uint64 { return contract.Enter(ptr, size, onTimer) }

//go:wasmexport query
func query(ptr, size uint32) uint64 { return contract.Enter(ptr, size, onQuery) }

//go:wasmexport decide
func decide(ptr, size uint32) uint64 { return contract.EnterDecide(ptr, size, onDecide) }

func main() {}

// Why the contract refuses.
var (
	errUnknownOp = contract.Refuse(2, "no such operation")
	errNotOwner  = contract.Refuse(3, "only the contract's owner may do this")
	errNoLocker  = contract.Refuse(4, "there is no such locker")
	errTaken     = contract.Refuse(5, "the locker is taken")
	errNotYours  = contract.Refuse(6, "the locker is not rented by the caller")
	errTooLong   = contract.Refuse(7, "nobody rents for that long")
	errNoAccount = contract.Refuse(8, "contracts rent no lockers")
)

// Why it denies.
const (
	reasonNotYours = 1
	reasonOver     = 2
	reasonNoClock  = 3
)

// rental is who has a locker, until when (ms since 1970), and how often it
// was opened. The zero rental is that of a free locker.
type rental struct {
	by     contract.Hash
	until  int64
	opened uint64
}

var rentalValue = contract.Codec[rental]{
	// [by (bytes 32), until (int), opened (uint)]
	Append: func(b []byte, v rental) []byte {
		b = cbor.AppendBytes(cbor.AppendArray(b, 3), v.by[:])
		return cbor.AppendUint(cbor.AppendInt(b, v.until), v.opened)
	},
	Read: func(r *cbor.Reader) rental {
		r.ArrayN(3)
		return rental{contract.ReadHash(r), r.Int(), r.Uint()}
	},
}

// The state.
var (
	longest = contract.NewItem("longest", contract.Int64Value) // rental, ms
	lockers = contract.NewMap("locker/", contract.TextKey, rentalValue)
	rented  = contract.NewIndex("rented/", contract.HashKey, contract.TextKey) // lockers by account
)

// onInit reads the longest rental in ms.
func onInit(c *contract.Context) ([]byte, error) {
	r := c.Reader()
	ms := r.Int()
	if err := r.Done(); err != nil {
		return nil, err
	}
	longest.Set(ms)
	return nil, nil
}

// onMigrate brings the state of a version without opening counts, which kept
// rentals as [by, until], to that of this version.
func onMigrate(*contract.Context) ([]byte, error) {
	old := contract.NewMap("locker/", contract.TextKey, contract.Codec[rental]{
		Read: func(r *cbor.Reader) rental {
			r.ArrayN(2)
			return rental{by: contract.ReadHash(r), until: r.Int()}
		},
	})
	for name, v := range old.All() {
		lockers.Set(name, v)
	}
	return nil, nil
}

// onExecute does what the message says, in JSON one of
//
//	["add", locker]       a new one; by the contract's owner
//	["rent", locker, ms]  a free one, for so long
//	["return", locker]    before its time
//	["opened", locker]    counts; by gateways, as the follow-up of a decision
func onExecute(c *contract.Context) ([]byte, error) {
	r := c.Reader()
	fields := r.Array()
	op, name, ms := r.Text(), r.Text(), int64(0)
	if fields == 3 {
		ms = r.Int()
	}
	if err := r.Done(); err != nil {
		return nil, err
	}
	switch {
	case op == "add" && fields == 2:
		return nil, add(c, name)
	case op == "rent" && fields == 3:
		return nil, rent(c, name, ms)
	case op == "return" && fields == 2:
		return nil, giveBack(c, name)
	case op == "opened" && fields == 2:
		return nil, opened(c, name)
	}
	return nil, errUnknownOp
}

func add(c *contract.Context, name string) error {
	if !c.FromOwner() {
		return errNotOwner
	}
	if lockers.Has(name) {
		return errTaken
	}
	lockers.Set(name, rental{})
	return nil
}

func rent(c *contract.Context, name string, ms int64) error {
	who, ok := c.Account()
	if !ok {
		return errNoAccount
	}
	v, ok := lockers.Get(name)
	if !ok {
		return errNoLocker
	}
	if v.until > c.Time {
		return errTaken
	}
	if ms <= 0 || ms > longest.GetOr(0) {
		return errTooLong
	}
	if v.until != 0 { // over, but its timer has yet to run
		free(name, v)
	}
	v = rental{by: who, until: c.Time + ms}
	lockers.Set(name, v)
	rented.Add(v.by, name)
	contract.Schedule(v.until, []byte(name))
	contract.Emit("rented", []byte(name))
	return nil
}

func giveBack(c *contract.Context, name string) error {
	v, ok := lockers.Get(name)
	if !ok {
		return errNoLocker
	}
	if !c.CallerIs(v.by) {
		return errNotYours
	}
	free(name, v)
	return nil
}

// free ends a rental.
func free(name string, v rental) {
	lockers.Set(name, rental{})
	rented.Remove(v.by, name)
	contract.Emit("free", []byte(name))
}

// opened counts. What arrives by follow-up comes from the gateway's account.
func opened(c *contract.Context, name string) error {
	if !c.FromOwner() && !c.HasRoles(abi.RoleGateway) {
		return errNotOwner
	}
	v, ok := lockers.Get(name)
	if !ok {
		return errNoLocker
	}
	v.opened++
	lockers.Set(name, v)
	return nil
}

// onTimer ends a rental whose time is over; the message is the locker. The
// locker may have been given back and rented anew since.
func onTimer(c *contract.Context) ([]byte, error) {
	name := string(c.Message)
	if v, ok := lockers.Get(name); ok && v.until != 0 && v.until <= c.Time {
		free(name, v)
	}
	return nil, nil
}

// onQuery lists an account's lockers as an array of texts; the message is the
// account (bytes 32).
func onQuery(c *contract.Context) ([]byte, error) {
	r := c.Reader()
	account := contract.ReadHash(&r)
	if err := r.Done(); err != nil {
		return nil, err
	}
	n, list := 0, []byte(nil)
	for name := range rented.Of(account) {
		n, list = n+1, cbor.AppendText(list, name)
	}
	return append(cbor.AppendArray(nil, n), list...), nil
}

// onDecide permits an account to open the lockers that it rents. Each opening
// is counted by a follow-up.
func onDecide(_ *contract.Context, q *contract.Question) (contract.Verdict, error) {
	v, ok := lockers.Get(q.Resource.ID)
	account, known := contract.ParseHash(q.Subject.ID)
	if !ok || !known || v.by != account || q.Action.Name != "open" || q.Resource.Type != "locker" {
		return contract.Deny(reasonNotYours, "not-yours"), nil
	}
	now, trusted := contract.Now()
	if !trusted {
		return contract.Deny(reasonNoClock, "no-clock"), nil
	}
	if now >= v.until {
		return contract.Deny(reasonOver, "rental-over"), nil
	}
	verdict := contract.Permit()
	verdict.FollowUp = cbor.AppendText(cbor.AppendText(cbor.AppendArray(nil, 2), "opened"), q.Resource.ID)
	return verdict, nil
}
