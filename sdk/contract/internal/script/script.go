// Package script is a contract that does what its message says, step by step:
// the test of the SDK, of package fake and of the real host against each
// other. The Wasm built from it stays as a fixture that must always run.
//
// A message is an array of steps, a step an array [operation, argument …].
// The output is an array with what each step returned.
package script

import (
	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/sdk/contract"
)

// The operations, with their arguments and what they return. null stands for
// nothing returned or nothing found, minus the code for an error.
const (
	Get       = 1  // key: value (bytes)
	Set       = 2  // key, value
	Delete    = 3  // key
	Scan      = 4  // prefix, start, limit: [[key, value] …]
	Emit      = 5  // topic (text), data
	Call      = 6  // contract (text), message: result
	Query     = 7  // contract (text), message: result
	Device    = 8  // id: [owner, manufacturer, model, serial, status, label "floor"]
	SetStatus = 9  // id, status, reason (text): 0
	Schedule  = 10 // due, message: number
	Now       = 11 // ms, or -1
	LocalGet  = 12 // record
	LocalSet  = 13 // record
	SHA256    = 14 // data: digest
	Verify    = 15 // key, message, signature: bool
	Log       = 16 // text
	Abort     = 17 // code, text
	Refuse    = 18 // code, text
	Panic     = 19 // text
	Index     = 20 // n: reads beyond the end of a slice
	Recurse   = 21 // n: calls itself n times
	Context   = 22 // all fields of the context
	Tally     = 23 // name (text), number: adds, and lists [[name, sum] …]
	Bytes     = 24 // n: that many zero bytes
	Garbage   = 25 // n: allocates n times 1 KiB
	Fail      = 26 // code: returns an error that wraps this code of the host
	Has       = 27 // key: bool
	Pairs     = 28 // first (text), second (int): adds, and lists the seconds of first
)

// Run runs a script: the handler of every entry point but decide.
func Run(c *contract.Context) ([]byte, error) { return steps(c, c.Message) }

// Decide runs the script in the context's "script" and permits; the output is
// the verdict's only obligation.
func Decide(c *contract.Context, q *contract.Question) (contract.Verdict, error) {
	r, ok := contract.Lookup(q.Context, "script")
	if !ok {
		return contract.Deny(1, "no-script"), nil
	}
	out, err := steps(c, r.Bytes())
	if err != nil {
		return contract.Verdict{}, err
	}
	v := contract.Permit()
	v.ReasonID = q.Subject.Type + " " + q.Action.Name + " " + q.Resource.ID
	v.Obligations = cbor.AppendBytes(cbor.AppendArray(nil, 1), out)
	return v, nil
}

func steps(c *contract.Context, message []byte) ([]byte, error) {
	r := cbor.NewReader(message)
	n := r.Array()
	out := cbor.AppendArray(nil, n)
	for ; n > 0; n-- {
		items := r.Array()
		op := r.Uint()
		if items == 0 || r.Err() != nil {
			break
		}
		var err error
		if out, err = step(c, out, op, &r); err != nil {
			return nil, err
		}
	}
	return out, r.Done()
}

// step runs one step and appends what it returned.
func step(c *contract.Context, out []byte, op uint64, r *cbor.Reader) ([]byte, error) {
	switch op {
	case Get, Set, Delete, Has, Scan, LocalGet, LocalSet:
		return state(out, op, r), nil
	case Call, Query, Device, SetStatus, Schedule:
		return others(out, op, r), nil
	case Abort, Refuse, Panic, Index, Recurse, Garbage, Fail:
		return ends(out, op, r)
	case Tally, Pairs:
		return typed(out, op, r), nil
	case Emit:
		contract.Emit(r.Text(), r.Bytes())
	case Log:
		contract.Log(r.Text())
	case Now:
		ms, _ := contract.Now()
		return cbor.AppendInt(out, ms), nil
	case SHA256:
		h := contract.SHA256(r.Bytes())
		return cbor.AppendBytes(out, h[:]), nil
	case Verify:
		return cbor.AppendBool(out, contract.Verify(r.Bytes(), r.Bytes(), r.Bytes())), nil
	case Context:
		return appendContext(out, c), nil
	case Bytes:
		return cbor.AppendBytes(out, make([]byte, r.Uint())), nil
	default:
		return nil, abi.CodeUnknownOp
	}
	return cbor.AppendNull(out), nil
}

func state(out []byte, op uint64, r *cbor.Reader) []byte {
	switch op {
	case Get:
		return appendFound(contract.Get(r.Bytes()))(out)
	case Has:
		return cbor.AppendBool(out, contract.Has(r.Bytes()))
	case LocalGet:
		return appendFound(contract.LocalGet())(out)
	case Scan:
		return scan(out, r.Bytes(), r.Bytes(), r.Uint())
	case Set:
		contract.Set(r.Bytes(), r.Bytes())
	case Delete:
		contract.Delete(r.Bytes())
	case LocalSet:
		contract.LocalSet(r.Bytes())
	}
	return cbor.AppendNull(out)
}

