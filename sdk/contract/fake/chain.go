//go:build !wasm

// Package fake is a chain in memory for native tests of contracts: no node,
// no Wasm, no gas. It holds contracts to the limits and permissions of the
// real host, so that what passes here fails there for want of gas or memory
// only. What it cannot see is what a contract keeps in package variables
// between calls: on a node they are as they were after initialisation.
//
//	chain := fake.New()
//	alice := chain.Account("alice", 0)
//	counter, err := chain.Deploy("counter", alice, fake.Code{Execute: onExecute}, nil)
//	out, err := counter.Execute(alice, message)
//
// Every change is a block of its own: it raises the height by one and the
// time by a millisecond. A change that fails leaves no trace. Chains are for
// one goroutine; calls of all chains of a process run one after another.
package fake

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/sdk/contract"
)

// MaxTimers is how many timers a contract may have, as chains have it unless
// their parameters say otherwise.
const MaxTimers = 1024

// Genesis time of a chain, ms since 1970.
const genesisTime = 1_700_000_000_000

// Chain is a chain in memory. Its fields may be read and set between calls.
type Chain struct {
	ID     abi.Hash
	Height uint64 // of the last block
	Time   int64  // of the last block, ms since 1970

	// Clock is what the gateway's clock is ahead of Time, in ms, when it
	// decides or observes. Untrusted says that it is not synchronised.
	Clock     int64
	Untrusted bool

	Events []Event  // of all that succeeded
	Logs   []string // what contracts logged, failed calls included

	roles     map[abi.Hash]abi.Role
	devices   map[abi.Hash]Device
	contracts map[string]*Contract
	timers    []Timer // in the order in which they run
	numTimers uint64
}

// Event is an event that a contract emitted.
type Event struct {
	Contract, Topic string
	Data            []byte
}

// Timer is a timer that waits.
type Timer struct {
	Number   uint64
	Due      int64 // ms since 1970
	Contract string
	Message  []byte
}

// Device is a device's record on the chain.
type Device struct {
	Owner                       abi.Hash
	Manufacturer, Model, Serial string
	Status                      abi.Status // zero stands for active
	Labels                      map[string]string
	Reason                      string // of the status
}

// New makes a chain of height 1.
func New() *Chain {
	return &Chain{
		ID: sha256.Sum256([]byte("fake chain")), Height: 1, Time: genesisTime,
		roles: map[abi.Hash]abi.Role{}, devices: map[abi.Hash]Device{}, contracts: map[string]*Contract{},
	}
}

// Account is the account of a name, which has these roles from now on.
func (ch *Chain) Account(name string, roles abi.Role) abi.Hash {
	id := abi.Hash(sha256.Sum256([]byte("account " + name)))
	ch.roles[id] = roles
	return id
}

// Enrol is the account of a device; it puts the record on the chain, in place
// of one that is there.
func (ch *Chain) Enrol(name string, d Device) abi.Hash {
	id := ch.Account(name, 0)
	d.Status = max(d.Status, abi.StatusActive)
	ch.devices[id] = d
	return id
}

// Device is the record of a device; false when the account is none.
func (ch *Chain) Device(id abi.Hash) (Device, bool) {
	d, ok := ch.devices[id]
	return d, ok
}

// Timers are those that wait, in the order in which they will run.
func (ch *Chain) Timers() []Timer { return slices.Clone(ch.timers) }

// Advance lets ms pass, makes a block and runs the timers that are due in it.
// It returns the failures of those that failed; what such a timer did is
// undone, and the timer is gone.
func (ch *Chain) Advance(ms int64) (failures []error) {
	ch.block()
	ch.Time += ms - 1
	due := 0
	for due < len(ch.timers) && ch.timers[due].Due <= ch.Time {
		due++
	}
	now := ch.timers[:due]
	ch.timers = slices.Clone(ch.timers[due:])
	for _, t := range now {
		_, err := ch.contracts[t.Contract].change(abi.EntryTimer, &abi.Input{Message: t.Message})
		if err != nil {
			failures = append(failures, err)
		}
	}
	return failures
}

// block begins the next block.
func (ch *Chain) block() {
	ch.Height++
	ch.Time++
}

// schedule adds a timer of a contract, at the earliest for the next block.
func (ch *Chain) schedule(contract string, due int64, msg []byte) (uint64, abi.Code) {
	held := 0
	for _, t := range ch.timers {
		if t.Contract == contract {
			held++
		}
	}
	if held == MaxTimers {
		return 0, abi.CodeTooManyTimers
	}
	t := Timer{ch.numTimers, max(due, ch.Time+1), contract, slices.Clone(msg)}
	ch.numTimers++
	at, _ := slices.BinarySearchFunc(ch.timers, t, func(a, b Timer) int {
		return cmp.Or(cmp.Compare(a.Due, b.Due), cmp.Compare(a.Number, b.Number))
	})
	ch.timers = slices.Insert(ch.timers, at, t)
	return t.Number, abi.OK
}

