package ledger

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/runtime/wasm"
)

// Bounds of one search, beside the caller's context: the contract's own bounds
// end a call after a few dozen candidates, so one page may take several.
const (
	maxSearchCalls = 16
	maxSearchTime  = 500 // ms; no further call is begun then
	maxFoundLength = 256 // bytes of one result
)

// Search asks a domain's policy contract which subjects, resources or actions it
// would permit, in the state at the newest height. A caller that is no
// enforcement point searches only for itself, hence for no subjects.
//
// The token of s is the contract's cursor as an earlier page gave it: it is for
// the caller to see that it comes with the same search of the same caller. At
// the end the page has none. A search is not in the decision log: what it found
// is asked for again when it is used. Errors carry a code; CodeSearchOutdated
// when the policy has changed since the cursor.
func (l *Ledger) Search(ctx context.Context, who abi.Caller, s *abi.Search) (abi.SearchPage, error) {
	v, head, err := l.take()
	if err != nil {
		return abi.SearchPage{}, err
	}
	defer v.Release()
	run, err := l.beginSearch(scene{v, head, hot{v}, l.cfg.Isolated}, who, s)
	if err != nil {
		return abi.SearchPage{}, l.outside(err)
	}
	if run.barred {
		return abi.SearchPage{Height: v.Height()}, nil
	}
	return run.page(ctx, s)
}

// search is a search that was admitted.
type search struct {
	ledger *Ledger
	scene  scene
	asker  *caller
	barred bool   // the subject is a device that is denied everything
	kind   string // of the subjects that are sought, else empty
	policy *policy
	input  abi.Input
	env    env
	call   abi.SearchCall
}

func (l *Ledger) beginSearch(in scene, who abi.Caller, s *abi.Search) (*search, error) {
	c, err := l.identify(in.view, who)
	if err != nil {
		return nil, err
	}
	if c.status != 0 && in.isolated(c.account) {
		return nil, abi.CodeDeviceInactive
	}
	q, request, err := admitSearch(c, s)
	if err != nil {
		return nil, err
	}
	domain := s.Domain
	if domain == "" {
		domain = abi.DefaultDomain
	}
	p, err := l.policyOf(in.view, domain)
	if err != nil {
		return nil, err
	}
	if p.refused != abi.OK {
		return nil, p.refused
	}
	now, trusted := l.now(in.head)
	if !trusted {
		now = -1
	}
	h := &in.head.header
	run := &search{ledger: l, scene: in, asker: c, policy: p}
	if s.What == abi.SoughtSubjects {
		run.kind = string(q.kind)
	} else if run.barred, err = run.bars(&q); err != nil {
		return nil, err
	}
	account := c.account
	run.input = abi.Input{
		Chain: h.Chain, Height: h.Height, Time: h.Time, Contract: p.contract, Owner: p.owner,
		Caller: &account, Roles: c.roles, Device: c.device, Domain: p.domain,
	}
	run.env = env{ledger: l, read: in.policy, contract: p.contract, input: &run.input}
	run.call = abi.SearchCall{What: s.What, Request: request, Cursor: s.Token, Now: now}
	return run, nil
}

// bars says whether a request's subject is a device that a decision would not
// come to the policy for.
func (s *search) bars(q *request) (bool, error) {
	err := s.ledger.admitSubject(s.scene, s.asker, q)
	if code, ok := refusal(err); ok && code == abi.CodeDeviceInactive {
		return true, nil
	}
	return false, err
}

// admitSearch checks a search's form and that its subject is one that the caller
// may ask about, and returns the request as the contract gets it.
func admitSearch(c *caller, s *abi.Search) (q request, encoded []byte, err error) {
	if len(s.Request) > abi.MaxTransaction {
		return q, nil, abi.CodeTooLarge
	}
	if err := s.Check(); err != nil {
		return q, nil, err
	}
	if q, err = scanSearch(s); err != nil {
		return q, nil, err
	}
	point := c.roles&abi.RoleEnforcementPoint != 0
	switch {
	case s.What == abi.SoughtSubjects && !point:
		return q, nil, abi.CodeSubjectNotCaller
	case s.What != abi.SoughtSubjects && (q.subjectEnd == 0 || q.names(c)):
		return q, q.appendWith(nil, c.subject), nil
	case !point:
		return q, nil, abi.CodeSubjectNotCaller
	}
	return q, s.Request, nil
}

