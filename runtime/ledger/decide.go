package ledger

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/runtime/wasm"
	"github.com/seed79541315/postern/storage"
)

// recordNumbers numbers decisions where no log does: the ms of the start above, a count below.
// They do not repeat over restarts unless a process makes more than a
// thousand million decisions a second, or its clock goes back and no block
// tells it so.
type recordNumbers struct{ last atomic.Uint64 }

func (n *recordNumbers) init(startMs int64) { n.last.Store(uint64(startMs) << 20) }

func (n *recordNumbers) next() uint64 { return n.last.Add(1) }

// decision is the scratch of one decision, kept for the next.
type decision struct {
	ledger  *Ledger
	view    *storage.View
	head    *tip
	env     env
	input   abi.Input
	account abi.Hash
	code    abi.Hash
	message []byte
	encoded []byte
	load    func() ([]byte, error) // d.loadCode, made once
}

func newDecision(l *Ledger) *decision {
	d := &decision{ledger: l}
	d.load = d.loadCode
	return d
}

func (d *decision) loadCode() ([]byte, error) { return loadCode(hot{d.view}, d.code) }

// Decide answers whether the caller may do what the request, an encoded
// abi.DecisionRequest, asks for. It never fails: whatever goes wrong is a
// denial with a code, and nothing but a contract's own verdict is a permit.
func (l *Ledger) Decide(ctx context.Context, caller abi.Caller, domain string, request []byte) abi.Answer {
	if domain == "" {
		domain = abi.DefaultDomain
	}
	a := abi.Answer{Staleness: l.cfg.Staleness()}
	var who asker
	if err := l.decide(ctx, &a, &who, caller, domain, request); err != nil {
		a.Permit, a.Code = false, l.denial(ctx, domain, err)
	}
	l.record(ctx, &a, &who, domain, request)
	l.counts.decision(&a)
	return a
}

// denial is the code of a decision that came to nothing.
func (l *Ledger) denial(ctx context.Context, domain string, err error) abi.Code {
	if code, ok := refusal(err); ok {
		return code
	}
	if ctx.Err() != nil {
		return abi.CodeTimeout
	}
	l.cfg.Logger.ErrorContext(ctx, "a decision failed", "domain", domain, "err", err)
	return abi.CodeInternal
}

func (l *Ledger) decide(ctx context.Context, a *abi.Answer, by *asker, who abi.Caller, domain string, request []byte) error {
	v, head, err := l.take()
	if err != nil {
		return err
	}
	defer v.Release()
	return l.decideIn(ctx, a, by, scene{v, head, hot{v}, l.cfg.Isolated}, who, domain, request)
}

// scene is the state that a decision is made in.
type scene struct {
	view     *storage.View
	head     *tip
	policy   reader              // what contracts read
	isolated func(abi.Hash) bool // which devices the gateway isolates
}

func (l *Ledger) decideIn(ctx context.Context, a *abi.Answer, by *asker, in scene, who abi.Caller, domain string, request []byte) error {
	v, head := in.view, in.head
	now, trusted := l.now(head)
	a.Height, a.Now, by.trusted = v.Height(), now, trusted
	c, err := l.identify(v, who)
	by.caller = c
	if err != nil {
		return err
	}
	if c.status != 0 && in.isolated(c.account) {
		return abi.CodeDeviceInactive
	}
	q, err := admitRequest(c, request)
	if err != nil {
		return err
	}
	if err := l.admitSubject(in, c, &q); err != nil {
		return err
	}
	p, err := l.policyOf(v, domain)
	if err != nil {
		return err
	}
	a.Contract, a.CodeHash = p.contract, p.code
	if p.refused != abi.OK {
		return p.refused
	}
	d := l.scratch.Get().(*decision)
	defer d.done()
	d.view, d.head = v, head
	d.env = env{ledger: l, read: in.policy, contract: p.contract, now: now, trusted: trusted, key: d.env.key}
	return d.run(ctx, a, c, p, &q)
}

// identify finds the caller and refuses one that may not ask; one that is
// known comes with the refusal.
func (l *Ledger) identify(v *storage.View, who abi.Caller) (c *caller, err error) {
	if who.Key != nil {
		c, err = l.callerByKey(v, who.Key)
	} else {
		c, err = l.callerByAccount(v, who.Account)
	}
	switch {
	case err != nil:
		return nil, err
	case c == nil && who.Key == nil:
		return nil, abi.CodeNotAuthenticated
	case c == nil:
		return nil, abi.CodeUnknownKey
	case !c.active():
		return c, abi.CodeDeviceInactive
	}
	return c, nil
}