func appendFound(v []byte, ok bool) func([]byte) []byte {
	return func(out []byte) []byte {
		if !ok {
			return cbor.AppendNull(out)
		}
		return cbor.AppendBytes(out, v)
	}
}

func scan(out, prefix, start []byte, limit uint64) []byte {
	n, list := uint64(0), []byte(nil)
	for k, v := range contract.Scan(prefix, start) {
		if n == limit {
			break
		}
		n++
		list = cbor.AppendBytes(cbor.AppendBytes(cbor.AppendArray(list, 2), k), v)
	}
	return append(cbor.AppendArray(out, int(n)), list...)
}

func others(out []byte, op uint64, r *cbor.Reader) []byte {
	switch op {
	case Call:
		return appendResult(contract.Call(r.Text(), r.Bytes()))(out)
	case Query:
		return appendResult(contract.Query(r.Text(), r.Bytes()))(out)
	case Device:
		return device(out, contract.ReadHash(r))
	case SetStatus:
		err := contract.SetDeviceStatus(contract.ReadHash(r), abi.Status(r.Uint()), r.Text())
		return cbor.AppendInt(out, number(err))
	}
	return cbor.AppendUint(out, contract.Schedule(r.Int(), r.Bytes()))
}

func appendResult(v []byte, err error) func([]byte) []byte {
	return func(out []byte) []byte {
		if err != nil {
			return cbor.AppendInt(out, number(err))
		}
		return cbor.AppendBytes(out, v)
	}
}

// number is minus the code of an error, 0 for none.
func number(err error) int64 {
	code, _ := err.(abi.Code)
	return -int64(code)
}

func device(out []byte, id contract.Hash) []byte {
	d, ok := contract.DeviceOf(id)
	if !ok {
		return cbor.AppendNull(out)
	}
	return appendDevice(out, &d)
}

func appendDevice(out []byte, d *contract.Device) []byte {
	floor, _ := d.Label("floor")
	out = cbor.AppendBytes(cbor.AppendArray(out, 6), d.Owner[:])
	out = cbor.AppendText(cbor.AppendText(cbor.AppendText(out, d.Manufacturer), d.Model), d.Serial)
	return cbor.AppendText(cbor.AppendUint(out, uint64(d.Status)), floor)
}

func ends(out []byte, op uint64, r *cbor.Reader) ([]byte, error) {
	switch op {
	case Abort:
		contract.Abort(uint16(r.Uint()), r.Text())
	case Refuse:
		return nil, contract.Refuse(uint16(r.Uint()), r.Text())
	case Fail:
		return nil, abi.Code(r.Uint())
	case Panic:
		panic(r.Text())
	case Index:
		out = cbor.AppendUint(out, uint64(out[r.Uint()]))
	case Recurse:
		out = cbor.AppendUint(out, recurse(r.Uint()))
	case Garbage:
		out = cbor.AppendUint(out, garbage(r.Uint()))
	}
	return out, nil
}

func recurse(n uint64) uint64 {
	if n == 0 {
		return 0
	}
	return 1 + recurse(n-1)
}

// kept makes sure that garbage is allocated.
var kept []byte

func garbage(n uint64) (sum uint64) {
	for range n {
		kept = make([]byte, 1<<10)
		sum += uint64(len(kept))
	}
	return sum
}

var (
	tally = contract.NewMap("tally/", contract.TextKey, contract.Int64Value)
	total = contract.NewItem("total", contract.Int64Value)
	pairs = contract.NewIndex("pairs/", contract.TextKey, contract.Int64Key)
)

func typed(out []byte, op uint64, r *cbor.Reader) []byte {
	n, list := 0, []byte(nil)
	switch name, add := r.Text(), r.Int(); op {
	case Tally:
		sum, _ := tally.Get(name)
		tally.Set(name, sum+add)
		total.Set(total.GetOr(0) + add)
		for name, sum := range tally.All() {
			n++
			list = cbor.AppendInt(cbor.AppendText(cbor.AppendArray(list, 2), name), sum)
		}
	case Pairs:
		pairs.Add(name, add)
		for second := range pairs.Of(name) {
			n++
			list = cbor.AppendInt(list, second)
		}
	}
	return append(cbor.AppendArray(out, n), list...)
}

func appendContext(out []byte, c *contract.Context) []byte {
	out = cbor.AppendBytes(cbor.AppendArray(out, 11), c.Chain[:])
	out = cbor.AppendInt(cbor.AppendUint(out, c.Height), c.Time)
	out = cbor.AppendBytes(cbor.AppendText(out, c.Contract), c.Owner[:])
	out = appendHash(out, c.Caller)
	out = cbor.AppendText(cbor.AppendUint(out, uint64(c.Roles)), c.Parent)
	out = cbor.AppendText(appendHash(out, c.Transaction), c.Domain)
	if d, ok := c.CallerDevice(); ok {
		return appendDevice(out, &d)
	}
	return cbor.AppendNull(out)
}

func appendHash(out []byte, h *contract.Hash) []byte {
	if h == nil {
		return cbor.AppendNull(out)
	}
	return cbor.AppendBytes(out, h[:])
}
