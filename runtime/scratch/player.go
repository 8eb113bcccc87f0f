package scratch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"strconv"
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
	// Begun and Done, if not nil, are told of each step.
	Begun func(line int, text string)
	Done  func(*StepReport)

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
	if p.Begun != nil {
		p.Begun(src.line, src.text)
	}
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
	return parseStep(text)
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

// reference is what stands for ${name}.
func (p *Player) reference(name string) (string, error) {
	if value, ok := p.vars[name]; ok {
		return value, nil
	}
	if rest, ok := strings.CutPrefix(name, "now"); ok && (rest == "" || rest[0] == '+' || rest[0] == '-') {
		return p.moment(rest)
	}
	if rest, ok := strings.CutPrefix(name, "hour"); ok && (rest == "" || rest[0] == '+' || rest[0] == '-') {
		return p.hour(rest)
	}
	if name == "chain" {
		id := p.World.Chain()
		return hex.EncodeToString(id[:]), nil
	}
	if contract, ok := strings.CutPrefix(name, "@"); ok {
		return p.World.Unique(p.contract(contract)), nil
	}
	who, what, _ := strings.Cut(name, ".")
	switch what {
	case "file":
		return p.World.File(who)
	case "serial":
		return p.World.Unique(who), nil
	}
	k, err := p.World.Key(who)
	if err != nil {
		return "", err
	}
	switch what {
	case "":
		id := chain.AccountID(k.Public())
		return hex.EncodeToString(id[:]), nil
	case "key":
		return hex.EncodeToString(k.Public()), nil
	}
	return "", fmt.Errorf("%q is nothing that a person has: key, file or serial", what)
}

// moment is a time in ms so long after the world's clock, or before it.
func (p *Player) moment(offset string) (string, error) {
	at, err := p.after(offset)
	return strconv.FormatInt(at.UnixMilli(), 10), err
}

// hour is the hour in UTC of a time so long after the world's clock, as policies
// write hours.
func (p *Player) hour(offset string) (string, error) {
	at, err := p.after(offset)
	return at.Format("15") + ":00", err
}