// admitRequest checks a request's form and that its subject is one that the
// caller may ask about.
func admitRequest(c *caller, raw []byte) (request, error) {
	if len(raw) > abi.MaxTransaction {
		return request{}, abi.CodeTooLarge
	}
	q, err := scanRequest(raw)
	if err != nil {
		return q, err
	}
	if q.subjectEnd != 0 && !q.names(c) && c.roles&abi.RoleEnforcementPoint == 0 {
		return q, abi.CodeSubjectNotCaller
	}
	return q, nil
}

// admitSubject refuses a device that is out of the network as the subject of
// another's request: what is isolated is so for those who ask on its behalf, too.
func (l *Ledger) admitSubject(in scene, c *caller, q *request) error {
	id, ok := q.device()
	if !ok || q.names(c) {
		return nil
	}
	subject, err := l.callerByAccount(in.view, id)
	if err != nil {
		return err
	}
	if subject != nil && subject.status != 0 && (!subject.active() || in.isolated(id)) {
		return abi.CodeDeviceInactive
	}
	return nil
}

// done puts the scratch back; it holds nothing of its caller's any more.
func (d *decision) done() {
	d.view, d.head = nil, nil
	d.env = env{key: d.env.key}
	d.input = abi.Input{}
	d.ledger.scratch.Put(d)
}

// run asks the policy contract and turns its verdict into the answer.
func (d *decision) run(ctx context.Context, a *abi.Answer, c *caller, p *policy, q *request) error {
	if q.subjectEnd == 0 || q.names(c) {
		d.message = q.appendWith(d.message[:0], c.subject)
	} else {
		d.message = append(d.message[:0], q.raw...)
	}
	h := &d.head.header
	d.account, d.code = c.account, p.code
	d.input = abi.Input{
		Chain: h.Chain, Height: h.Height, Time: h.Time, Contract: p.contract, Owner: p.owner,
		Caller: &d.account, Roles: c.roles, Device: c.device, Domain: p.domain, Message: d.message,
	}
	d.env.input = &d.input
	d.encoded = abi.AppendInput(d.encoded[:0], &d.input)
	res, err := d.ledger.runtime.Call(ctx, wasm.Call{
		Protocol: d.head.params.Protocol, Code: p.code, Load: d.load, Entry: abi.EntryDecide,
		Input: d.encoded, Gas: d.head.params.DecideGas, Env: &d.env,
	})
	if err != nil {
		return d.failed(ctx, a, &res, err)
	}
	v, err := abi.ParseVerdict(res.Output)
	if err != nil {
		d.ledger.cfg.Logger.DebugContext(ctx, "a policy's verdict is malformed", "contract", p.contract, "err", err)
		return abi.CodePolicyFailed
	}
	return d.ledger.conclude(ctx, a, p.contract, &v)
}

// failed is the end of a policy that trapped or aborted: a denial, with the
// contract's own code if it gave one. Its text is for this node's log.
func (d *decision) failed(ctx context.Context, a *abi.Answer, res *wasm.Result, err error) error {
	var t *wasm.Trap
	if !errors.As(err, &t) {
		return &fault{err}
	}
	d.ledger.cfg.Logger.DebugContext(ctx, "a policy failed", "contract", d.env.contract, "err", err)
	if t.Code != abi.CodeAborted {
		return abi.CodePolicyFailed
	}
	if res.AbortCode == abi.AbortNoPolicy {
		return abi.CodeNoPolicy
	}
	a.Reason = uint64(res.AbortCode)
	return abi.CodePolicyFailed
}

// conclude turns a verdict into the answer. What the policy wants submitted
// is submitted first: without it there is no permit.
func (l *Ledger) conclude(ctx context.Context, a *abi.Answer, contract string, v *abi.Verdict) error {
	a.Reason, a.ReasonID, a.Obligations, a.TTL = v.Reason, v.ReasonID, v.Obligations, v.TTL
	if v.ByTransaction {
		return abi.CodeByTransaction
	}
	if v.MaxStaleness != 0 && a.Staleness > v.MaxStaleness {
		return abi.CodeTooStale
	}
	if v.FollowUp != nil {
		if err := l.followUp(ctx, contract, v.FollowUp); err != nil {
			return err
		}
	}
	if !v.Permit {
		return abi.CodeDenied
	}
	a.Permit = true
	return nil
}

func (l *Ledger) followUp(ctx context.Context, contract string, message []byte) error {
	if l.cfg.Submit == nil {
		return abi.CodeUnavailable
	}
	call := chain.Call{Contract: contract, Message: message}
	if err := l.cfg.Submit(ctx, call.Append(nil)); err != nil {
		l.cfg.Logger.WarnContext(ctx, "a decision's follow-up was not accepted", "contract", contract, "err", err)
		return abi.CodeUnavailable
	}
	return nil
}