// scanSearch is scanRequest for a request that lacks what is sought.
func scanSearch(s *abi.Search) (request, error) {
	q := request{raw: s.Request}
	r := cbor.NewReader(s.Request)
	action, resource := s.What == abi.SoughtActions, false
	for f := r.Fields(); f.Next(); q.fields++ {
		switch f.Key() {
		case 1:
			q.kind, q.id = scanEntity(&r)
			q.subjectEnd = r.Offset()
		case 2:
			action = scanAction(&r) || action
		case 3:
			kind, id := scanEntity(&r)
			resource = len(kind) > 0 && (len(id) > 0 || s.What == abi.SoughtResources)
		case 4:
			skipProperties(&r)
		default:
			r.Fail(abi.CodeMalformed)
		}
	}
	if err := r.Done(); err != nil {
		return q, abi.Malformed(err)
	}
	subjects := s.What == abi.SoughtSubjects
	subject := q.subjectEnd == 0 && !subjects || len(q.kind) > 0 && (len(q.id) > 0 || subjects)
	if !subject || !action || !resource {
		return q, abi.CodeBadArgument
	}
	return q, nil
}

// page calls the contract until the page is full, nothing is left, or the search
// has taken what it may. At least one call is made.
func (s *search) page(ctx context.Context, q *abi.Search) (abi.SearchPage, error) {
	p := abi.SearchPage{Height: s.input.Height}
	begun, _ := s.ledger.cfg.Clock()
	gas := s.scene.head.params.QueryGas
	for range maxSearchCalls {
		s.call.Limit = q.Limit - uint64(len(p.Found))
		found, used, err := s.ask(ctx, gas)
		if err != nil {
			return abi.SearchPage{}, err
		}
		if p.Found, err = s.admitted(p.Found, found); err != nil {
			return abi.SearchPage{}, s.ledger.outside(err)
		}
		p.Token = s.call.Cursor
		now, _ := s.ledger.cfg.Clock()
		if p.Token == nil || uint64(len(p.Found)) >= q.Limit || now-begun > maxSearchTime {
			break
		}
		// Where a further call of the same size might not end, it is left to
		// the next page.
		if gas -= used; gas < 2*used {
			break
		}
	}
	return p, nil
}

// admitted adds what was found, but for devices that are denied everything.
func (s *search) admitted(list, found []string) ([]string, error) {
	for _, id := range found {
		barred, err := s.bars(&request{kind: []byte(s.kind), id: []byte(id)})
		if err != nil {
			return nil, err
		}
		if s.kind == "" || !barred {
			list = append(list, id)
		}
	}
	return list, nil
}

// ask makes one call of the contract and takes its cursor.
func (s *search) ask(ctx context.Context, gas uint64) (found []string, used uint64, err error) {
	s.input.Message = abi.AppendSearchCall(nil, &s.call)
	code := s.policy.code
	res, err := s.ledger.runtime.Call(ctx, wasm.Call{
		Protocol: s.scene.head.params.Protocol, Code: code, Load: func() ([]byte, error) { return loadCode(s.env.read, code) },
		Entry: abi.EntrySearch, Input: abi.AppendInput(nil, &s.input), Gas: gas, Env: &s.env,
	})
	if err != nil {
		return nil, 0, s.failed(ctx, &res, err)
	}
	found, cursor, err := abi.ParseSearchAnswer(res.Output)
	if err != nil || !fits(found, cursor, &s.call) {
		s.ledger.cfg.Logger.DebugContext(ctx, "a search's answer is malformed", "contract", s.policy.contract, "err", err)
		return nil, 0, abi.CodePolicyFailed
	}
	s.call.Cursor = cursor
	return found, res.GasUsed, nil
}

// fits says whether an answer keeps to what was asked.
func fits(found []string, cursor []byte, call *abi.SearchCall) bool {
	for _, f := range found {
		if f == "" || len(f) > maxFoundLength {
			return false
		}
	}
	return uint64(len(found)) <= call.Limit && len(cursor) <= abi.MaxSearchToken/2
}

// failed is a contract that trapped or aborted.
func (s *search) failed(ctx context.Context, res *wasm.Result, err error) error {
	var trap *wasm.Trap
	switch {
	case !errors.As(err, &trap) && ctx.Err() != nil:
		return fmt.Errorf("%w: %w", abi.CodeTimeout, err)
	case !errors.As(err, &trap):
		return s.ledger.unavailable(&fault{err})
	}
	s.env.failed(abi.EntrySearch, res.AbortCode, trap)
	switch {
	case trap.Code == abi.CodeNoEntryPoint:
		return trap.Code
	case trap.Code != abi.CodeAborted:
		return abi.CodePolicyFailed
	case res.AbortCode == abi.AbortNoPolicy:
		return abi.CodeNoPolicy
	case res.AbortCode == abi.AbortSearchOutdated:
		return abi.CodeSearchOutdated
	}
	return fmt.Errorf("%w: %w", abi.Aborted(res.AbortCode), abi.CodePolicyFailed)
}