// setStatus sets a device's status for a contract of owner.
func (ch *Chain) setStatus(owner, id abi.Hash, status abi.Status, reason string) abi.Code {
	d, ok := ch.devices[id]
	switch {
	case !plainText(reason):
		return abi.CodeBadArgument
	case !ok:
		return abi.CodeUnknownDevice
	case d.Owner != owner:
		return abi.CodeNotPermitted
	case d.Status == abi.StatusRetired || d.Status == abi.StatusStolen:
		return abi.CodeBadStatus
	case status < d.Status: // people release devices, with a reason
		return abi.CodeNotPermitted
	case status == d.Status:
		return abi.OK
	}
	d.Status, d.Reason = status, reason
	ch.devices[id] = d
	return abi.OK
}

// snapshot is what a failed change is set back to.
type snapshot struct {
	devices   map[abi.Hash]Device
	states    map[*Contract]map[string]string
	timers    []Timer
	numTimers uint64
	events    int
}

func (ch *Chain) snapshot() snapshot {
	s := snapshot{maps.Clone(ch.devices), map[*Contract]map[string]string{}, slices.Clone(ch.timers), ch.numTimers, len(ch.Events)}
	for _, c := range ch.contracts {
		s.states[c] = maps.Clone(c.state)
	}
	return s
}

func (ch *Chain) restore(s snapshot) {
	ch.devices, ch.timers, ch.numTimers, ch.Events = s.devices, s.timers, s.numTimers, ch.Events[:s.events]
	for c, state := range s.states {
		c.state = state
	}
}

// record encodes a device as the ledger does: see contract.ParseDevice.
func (d *Device) record() []byte {
	n := 6
	for _, present := range []bool{len(d.Labels) > 0, d.Reason != ""} {
		if present {
			n++
		}
	}
	b := cbor.AppendMap(nil, n+1)
	b = cbor.AppendBytes(cbor.AppendUint(b, 1), d.Owner[:])
	b = cbor.AppendText(cbor.AppendUint(b, 2), d.Manufacturer)
	b = cbor.AppendText(cbor.AppendUint(b, 3), d.Model)
	b = cbor.AppendText(cbor.AppendUint(b, 4), d.Serial)
	b = cbor.AppendUint(cbor.AppendUint(b, 5), uint64(d.Status))
	if len(d.Labels) > 0 {
		b = d.appendLabels(cbor.AppendUint(b, 6))
	}
	if d.Reason != "" {
		b = cbor.AppendText(cbor.AppendUint(b, 7), d.Reason)
	}
	b = cbor.AppendUint(cbor.AppendUint(b, 8), 1)
	return cbor.AppendUint(cbor.AppendUint(b, 10), 1)
}

// appendLabels appends the labels in core deterministic order: shorter keys
// first.
func (d *Device) appendLabels(b []byte) []byte {
	b = cbor.AppendMap(b, len(d.Labels))
	keys := slices.SortedFunc(maps.Keys(d.Labels), func(x, y string) int {
		return cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y))
	})
	for _, k := range keys {
		b = cbor.AppendText(cbor.AppendText(b, k), d.Labels[k])
	}
	return b
}

// subject is what a gateway says of a caller that asks for itself.
func (ch *Chain) subject(caller abi.Hash) *abi.Entity {
	d, ok := ch.devices[caller]
	if !ok {
		return &abi.Entity{Type: "account", ID: hex.EncodeToString(caller[:])}
	}
	p := cbor.AppendMap(nil, 4)
	p = cbor.AppendText(cbor.AppendText(p, "model"), d.Model)
	p = d.appendLabels(cbor.AppendText(p, "labels"))
	p = cbor.AppendText(cbor.AppendText(p, "serial"), d.Serial)
	p = cbor.AppendText(cbor.AppendText(p, "manufacturer"), d.Manufacturer)
	return &abi.Entity{Type: "device", ID: hex.EncodeToString(caller[:]), Properties: p}
}

// input is what the chain says to a contract of a call at the top level.
func (ch *Chain) input(c *Contract, in *abi.Input) *abi.Input {
	in.Chain, in.Height, in.Time, in.Contract, in.Owner = ch.ID, ch.Height, ch.Time, c.name, c.owner
	if in.Caller == nil {
		return in
	}
	in.Roles = ch.roles[*in.Caller]
	if d, ok := ch.devices[*in.Caller]; ok {
		in.Device = d.record()
	}
	return in
}

// Code is a contract's entry points, nil where it has none.
type Code struct {
	Init, Migrate, Execute, Timer contract.Handler
	Query, Search, Observe        contract.Handler
	Decide                        contract.DecideHandler
}

// entries are a contract's entry points as a call runs them, nil where it has
// none.
type entries [abi.EntryCount]func(r *call) ([]byte, error)

func (code *Code) entries() (e entries) {
	for entry, h := range map[abi.Entry]contract.Handler{
		abi.EntryInit: code.Init, abi.EntryMigrate: code.Migrate, abi.EntryExecute: code.Execute, abi.EntryTimer: code.Timer,
		abi.EntryQuery: code.Query, abi.EntrySearch: code.Search, abi.EntryObserve: code.Observe,
	} {
		if h != nil {
			e[entry] = natively(func(input []byte) ([]byte, error) { return contract.Run(input, h) })
		}
	}
	if code.Decide != nil {
		e[abi.EntryDecide] = natively(func(input []byte) ([]byte, error) { return contract.RunDecide(input, code.Decide) })
	}
	return e
}
