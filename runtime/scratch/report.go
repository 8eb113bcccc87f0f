package scratch

import (
	"encoding/hex"
	"regexp"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// Report is what playing a script found.
type Report struct {
	Script string
	Steps  []StepReport
	// Entries tells, of each entry point of the contract under test that was
	// run, how often and with how much gas at most; only a chain in memory knows.
	Entries map[abi.Entry]EntryReport
}

// StepReport is one step: what came of it, and what should have and did not.
type StepReport struct {
	Line     int
	Text     string
	Verb     string
	Who      string // person or device that acts, or that is told of
	Contract string // as the script calls it
	Message  string // of a call or query, with people's names for their ids
	Outcome  string // in words
	Expected bool   // a refusal that the script wants
	Code     abi.Code
	Abort    uint16
	// AbortName and About tell the contract's own code by its schema.
	AbortName, About string
	Result           string // with people's names for their ids
	Events           []EventReport
	Printed          string // by a command
	Gas              uint64
	Height           uint64
	Took             time.Duration
	Trap             string   // code, function and text, where a contract failed
	Logs             []string // what contracts wrote to the debug log
	Failures         []string // one for each expectation that does not hold
}

// EventReport is an event, its data in the contract's words.
type EventReport struct{ Contract, Topic, Data string }

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

func (d *done) report(p *Player, st *step) *StepReport {
	c := d.came
	code := d.speech.code(c.Abort)
	r := &StepReport{
		Verb: st.verb, Who: st.who, Contract: p.contract(st.contract), Message: p.withNames(d.message), Outcome: p.withNames(d.words()),
		Code: c.Code, Abort: c.Abort, Printed: p.withNames(c.Printed), Gas: c.Gas, Height: c.Height, Trap: c.Trap, Logs: c.Logs,
	}
	if c.Exit != 0 {
		r.Printed += p.withNames(c.Complained)
	}
	if c.Code == abi.CodeAborted {
		r.AbortName, r.About = code.Name, code.About
	}
	if len(c.Result) > 0 {
		r.Result = p.withNames(show(c.Result, d.returned))
	}
	for i := range c.Events {
		e := &c.Events[i]
		r.Events = append(r.Events, EventReport{d.contract(e), string(e.Topic), p.withNames(d.eventData(e))})
	}
	return r
}

var idText = regexp.MustCompile(`\b[0-9a-f]{64}\b`)

// withNames puts the names of people and devices in place of their ids.
func (p *Player) withNames(text string) string {
	return idText.ReplaceAllStringFunc(text, func(id string) string {
		for _, name := range p.people {
			if k, err := p.World.Key(name); err == nil && idOf(k) == id {
				return name
			}
		}
		return id
	})
}

func idOf(k chain.Signer) string {
	id := chain.AccountID(k.Public())
	return hex.EncodeToString(id[:])
}
