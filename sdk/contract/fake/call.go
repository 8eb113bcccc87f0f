//go:build !wasm

package fake

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/sdk/contract/internal/host"
)

// Limits of the real host that package abi does not name.
const (
	maxScans = 8       // scans that a call may begin
	maxLog   = 4 << 10 // bytes of a log message; the rest is cut off
)

// call is a running entry point: the host.Host of what runs in it.
type call struct {
	contract *Contract
	entry    abi.Entry
	input    *abi.Input
	outer    *call // nil at the top level
	events   int   // of the chain, when the call at the top level began
	scans    []scan
}

// scan is the rest of a scan.
type scan []entry

type entry struct{ key, value string }

// run runs an entry point. Its error is nil or a *Failure.
func (c *Contract) run(e abi.Entry, in *abi.Input, outer *call) ([]byte, error) {
	enter := c.entries[e]
	if enter == nil {
		return nil, &Failure{Code: abi.CodeNoEntryPoint, Text: e.String()}
	}
	r := &call{contract: c, entry: e, input: in, outer: outer, events: len(c.chain.Events)}
	if outer != nil {
		r.events = outer.events
	}
	out, err := enter(r)
	if err == nil && len(out) > abi.MaxResult {
		err = &Failure{Code: abi.CodeResultTooLong}
	}
	if err != nil {
		return nil, err
	}
	return slices.Clone(out), nil
}

// natively is an entry point that runs a handler here.
func natively(handler func(input []byte) ([]byte, error)) func(r *call) ([]byte, error) {
	return func(r *call) (out []byte, err error) {
		on := host.Run
		if r.outer != nil {
			on = host.Nested
		}
		input := abi.AppendInput(nil, r.input)
		on(r, func() { out, err = caught(func() ([]byte, error) { return handler(input) }) })
		return out, err
	}
}

// caught runs a handler and makes a failure of whatever ends it.
func caught(f func() ([]byte, error)) (out []byte, err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case *Failure:
			err = p
		default:
			err = &Failure{Code: abi.CodeUnreachable, Text: fmt.Sprint("panic: ", p), Stack: debug.Stack()}
		}
	}()
	if out, err = f(); err != nil {
		return nil, failureOf(err)
	}
	return out, nil
}

// fail ends the call.
func fail(code abi.Code, text string) { panic(&Failure{Code: code, Text: text}) }

// need ends the call unless its entry point has the function.
func (r *call) need(f abi.HostFunc) {
	if !f.AllowedIn(r.entry) {
		fail(abi.CodeNotAllowedHere, abi.HostFuncs[f].Name+" in "+r.entry.String())
	}
}

func checkKey(key []byte) {
	if len(key) == 0 {
		fail(abi.CodeKeyTooLong, "a key is empty")
	}
	checkSize(len(key), abi.MaxKey, abi.CodeKeyTooLong)
}

func checkSize(n, limit int, code abi.Code) {
	if n > limit {
		fail(code, fmt.Sprintf("%d bytes, at most %d", n, limit))
	}
}

func (r *call) Get(key []byte) ([]byte, bool) {
	checkKey(key)
	v, ok := r.contract.state[string(key)]
	return []byte(v), ok
}

func (r *call) Set(key, value []byte) {
	r.need(abi.HostStateSet)
	checkKey(key)
	checkSize(len(value), abi.MaxValue, abi.CodeValueTooLong)
	r.contract.state[string(key)] = string(value)
}

func (r *call) Delete(key []byte) {
	r.need(abi.HostStateDelete)
	checkKey(key)
	delete(r.contract.state, string(key))
}

func (r *call) Scan(prefix, start []byte) int32 {
	checkSize(len(prefix), abi.MaxKey, abi.CodeKeyTooLong)
	checkSize(len(start), abi.MaxKey, abi.CodeKeyTooLong)
	if len(r.scans) == maxScans {
		fail(abi.CodeTooManyScans, "")
	}
	var s scan
	for _, k := range slices.Sorted(maps.Keys(r.contract.state)) {
		if strings.HasPrefix(k, string(prefix)) && k >= string(start) {
			s = append(s, entry{k, r.contract.state[k]})
		}
	}
	r.scans = append(r.scans, s)
	return int32(len(r.scans) - 1)
}