func (p *Player) after(offset string) (time.Time, error) {
	now := time.UnixMilli(p.World.Now()).UTC()
	if offset == "" {
		return now, nil
	}
	d, err := time.ParseDuration(offset)
	if err != nil {
		return now, fmt.Errorf("%q is no duration, such as 90s, 15m or 1h30m", offset)
	}
	return now.Add(d), nil
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

// person does what somebody wants done that no contract's schema has to do with.
func (p *Player) person(ctx context.Context, st *step) (*Came, error) {
	switch st.verb {
	case "account":
		k, err := p.World.Key(st.who)
		if err != nil {
			return nil, err
		}
		p.people = append(p.people, st.who)
		return p.World.Transact(ctx, Operator, chain.OpGrant, &chain.Grant{Key: k.Public(), Roles: st.roles})
	case "device":
		return p.enrol(ctx, st)
	}
	id, err := p.account(st.who)
	if err != nil {
		return nil, err
	}
	if st.verb == "set" {
		if id, err = p.account(st.name); err != nil {
			return nil, err
		}
		return p.World.Transact(ctx, st.who, chain.OpDeviceStatus, &chain.DeviceStatus{Device: id, Status: st.status, Reason: st.value})
	}
	bound := make([]string, len(st.others))
	for i, other := range st.others {
		bound[i] = p.World.Unique(p.contract(other))
	}
	return p.World.Transact(ctx, p.owners[st.who], chain.OpBindDevice, &chain.BindDevice{Device: id, Contracts: bound})
}

// account is the id of a person or device.
func (p *Player) account(name string) (abi.Hash, error) {
	k, err := p.World.Key(name)
	if err != nil {
		return abi.Hash{}, err
	}
	return chain.AccountID(k.Public()), nil
}

// consentLife is how long a device's word that it belongs to its owner is good
// for: it is used at once.
const consentLife = 5 * time.Minute

func (p *Player) enrol(ctx context.Context, st *step) (*Came, error) {
	owner, err := p.account(st.name)
	if err != nil {
		return nil, err
	}
	k, err := p.World.Key(st.who)
	if err != nil {
		return nil, err
	}
	p.owners[st.who] = st.name
	p.people = append(p.people, st.who)
	body := chain.Enrolment{Owner: owner, Manufacturer: "scratch", Model: "device", Serial: p.World.Unique(st.who)}
	statement, err := chain.SignStatement(&chain.Statement{
		Chain: p.World.Chain(), Kind: chain.StatementEnrol, Expiry: p.World.Now() + consentLife.Milliseconds(), Body: body.Append(nil),
	}, k)
	if err != nil {
		return nil, err
	}
	return p.World.Transact(ctx, st.name, chain.OpEnrol, &chain.Enrol{Statement: statement, Labels: st.labels})
}

func (p *Player) message(ctx context.Context, st *step, name string, d *done) error {
	encode, find := d.speech.call, (*schema.Schema).Called
	if st.verb == "query" {
		encode, find = d.speech.ask, (*schema.Schema).Asked
	}
	message, err := encode(st.value)
	if err != nil {
		return err
	}
	d.message = Show(message)
	if d.speech.schema != nil {
		if o := find(d.speech.schema, message); o != nil {
			d.returned = o.Result
			if text, err := o.JSON(message); err == nil {
				d.message = string(text)
			}
		}
	}
	if st.verb == "query" {
		d.came, err = p.World.Query(ctx, name, message)
		return err
	}
	d.came, err = p.World.Transact(ctx, st.who, chain.OpCall, &chain.Call{Contract: p.World.Unique(name), Message: message})
	return err
}

func (p *Player) decide(ctx context.Context, st *step, name string, d *done) error {
	q, err := parseRequest(st.value)
	if err != nil {
		return err
	}
	d.message = q.Action.Name + " " + q.Resource.Type + ":" + q.Resource.ID
	if q.Subject != nil {
		d.message = q.Subject.Type + ":" + q.Subject.ID + " " + d.message
	}
	d.came, err = p.World.Decide(ctx, st.who, name, q)
	return err
}

func (p *Player) deploy(ctx context.Context, st *step, name string) (*Came, error) {
	code := p.Code
	if st.verb != "deploy" {
		var document []byte
		var err error
		if code, document, err = p.find(st.file); err != nil {
			return nil, err
		}
		if p.schemas[name] == nil && document != nil {
			if p.schemas[name], err = schema.Parse(document); err != nil {
				return nil, err
			}
		}
	}
	message, err := p.speech(name).start(st.value)
	if err != nil {
		return nil, err
	}
	if st.verb != "upgrade" {
		return p.World.Deploy(ctx, name, code, message)
	}
	came, err := p.World.Upgrade(ctx, name, code, message)
	return came, err
}

// find finds a standard contract, or a module among the script's files with the
// schema that lies beside it in a folder of its own.
func (p *Player) find(file string) (code, document []byte, err error) {
	if p.Standard != nil {
		if code, document, ok := p.Standard(file); ok {
			return code, document, nil
		}
	}
	if p.Read == nil {
		return nil, nil, fmt.Errorf("there is no contract %s", file)
	}
	if code, err = p.Read(file); err != nil {
		return nil, nil, err
	}
	if dir := path.Dir(file); dir != "." {
		if text, err := p.Read(path.Join(dir, "schema.json")); err == nil {
			document = text
		}
	}
	return code, document, nil
}

// name gives a value a name: what let says, a signature, or a hash.
func (p *Player) name(st *step, s speech) error {
	if st.verb == "let" {
		p.vars[st.name] = st.value
		return nil
	}
	b, err := s.typed(st.value, st.typ)
	if err != nil {
		return err
	}
	if st.verb == "hash" {
		sum := sha256.Sum256(b)
		p.vars[st.name] = hex.EncodeToString(sum[:])
		return nil
	}
	k, err := p.World.Key(st.who)
	if err != nil {
		return err
	}
	signature, err := k.Sign(b)
	p.vars[st.name] = hex.EncodeToString(signature)
	return err
}

func (p *Player) report(ctx context.Context, st *step) (*Came, error) {
	s := &Sight{By: st.name, Device: st.who, Kind: st.kind, Signed: st.signed}
	var err error
	switch {
	case st.kind == abi.ObserveFlows:
		s.Payload, err = parseFlows(st.value)
	case p.Resolve == nil:
		err = errors.New("telemetry is not understood here, only flows are")
	default:
		s.Payload, err = p.Resolve([]byte(st.value), p.World.Now())
	}
	if err != nil {
		return nil, err
	}
	return p.World.Report(ctx, s)
}

func (p *Player) state(ctx context.Context, st *step, name string, s speech) (*Came, error) {
	right := func(value []byte, ok bool) bool {
		return ok != st.absent && (st.absent || s.matches(st.value, value, nil))
	}
	value, ok, err := p.World.Await(ctx, chain.StateKey(p.World.Unique(name), st.key), right)
	if err != nil || right(value, ok) {
		return &Came{}, err
	}
	want, have := st.value, "none"
	if st.absent {
		want = "none"
	}
	if ok {
		have = Show(value)
	}
	return &Came{differs: fmt.Sprintf("state: want %s, got %s", want, have)}, nil
}

func (p *Player) status(ctx context.Context, st *step) (*Came, error) {
	id, err := p.account(st.who)
	if err != nil {
		return nil, err
	}
	status := func(value []byte) abi.Status {
		d, _ := chain.ParseDevice(value) // none, or one of another version: no status
		return d.Status
	}
	value, _, err := p.World.Await(ctx, chain.DeviceKey(id), func(value []byte, ok bool) bool { return ok && status(value) == st.status })
	if err != nil || status(value) == st.status {
		return &Came{}, err
	}
	return &Came{differs: fmt.Sprintf("status: want %s, got %s", st.status, status(value))}, nil
}

// save names parts of what came.
func (p *Player) save(list []save, d *done) error {
	for _, s := range list {
		value, err := d.part(s.topic, s.path)
		if err != nil {
			return fmt.Errorf("save %s: %w", s.name, err)
		}
		p.vars[s.name] = plain(value)
	}
	return nil
}

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
