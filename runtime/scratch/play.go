package scratch

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/runtime/wasm"
)

// Trial is what a script is played with.
type Trial struct {
	Name    string // of the contract under test
	Code    []byte // its Wasm
	Dir     string // where the files that a script names lie
	Engine  wasm.Engine
	Profile abi.Profile
}

// Report is what playing a script found.
type Report struct {
	Script string
	Steps  []StepReport
	// Entries tells, of each entry point of the contract under test that was
	// run, how often and with how much gas at most.
	Entries map[abi.Entry]EntryReport
}

// StepReport is one step: what came of it, and what should have and did not.
type StepReport struct {
	Line     int
	Text     string
	Outcome  string // in words
	Gas      uint64
	Trap     string   // code, function and text, where a contract failed
	Logs     []string // what contracts wrote to the debug log
	Failures []string // one for each expectation that does not hold
}

// EntryReport is one entry point.
type EntryReport struct {
	Calls  int
	MaxGas uint64
	Pages  int // of memory at most, 64 KiB each
}

// Failed says whether any expectation does not hold.
func (r *Report) Failed() bool {
	for i := range r.Steps {
		if len(r.Steps[i].Failures) > 0 {
			return true
		}
	}
	return false
}

// Play runs a script on a chain of its own, to its first step that fails. The
// error is a fault of chain or host, never of the contract.
func (t *Trial) Play(ctx context.Context, s *Script) (*Report, error) {
	p, err := t.play(ctx, s)
	if err != nil {
		return nil, err
	}
	return p.report, p.chain.Close()
}

// play is Play that leaves the chain open.
func (t *Trial) play(ctx context.Context, s *Script) (*player, error) {
	p := &player{trial: t, report: &Report{Script: s.Name, Entries: make(map[abi.Entry]EntryReport)}, code: t.Code}
	var err error
	p.chain, err = Open(ctx, Config{Engine: t.Engine, Profile: t.Profile, Trace: p.trace, Logger: slog.New(&p.logs)})
	if err != nil {
		return nil, err
	}
	for i := range s.steps {
		st := &s.steps[i]
		if err := p.step(ctx, st); err != nil {
			return nil, errors.Join(fmt.Errorf("%s:%d: %s: %w", s.Name, st.line, st.text, err), p.chain.Close())
		}
		if p.report.Failed() {
			break
		}
	}
	return p, nil
}

// player plays one script.
type player struct {
	trial  *Trial
	chain  *Chain
	report *Report
	code   []byte // of the contract under test now
	logs   contractLog
	trap   string // of the last call that trapped in this step
	abort  uint16 // the contract's own code, of the last call
	gas    uint64
}

// came is what came of a step.
type came struct {
	code        abi.Code
	abort       uint16
	verdict     string
	reason      uint64
	reasonID    string
	obligations []byte
	result      []byte
	events      []chain.Event
}

func (p *player) trace(call *wasm.Call, res *wasm.Result, err error) {
	p.abort = res.AbortCode
	if err != nil {
		p.trap = err.Error()
	}
	if call.Outer == nil {
		p.gas += res.GasUsed
	}
	if call.Code != codeHash(p.code) {
		return
	}
	e := p.report.Entries[call.Entry]
	e.Calls++
	e.MaxGas, e.Pages = max(e.MaxGas, res.GasUsed), max(e.Pages, res.Pages)
	p.report.Entries[call.Entry] = e
}

func (p *player) step(ctx context.Context, st *step) error {
	p.logs.lines, p.trap, p.gas = nil, "", 0
	r := StepReport{Line: st.line, Text: st.text}
	if st.verb == "state" {
		failure, err := p.state(st)
		if err != nil {
			return err
		}
		if r.Outcome = "ok"; failure != "" {
			r.Outcome, r.Failures = "differs", []string{failure}
		}
	} else {
		got, err := p.do(ctx, st)
		if err != nil {
			return err
		}
		r.Outcome, r.Failures = got.words(), st.want.compare(got, p.gas)
	}
	r.Gas, r.Trap, r.Logs = p.gas, p.trap, p.logs.lines
	p.report.Steps = append(p.report.Steps, r)
	return nil
}

