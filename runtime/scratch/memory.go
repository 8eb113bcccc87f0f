package scratch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/runtime/ledger"
	"github.com/seed79541315/postern/runtime/wasm"
)

// memory is the world of one script: a chain of its own, whose clock stands
// still but for wait.
type memory struct {
	chain   *Chain
	code    []byte // of the contract under test now
	subject string // its name
	entries map[abi.Entry]EntryReport
	logs    contractLog
	trap    string // of the last call that trapped in this step
	abort   uint16 // the contract's own code, of the last call
	gas     uint64
	records map[record][]byte
}

// record names what a gateway keeps of a device for a contract.
type record struct {
	device   abi.Hash
	contract string
}

// openMemory makes the world that a trial is played on.
func openMemory(ctx context.Context, t *Trial) (*memory, error) {
	m := &memory{code: t.Code, subject: t.Name, entries: make(map[abi.Entry]EntryReport), records: make(map[record][]byte)}
	var err error
	m.chain, err = Open(ctx, Config{Engine: t.Engine, Profile: t.Profile, Trace: m.trace, Logger: slog.New(&m.logs)})
	return m, err
}

func (m *memory) trace(call *wasm.Call, res *wasm.Result, err error) {
	m.abort = res.AbortCode
	if err != nil {
		m.trap = err.Error()
	}
	if call.Outer == nil {
		m.gas += res.GasUsed
	}
	if call.Code != codeHash(m.code) {
		return
	}
	e := m.entries[call.Entry]
	e.Calls++
	e.MaxGas, e.Pages = max(e.MaxGas, res.GasUsed), max(e.Pages, res.Pages)
	m.entries[call.Entry] = e
}

// began forgets what the step before left.
func (m *memory) began() { m.logs.lines, m.trap, m.gas, m.abort = nil, "", 0, 0 }

// ended adds to what came what was seen of it.
func (m *memory) ended(c *Came, err error) (*Came, error) {
	if c != nil {
		c.Gas, c.Trap, c.Logs = m.gas, m.trap, m.logs.lines
	}
	return c, err
}

func (m *memory) Chain() abi.Hash { return m.chain.ledger.ChainID() }

func (m *memory) Now() int64 { return m.chain.now }

func (m *memory) Key(name string) (chain.Signer, error) { return keyOf(name), nil }

func (m *memory) File(name string) (string, error) {
	return "", fmt.Errorf("%s has no key file: commands need a node, see postern scenario", name)
}

func (m *memory) Unique(name string) string { return name }

func (m *memory) Transact(ctx context.Context, who string, op chain.Op, args Args) (*Came, error) {
	m.began()
	out, err := m.chain.transact(ctx, who, op, args)
	return m.ended(outcome(out), err)
}

func (m *memory) Deploy(ctx context.Context, name string, code, init []byte) (*Came, error) {
	m.began()
	out, err := m.chain.Deploy(ctx, Operator, name, code, init)
	return m.ended(outcome(out), err)
}

func (m *memory) Upgrade(ctx context.Context, name string, code, migrate []byte) (*Came, error) {
	m.began()
	if name == m.subject {
		m.code = code
	}
	out, err := m.chain.Upgrade(ctx, Operator, name, code, migrate)
	return m.ended(outcome(out), err)
}

func (m *memory) Query(ctx context.Context, name string, message []byte) (*Came, error) {
	m.began()
	result, err := m.chain.Query(ctx, name, message)
	got, err := cameOf(err)
	if got != nil {
		got.Result, got.Abort = result, m.abort
	}
	return m.ended(got, err)
}

func (m *memory) Decide(ctx context.Context, who, name string, q *abi.DecisionRequest) (*Came, error) {
	m.began()
	a, err := m.chain.Decide(ctx, who, name, abi.AppendDecisionRequest(nil, q))
	return m.ended(CameOf(&a), err)
}

