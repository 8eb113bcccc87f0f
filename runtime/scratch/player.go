package scratch

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/schema"
)

// Player plays a script on a world.
type Player struct {
	World World
	// Contract names the contract under test; Code and Schema are what deploy
	// makes of it. All are empty for a script that deploys by name only.
	Contract string
	Code     []byte
	Schema   []byte // JSON, nil where there is none
	// Read reads a file that the script names.
	Read func(file string) ([]byte, error)
	// Standard finds a contract by its name alone; nil where there are none.
	Standard func(name string) (code, schema []byte, ok bool)
	// Resolve reads a SenML pack in JSON into the payload of an observation, at a
	// time in ms; nil where reports of telemetry are not understood.
	Resolve func(pack []byte, now int64) (payload []byte, err error)
	// Done, if not nil, is told of each step.
	Done func(*StepReport)

	schemas map[string]*schema.Schema // by the contract's name in the script
	vars    map[string]string
	owners  map[string]string // of devices
	people  []string
}

// Play plays a script to its first step that fails, which the report tells. The
// error is a fault of the world, or a step that cannot be understood.
func (p *Player) Play(ctx context.Context, s *Script) (*Report, error) {
	p.schemas, p.vars, p.owners = map[string]*schema.Schema{}, map[string]string{}, map[string]string{}
	p.people = []string{Operator}
	if p.Schema != nil {
		parsed, err := schema.Parse(p.Schema)
		if err != nil {
			return nil, err
		}
		p.schemas[p.Contract] = parsed
	}
	r := &Report{Script: s.Name}
	for i := range s.steps {
		step, err := p.step(ctx, &s.steps[i])
		if err != nil {
			return r, fmt.Errorf("%s:%d: %s: %w", s.Name, s.steps[i].line, s.steps[i].text, err)
		}
		r.Steps = append(r.Steps, *step)
		if p.Done != nil {
			p.Done(step)
		}
		if len(step.Failures) > 0 {
			break
		}
	}
	return r, nil
}

// step plays one step and compares what came.
func (p *Player) step(ctx context.Context, src *source) (*StepReport, error) {
	began := time.Now()
	st, err := p.parse(src)
	if err != nil {
		return nil, err
	}
	d, err := p.do(ctx, st)
	if err != nil {
		return nil, err
	}
	r := d.report(p, st)
	r.Line, r.Text = src.line, src.text
	w, err := p.wants(src)
	if err != nil {
		return nil, err
	}
	r.Failures = w.compare(d)
	r.Expected = w.fails || w.said && d.came.Code != abi.OK || w.verdict == "deny"
	if len(r.Failures) == 0 {
		if err := p.save(w.saves, d); err != nil {
			r.Failures = []string{err.Error()}
		}
	}
	r.Took = time.Since(began)
	return r, nil
}

func (p *Player) parse(src *source) (*step, error) {
	text, err := expand(src.text, p.reference)
	if err != nil {
		return nil, err
	}
	st, err := parseStep(text)
	if err == nil && st.verb == "run" {
		err = p.words(st, src.text)
	}
	return st, err
}

// words are those of a command as the script has them: what a reference stands
// for is one word or a part of one, whatever it holds.
func (p *Player) words(st *step, text string) error {
	_, rest := cut(text)
	list, err := fields(rest)
	for i := 0; i < len(list) && err == nil; i++ {
		list[i], err = expand(list[i], p.reference)
	}
	st.args = list
	return err
}

func (p *Player) wants(src *source) (*wants, error) {
	w := new(wants)
	for _, line := range src.wants {
		text, err := expand(line, p.reference)
		if err == nil {
			err = w.add(text)
		}
		if err != nil {
			return nil, err
		}
	}
	return w, nil
}

// contract is the name of a contract that may be left out.
func (p *Player) contract(name string) string {
	if name == "" {
		return p.Contract
	}
	return name
}

// speech is how a contract is spoken to at the moment.
func (p *Player) speech(contract string) speech {
	return speech{p.schemas[contract], time.UnixMilli(p.World.Now()).UTC()}
}

// done is what came of a step, and how to read it.
type done struct {
	came     *Came
	speech   speech
	returned *schema.Type
	message  string // of a call or query, in the schema's words
	events   func(*chain.Event) speech
	contract func(*chain.Event) string
}

func (p *Player) do(ctx context.Context, st *step) (d *done, err error) {
	name := p.contract(st.contract)
	d = &done{speech: p.speech(name), events: p.teller, contract: p.named}
	switch st.verb {
	case "say":
		d.came = &Came{}
	case "call", "query":
		err = p.message(ctx, st, name, d)
	case "deploy", "with", "upgrade":
		d.came, err = p.deploy(ctx, st, name)
		d.speech = p.speech(name)
	case "let", "sign", "hash":
		d.came, err = &Came{}, p.name(st, d.speech)
	case "decide":
		err = p.decide(ctx, st, name, d)
	case "report":
		d.came, err = p.report(ctx, st)
	case "state":
		d.came, err = p.state(ctx, st, name, d.speech)
	case "status":
		d.came, err = p.status(ctx, st)
	case "at":
		d.came, err = &Came{}, p.World.At(st.number)
	case "wait":
		d.came, err = p.World.Wait(ctx, st.wait.Milliseconds())
	case "write":
		d.came, err = &Came{}, p.World.Write(st.file, st.value)
	case "run":
		d.came, err = p.World.Run(ctx, st.args)
	default:
		d.came, err = p.person(ctx, st)
	}
	return d, err
}

// save names parts of what came.
func (p *Player) save(list []save, d *done) error {
	for _, s := range list {
		value, err := d.part(s.topic, s.path)
		if err != nil {
			return fmt.Errorf("save %s: %w", s.name, err)
		}
		text, ok := value.(string)
		if ok && strings.ContainsFunc(text, misread) {
			return fmt.Errorf("save %s: %q holds what a line would misread", s.name, text)
		}
		p.vars[s.name] = plain(value)
	}
	return nil
}

// misread says whether a character in what a contract returned could end the
// text that a script puts it into.
func misread(c rune) bool { return c < ' ' || c == '"' || c == '\\' || c == '\'' }

// named is what the script calls the contract of an event.
func (p *Player) named(e *chain.Event) string {
	for name := range p.schemas {
		if p.World.Unique(name) == e.Contract {
			return name
		}
	}
	return e.Contract
}

// teller is how the contract of an event speaks.
func (p *Player) teller(e *chain.Event) speech { return p.speech(p.named(e)) }
