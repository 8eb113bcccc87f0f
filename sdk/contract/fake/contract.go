//go:build !wasm

package fake

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"maps"
	"slices"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/sdk/contract"
)

// Contract is a contract on a chain.
type Contract struct {
	chain   *Chain
	name    string
	owner   abi.Hash
	entries entries
	state   map[string]string
	local   map[abi.Hash]string // what the gateway keeps, by device
}

// Failure is why a call failed: the error of every call here. Its code is
// what the outcome on a ledger would say. errors.Is finds the code, and the
// error that the contract returned, in it.
type Failure struct {
	Code  abi.Code
	Abort uint16 // the contract's own code, where Code is abi.CodeAborted
	Text  string
	// Stack is where the contract panicked, nil when it did not. On a node a
	// panic ends the call with a code of the host (abi.CodeUnreachable or
	// abi.CodeExited).
	Stack []byte

	cause error
}

func (f *Failure) Error() string {
	s := f.Code.Name()
	if f.Text != "" {
		s += ": " + f.Text
	}
	if f.Stack != nil {
		s += "\n" + string(f.Stack)
	}
	return s
}

// Unwrap gives the code and the contract's own error.
func (f *Failure) Unwrap() []error {
	if f.cause == nil {
		return []error{f.Code}
	}
	return []error{f.Code, f.cause}
}

// Deploy puts a contract on the chain and runs its init, as the owner. A code
// without init takes no message.
func (ch *Chain) Deploy(name string, owner abi.Hash, code Code, message []byte) (*Contract, error) {
	return ch.deploy(name, owner, code.entries(), message)
}

func (ch *Chain) deploy(name string, owner abi.Hash, e entries, message []byte) (*Contract, error) {
	if !abi.ValidName(name) {
		return nil, &Failure{Code: abi.CodeBadArgument, Text: "not a contract's name: " + name}
	}
	if ch.contracts[name] != nil {
		return nil, &Failure{Code: abi.CodeContractExists}
	}
	c := &Contract{chain: ch, name: name, owner: owner, entries: e, state: map[string]string{}, local: map[abi.Hash]string{}}
	ch.contracts[name] = c
	if err := c.begin(abi.EntryInit, message); err != nil {
		delete(ch.contracts, name)
		return nil, err
	}
	return c, nil
}

// Upgrade gives the contract another code and runs its migrate, as the owner;
// if that fails, the contract goes on with the code that it has. A code
// without migrate takes no message.
func (c *Contract) Upgrade(code Code, message []byte) error {
	old := c.entries
	c.entries = code.entries()
	err := c.begin(abi.EntryMigrate, message)
	if err != nil {
		c.entries = old
	}
	return err
}

// begin runs init or migrate.
func (c *Contract) begin(e abi.Entry, message []byte) error {
	c.chain.block()
	if c.entries[e] == nil && len(message) == 0 {
		return nil
	}
	_, err := c.change(e, &abi.Input{Caller: &c.owner, Message: message})
	return err
}

// Execute runs the contract in a transaction of caller, in a block of its own.
func (c *Contract) Execute(caller abi.Hash, message []byte) ([]byte, error) {
	if len(message) > abi.MaxTransaction {
		return nil, &Failure{Code: abi.CodeTooLarge}
	}
	c.chain.block()
	id := abi.Hash(sha256.Sum256(binary.BigEndian.AppendUint64(caller[:], c.chain.Height)))
	return c.change(abi.EntryExecute, &abi.Input{Caller: &caller, Transaction: &id, Message: message})
}

// change runs an entry point that changes the chain; if it fails, nothing is
// changed.
func (c *Contract) change(e abi.Entry, in *abi.Input) ([]byte, error) {
	before := c.chain.snapshot()
	out, err := c.run(e, c.chain.input(c, in), nil)
	if err != nil {
		c.chain.restore(before)
	}
	return out, err
}

// Query asks the contract, as nobody.
func (c *Contract) Query(message []byte) ([]byte, error) {
	return c.run(abi.EntryQuery, c.chain.input(c, &abi.Input{Message: message}), nil)
}

// Search runs the search entry, as nobody.
func (c *Contract) Search(message []byte) ([]byte, error) {
	return c.run(abi.EntrySearch, c.chain.input(c, &abi.Input{Message: message}), nil)
}

// Decide asks the contract for a decision on behalf of caller. A question
// without a subject is about the caller, as a gateway completes it; one that
// is malformed does not reach the contract.
func (c *Contract) Decide(caller abi.Hash, q abi.DecisionRequest) (contract.Verdict, error) {
	if q.Subject == nil {
		q.Subject = c.chain.subject(caller)
	}
	in := abi.Input{Caller: &caller, Domain: abi.DefaultDomain, Message: abi.AppendDecisionRequest(nil, &q)}
	if _, err := abi.ParseDecisionRequest(in.Message); err != nil {
		return contract.Verdict{}, &Failure{Code: codeIn(err), Text: err.Error(), cause: err}
	}
	out, err := c.run(abi.EntryDecide, c.chain.input(c, &in), nil)
	if err != nil {
		return contract.Verdict{}, err
	}
	v, err := abi.ParseVerdict(out)
	if err != nil {
		return contract.Verdict{}, &Failure{Code: abi.CodeBadResult, Text: err.Error(), cause: err}
	}
	return v, nil
}

// Observe hands what a gateway saw of a device to the contract, encoded by
// abi.AppendObservation, with the record that the gateway keeps. An observation
// that fails leaves the record as it was.
func (c *Contract) Observe(device abi.Hash, observation []byte) ([]byte, error) {
	before := maps.Clone(c.local)
	out, err := c.run(abi.EntryObserve, c.chain.input(c, &abi.Input{Caller: &device, Message: observation}), nil)
	if err != nil {
		c.local = before
	}
	return out, err
}

// Evidence has execute judge an observation that the device signed; the caller
// is who submits it.
func (c *Contract) Evidence(caller, device abi.Hash, observation []byte) ([]byte, error) {
	c.chain.block()
	id := abi.Hash(sha256.Sum256(binary.BigEndian.AppendUint64(caller[:], c.chain.Height)))
	return c.change(abi.EntryExecute, &abi.Input{Caller: &caller, Transaction: &id, Evidence: &device, Message: observation})
}

// Local is the record that the gateway keeps of a device, nil when there is
// none.
func (c *Contract) Local(device abi.Hash) []byte {
	if record, ok := c.local[device]; ok {
		return []byte(record)
	}
	return nil
}

// Get is a value of the contract's state, nil when there is none.
func (c *Contract) Get(key string) []byte {
	if v, ok := c.state[key]; ok {
		return []byte(v)
	}
	return nil
}

// Keys are the keys of the contract's state, in order.
func (c *Contract) Keys() []string { return slices.Sorted(maps.Keys(c.state)) }

// failureOf is an error of a handler as a failure.
func failureOf(err error) *Failure {
	r := contract.RefusalOf(err)
	return aborted(r.Code, r.Text, err)
}

func aborted(code uint16, text string, cause error) *Failure {
	return &Failure{Code: abi.CodeAborted, Abort: code, Text: text[:min(len(text), abi.MaxAbortText)], cause: cause}
}

// codeIn is the code that an error of package abi wraps.
func codeIn(err error) abi.Code {
	code, _ := errors.AsType[abi.Code](err)
	return code
}

// codeOf is the code that a nested call's failure gives its caller.
func codeOf(err error) abi.Code {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f.Code
	}
	return abi.OK
}