// do runs a step that changes or asks.
func (p *player) do(ctx context.Context, st *step) (*came, error) {
	name := p.trial.Name
	if st.contract != "" {
		name = st.contract
	}
	switch st.verb {
	case "account":
		return cameOf(p.chain.Grant(ctx, st.who, st.roles))
	case "device":
		return cameOf(p.chain.Enrol(ctx, st.who, st.file, st.labels))
	case "deploy":
		out, err := p.chain.Deploy(ctx, Operator, name, p.code, st.value)
		return outcome(out), err
	case "with":
		code, err := p.read(st.file)
		if err != nil {
			return nil, err
		}
		out, err := p.chain.Deploy(ctx, Operator, name, code, st.value)
		return outcome(out), err
	case "upgrade":
		code, err := p.read(st.file)
		if err != nil {
			return nil, err
		}
		p.code = code
		out, err := p.chain.Upgrade(ctx, Operator, name, code, st.value)
		return outcome(out), err
	case "call":
		out, err := p.chain.Call(ctx, st.who, name, st.value)
		return outcome(out), err
	case "query":
		result, err := p.chain.Query(ctx, name, st.value)
		got, err := cameOf(err)
		if got != nil {
			got.result, got.abort = result, p.abort
		}
		return got, err
	case "decide":
		a, err := p.chain.Decide(ctx, st.who, name, st.value)
		return answer(&a), err
	}
	list, err := p.chain.Advance(ctx, st.wait)
	got := &came{}
	for i := range list {
		got.events = append(got.events, list[i].Events...)
		if list[i].Code != abi.OK {
			got.code, got.abort = list[i].Code, list[i].Abort
		}
	}
	return got, err
}

func (p *player) read(file string) ([]byte, error) {
	return os.ReadFile(filepath.Join(p.trial.Dir, file))
}

// cameOf tells a refusal, which may be what is expected, from a fault.
func cameOf(err error) (*came, error) {
	var code abi.Code
	if err == nil || errors.As(err, &code) {
		return &came{code: code}, nil
	}
	return nil, err
}

func outcome(o chain.Outcome) *came {
	return &came{code: o.Code, abort: o.Abort, result: o.Result, events: o.Events}
}

func answer(a *abi.Answer) *came {
	c := &came{code: a.Code, verdict: "deny", reason: a.Reason, reasonID: a.ReasonID, obligations: a.Obligations}
	if a.Permit {
		c.verdict = "permit"
	}
	return c
}

// words is what came of a step, for people.
func (c *came) words() string {
	s := c.code.Name()
	switch {
	case c.verdict == "permit":
		s = "permit"
	case c.verdict != "":
		s = "deny " + s
	case c.code == abi.CodeAborted:
		s += " " + strconv.Itoa(int(c.abort))
	}
	if c.reasonID != "" {
		s += ", reason " + c.reasonID
	}
	if len(c.result) > 0 {
		s += ", result " + Show(c.result)
	}
	return s
}

// compare lists what should hold and does not.
func (w *wants) compare(got *came, gas uint64) (failures []string) {
	fail := func(what string, want, have any) {
		failures = append(failures, fmt.Sprintf("%s: want %v, got %v", what, want, have))
	}
	switch {
	case w.verdict != got.verdict:
		fail("decision", w.verdict, got.words())
	case got.verdict == "" && got.code != w.code, w.said && got.code != w.code:
		fail("outcome", w.code.Name(), got.words())
	case w.abort != nil && *w.abort != got.abort:
		fail("outcome", fmt.Sprintf("aborted %d", *w.abort), got.words())
	}
	if w.reason != nil && *w.reason != got.reasonID && *w.reason != strconv.FormatUint(got.reason, 10) {
		fail("reason", *w.reason, fmt.Sprintf("%d %s", got.reason, got.reasonID))
	}
	if w.obligations != nil && !bytes.Equal(w.obligations, got.obligations) {
		fail("obligations", Show(w.obligations), Show(got.obligations))
	}
	if w.result != nil && !bytes.Equal(*w.result, got.result) {
		fail("result", Show(*w.result), Show(got.result))
	}
	if w.listed {
		if want, have := showEvents(w.events), showEvents(got.events); want != have {
			fail("events", want, have)
		}
	}
	if w.gas != 0 && gas >= w.gas {
		fail("gas", fmt.Sprintf("less than %d", w.gas), gas)
	}
	return failures
}

func (p *player) state(st *step) (failure string, err error) {
	name := p.trial.Name
	if st.contract != "" {
		name = st.contract
	}
	value, there, err := p.chain.Get(name, st.key)
	switch {
	case err != nil:
		return "", err
	case st.absent && there:
		return "state: want none, got " + Show(value), nil
	case !st.absent && !there:
		return "state: want " + Show(st.value) + ", got none", nil
	case !st.absent && !bytes.Equal(value, st.value):
		return "state: want " + Show(st.value) + ", got " + Show(value), nil
	}
	return "", nil
}

func showEvents(list []chain.Event) string {
	if len(list) == 0 {
		return "no events"
	}
	var words []string
	for _, e := range list {
		words = append(words, strings.TrimSpace(string(e.Topic)+" "+Show(e.Data)))
	}
	return strings.Join(words, "; ")
}

// Show is bytes as a script writes them: CBOR as JSON, others in hex.
func Show(b []byte) string {
	if len(b) == 0 {
		return "none"
	}
	if text, err := cbor.AppendAsJSON(nil, b); err == nil {
		return string(text)
	}
	return "hex:" + hex.EncodeToString(b)
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