func (m *memory) Report(ctx context.Context, s *Sight) (*Came, error) {
	m.began()
	device := ID(s.Device)
	if s.Signed {
		return m.evidence(ctx, s)
	}
	o := &abi.Observation{Kind: s.Kind, Device: device, Time: m.chain.now, Payload: s.Payload}
	judged, err := m.chain.ledger.Observe(ctx, &ledger.Watch{
		Observation: o, Encoded: abi.AppendObservation(nil, o),
		Local: func(contract string) ([]byte, bool) { b, ok := m.records[record{device, contract}]; return b, ok },
	})
	for _, opinion := range judged.Opinions {
		if opinion.Written {
			m.records[record{device, opinion.Contract}] = opinion.Local
		}
	}
	got, err := cameOf(err)
	if got != nil && got.Code == abi.OK {
		j := judged.Joined
		got = &Came{Level: j.Level.String(), Reason: j.Reason, ReasonID: j.ReasonID}
	}
	return m.ended(got, err)
}

// evidence has the contracts that are bound to a device judge in a transaction
// what it signed, as a gateway does that finds it suspect.
func (m *memory) evidence(ctx context.Context, s *Sight) (*Came, error) {
	d, err := m.chain.ledger.Device(ID(s.Device))
	if err != nil {
		return cameOf(err)
	}
	body := chain.Report{Time: m.chain.now, Kind: s.Kind, Payload: s.Payload}
	statement, err := chain.SignStatement(&chain.Statement{
		Chain: m.Chain(), Kind: chain.StatementReport, Expiry: m.chain.now + time.Hour.Milliseconds(), Body: body.Append(nil),
	}, keyOf(s.Device))
	if err != nil {
		return nil, err
	}
	got := &Came{}
	for _, contract := range d.Contracts {
		out, err := m.chain.transact(ctx, gateway, chain.OpEvidence, &chain.Evidence{Device: ID(s.Device), Contract: contract, Statement: statement})
		if err != nil {
			return nil, err
		}
		got = outcome(out)
	}
	return m.ended(got, nil)
}

func (m *memory) Await(_ context.Context, key []byte, _ func([]byte, bool) bool) (value []byte, ok bool, err error) {
	m.began()
	return m.chain.entry(key)
}

func (m *memory) Wait(ctx context.Context, ms int64) (*Came, error) {
	m.began()
	list, err := m.chain.Advance(ctx, time.Duration(ms)*time.Millisecond)
	got := &Came{}
	for i := range list {
		got.Events = append(got.Events, list[i].Events...)
		if list[i].Code != abi.OK {
			got.Code, got.Abort = list[i].Code, list[i].Abort
		}
	}
	return m.ended(got, err)
}

func (m *memory) At(node int) error {
	if node == 1 {
		return nil
	}
	return fmt.Errorf("there is no node %d: a chain in memory has one", node)
}

func (m *memory) Write(string, string) error { return errNoCommands }

func (m *memory) Run(context.Context, []string) (*Came, error) {
	return nil, errNoCommands
}

var errNoCommands = errors.New("commands need a node: play the script with postern scenario run")

// cameOf tells a refusal, which may be what is expected, from a fault.
func cameOf(err error) (*Came, error) {
	var code abi.Code
	if err == nil || errors.As(err, &code) {
		return &Came{Code: code}, nil
	}
	return nil, err
}

func outcome(o chain.Outcome) *Came {
	return &Came{Code: o.Code, Abort: o.Abort, Result: o.Result, Events: o.Events}
}

// CameOf is what comes of a decision.
func CameOf(a *abi.Answer) *Came {
	c := &Came{Code: a.Code, Verdict: "deny", Reason: a.Reason, ReasonID: a.ReasonID, Obligations: a.Obligations, Record: a.Record}
	if a.Permit {
		c.Verdict = "permit"
	}
	return c
}

// contractLog is a slog.Handler that keeps what contracts say.
type contractLog struct{ lines []string }

func (*contractLog) Enabled(context.Context, slog.Level) bool { return true }

func (l *contractLog) WithAttrs([]slog.Attr) slog.Handler { return l }

func (l *contractLog) WithGroup(string) slog.Handler { return l }

func (l *contractLog) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "says" {
			l.lines = append(l.lines, a.Value.String())
		}
		return true
	})
	return nil
}