func (r *call) Next(scan int32) (key, value []byte, ok bool) {
	s := &r.scans[scan]
	if len(*s) == 0 {
		return nil, nil, false
	}
	first := (*s)[0]
	*s = (*s)[1:]
	return []byte(first.key), []byte(first.value), true
}

func (r *call) LocalGet() ([]byte, bool) {
	r.need(abi.HostLocalGet)
	record, ok := r.contract.local[*r.input.Caller]
	return []byte(record), ok
}

func (r *call) LocalSet(record []byte) {
	r.need(abi.HostLocalSet)
	checkSize(len(record), abi.MaxLocal, abi.CodeValueTooLong)
	r.contract.local[*r.input.Caller] = string(record)
}

func (r *call) Emit(topic string, data []byte) {
	r.need(abi.HostEmit)
	checkSize(len(topic), abi.MaxTopic, abi.CodeKeyTooLong)
	checkSize(len(data), abi.MaxEvent, abi.CodeValueTooLong)
	ch := r.contract.chain
	if len(ch.Events)-r.events == abi.MaxEvents {
		fail(abi.CodeTooManyEvents, "")
	}
	ch.Events = append(ch.Events, Event{r.contract.name, topic, slices.Clone(data)})
}

func (r *call) Call(name string, msg []byte) ([]byte, abi.Code) {
	r.need(abi.HostCall)
	before := r.contract.chain.snapshot()
	out, code := r.nested(abi.EntryExecute, name, msg)
	if code != abi.OK {
		r.contract.chain.restore(before)
	}
	return out, code
}

func (r *call) Query(name string, msg []byte) ([]byte, abi.Code) {
	return r.nested(abi.EntryQuery, name, msg)
}

// nested runs another contract within this one.
func (r *call) nested(e abi.Entry, name string, msg []byte) ([]byte, abi.Code) {
	if len(msg) > abi.MaxTransaction {
		return nil, abi.CodeTooLarge
	}
	depth := 0
	for outer := r; outer != nil; outer = outer.outer {
		if outer.contract.name == name {
			return nil, abi.CodeReentrant
		}
		depth++
	}
	c := r.contract.chain.contracts[name]
	if c == nil {
		return nil, abi.CodeUnknownContract
	}
	if depth > abi.MaxCallDepth {
		return nil, abi.CodeCallDepth
	}
	in := &abi.Input{
		Chain: r.input.Chain, Height: r.input.Height, Time: r.input.Time, Contract: name, Owner: c.owner,
		Caller: r.input.Caller, Transaction: r.input.Transaction, ParentContract: r.contract.name, Message: slices.Clone(msg),
	}
	out, err := c.run(e, in, r)
	return out, codeOf(err)
}

func (r *call) Device(id *abi.Hash) ([]byte, bool) {
	d, ok := r.contract.chain.devices[*id]
	if !ok {
		return nil, false
	}
	return d.record(), true
}

func (r *call) SetDeviceStatus(id *abi.Hash, status abi.Status, reason string) abi.Code {
	r.need(abi.HostDeviceSetStatus)
	checkSize(len(reason), abi.MaxAbortText, abi.CodeValueTooLong)
	if status < abi.StatusActive || status > abi.StatusRetired {
		return abi.CodeBadStatus
	}
	return r.contract.chain.setStatus(r.contract.owner, *id, status, reason)
}

func plainText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

func (r *call) Schedule(due int64, msg []byte) uint64 {
	r.need(abi.HostSchedule)
	checkSize(len(msg), abi.MaxValue, abi.CodeValueTooLong)
	number, code := r.contract.chain.schedule(r.contract.name, due, msg)
	if code != abi.OK {
		fail(code, "")
	}
	return number
}

func (r *call) Now() int64 {
	r.need(abi.HostNow)
	ch := r.contract.chain
	if ch.Untrusted {
		return -1
	}
	return ch.Time + max(ch.Clock, 0)
}

func (r *call) SHA256(data []byte) abi.Hash { return sha256.Sum256(data) }

func (r *call) Verify(key, msg, sig []byte) bool { return verify(key, msg, sig) }

func (r *call) Log(text string) {
	ch := r.contract.chain
	ch.Logs = append(ch.Logs, strings.ToValidUTF8(text[:min(len(text), maxLog)], "\ufffd"))
}

func (r *call) Abort(code uint16, text string) { panic(aborted(code, text, nil)) }
