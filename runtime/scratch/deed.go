package scratch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/schema"
)

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
