package abi

import (
	"strconv"

	"github.com/seed79541315/postern/abi/cbor"
)

// A DecisionRequest has AuthZEN's shape (Authorization API 1.0 section 5). As
// CBOR it is a map, and so is each entity; properties and context are maps
// with text keys whose values are what abi/cbor admits:
//
//	request  {1: subject, 2: action, 3: resource, 4: context}
//	subject  {1: type (text), 2: id (text), 3: properties}
//	action   {1: name (text), 2: properties}
//	resource {1: type (text), 2: id (text), 3: properties}
//
// Properties and context may be absent or empty; types, ids and the action's
// name may not. The subject is absent when a
// device asks for itself: the gateway fills it in from the ledger, with type
// "device", the account id in lower-case hex as id, and the device's labels,
// manufacturer, model and serial as properties.
type DecisionRequest struct {
	Subject  *Entity
	Action   Action
	Resource Entity
	Context  []byte // encoded map, nil when empty
}

// Entity is a subject or a resource.
type Entity struct {
	Type, ID   string
	Properties []byte // encoded map, nil when empty
}

// Action is what the subject wants to do.
type Action struct {
	Name       string
	Properties []byte // encoded map, nil when empty
}

// AppendDecisionRequest appends the encoding of q.
func AppendDecisionRequest(b []byte, q *DecisionRequest) []byte {
	n := 2
	if q.Subject != nil {
		n++
	}
	if q.Context != nil {
		n++
	}
	b = cbor.AppendMap(b, n)
	if q.Subject != nil {
		b = appendEntity(cbor.AppendUint(b, 1), q.Subject)
	}
	b = cbor.AppendUint(b, 2)
	if q.Action.Properties == nil {
		b = cbor.AppendText(cbor.AppendUint(cbor.AppendMap(b, 1), 1), q.Action.Name)
	} else {
		b = cbor.AppendText(cbor.AppendUint(cbor.AppendMap(b, 2), 1), q.Action.Name)
		b = append(cbor.AppendUint(b, 2), q.Action.Properties...)
	}
	b = appendEntity(cbor.AppendUint(b, 3), &q.Resource)
	if q.Context != nil {
		b = append(cbor.AppendUint(b, 4), q.Context...)
	}
	return b
}

func appendEntity(b []byte, e *Entity) []byte {
	n := 2
	if e.Properties != nil {
		n++
	}
	b = cbor.AppendMap(b, n)
	b = cbor.AppendText(cbor.AppendUint(b, 1), e.Type)
	b = cbor.AppendText(cbor.AppendUint(b, 2), e.ID)
	if e.Properties != nil {
		b = append(cbor.AppendUint(b, 3), e.Properties...)
	}
	return b
}

// ParseDecisionRequest reads a request. Properties and context alias b. An
// error is CodeBadArgument where a part is missing or empty, and wraps
// CodeMalformed otherwise.
func ParseDecisionRequest(b []byte) (DecisionRequest, error) {
	r := cbor.NewReader(b)
	var q DecisionRequest
	if err := q.Read(&r, &Entity{}); err != nil {
		return DecisionRequest{}, err
	}
	return q, nil
}

// Read is ParseDecisionRequest for a caller that brings the memory: all of r
// is read into q, which is zero before, and its subject into subject.
func (q *DecisionRequest) Read(r *cbor.Reader, subject *Entity) error {
	seen := 0
	for f := r.Fields(); f.Next(); {
		switch f.Key() {
		case 1:
			q.Subject = subject
			parseEntity(r, subject)
		case 2:
			seen |= 1
			parseAction(r, &q.Action)
		case 3:
			seen |= 2
			parseEntity(r, &q.Resource)
		case 4:
			q.Context = propertyMap(r)
		default:
			r.Fail(CodeMalformed)
		}
	}
	if err := r.Done(); err != nil {
		return Malformed(err)
	}
	if seen != 3 || q.Action.Name == "" || q.Resource.Type == "" || q.Resource.ID == "" ||
		q.Subject != nil && (q.Subject.Type == "" || q.Subject.ID == "") {
		return CodeBadArgument
	}
	return nil
}

func parseAction(r *cbor.Reader, a *Action) {
	for f := r.Fields(); f.Next(); {
		switch f.Key() {
		case 1:
			a.Name = r.Text()
		case 2:
			a.Properties = propertyMap(r)
		default:
			r.Fail(CodeMalformed)
		}
	}
}

func parseEntity(r *cbor.Reader, e *Entity) {
	for f := r.Fields(); f.Next(); {
		switch f.Key() {
		case 1:
			e.Type = r.Text()
		case 2:
			e.ID = r.Text()
		case 3:
			e.Properties = propertyMap(r)
		default:
			r.Fail(CodeMalformed)
		}
	}
}

func propertyMap(r *cbor.Reader) []byte {
	if r.Kind() != cbor.KindMap {
		r.Fail(CodeBadArgument)
		return nil
	}
	return r.RawTextMap()
}

// AbortNoPolicy is the abort code of a decide entry that holds no active
// policy: the denial then says CodeNoPolicy, not CodePolicyFailed.
const AbortNoPolicy = 0xffff

// Verdict is what a policy contract's decide entry returns: a map
//
//	1 permit (bool)
//	2 reason (uint): the contract's own code, 0 when it has none
//	3 reason id (text): such as the name of the rule that decided
//	4 obligations (array of items of the contract's own form)
//	5 time to live, ms (uint): how long the answer may be cached; absent 0
//	6 staleness accepted, ms (uint): the gateway denies with CodeTooStale
//	  when its state is older; absent: any
//	7 follow-up (bytes): a message for this contract's execute that the host
//	  submits durably as a transaction of the gateway
//	8 by transaction (bool): not decided here; submit the request
//
// Only 1 is required; unlike in messages that are hashed, a zero may stand
// where it could be absent. A contract with no active policy aborts with
// AbortNoPolicy; every abort and trap is a denial.
type Verdict struct {
	Permit        bool
	Reason        uint64
	ReasonID      string
	Obligations   []byte // encoded array, nil when empty
	TTL           uint64
	MaxStaleness  uint64
	FollowUp      []byte
	ByTransaction bool
}

// AppendVerdict appends the encoding of v, zero fields left out.
func AppendVerdict(b []byte, v *Verdict) []byte {
	n := 1
	for _, present := range []bool{v.Reason != 0, v.ReasonID != "", v.Obligations != nil, v.TTL != 0, v.MaxStaleness != 0, v.FollowUp != nil, v.ByTransaction} {
		if present {
			n++
		}
	}
	b = cbor.AppendMap(b, n)
	b = cbor.AppendBool(cbor.AppendUint(b, 1), v.Permit)
	if v.Reason != 0 {
		b = cbor.AppendUint(cbor.AppendUint(b, 2), v.Reason)
	}
	if v.ReasonID != "" {
		b = cbor.AppendText(cbor.AppendUint(b, 3), v.ReasonID)
	}
	if v.Obligations != nil {
		b = append(cbor.AppendUint(b, 4), v.Obligations...)
	}
	if v.TTL != 0 {
		b = cbor.AppendUint(cbor.AppendUint(b, 5), v.TTL)
	}
	if v.MaxStaleness != 0 {
		b = cbor.AppendUint(cbor.AppendUint(b, 6), v.MaxStaleness)
	}
	if v.FollowUp != nil {
		b = cbor.AppendBytes(cbor.AppendUint(b, 7), v.FollowUp)
	}
	if v.ByTransaction {
		b = cbor.AppendBool(cbor.AppendUint(b, 8), true)
	}
	return b
}

// ParseVerdict reads the output of a decide entry; it aliases b. Every error
// wraps CodeBadResult.
func ParseVerdict(b []byte) (Verdict, error) {
	var v Verdict
	r := cbor.NewReader(b)
	decided := false
	for f := r.Fields(); f.Next(); {
		switch f.Key() {
		case 1:
			v.Permit, decided = r.Bool(), true
		case 2:
			v.Reason = r.Uint()
		case 3:
			v.ReasonID = r.Text()
		case 4:
			v.Obligations = rawArray(&r)
		case 5:
			v.TTL = r.Uint()
		case 6:
			v.MaxStaleness = r.Uint()
		case 7:
			v.FollowUp = r.Bytes()
		case 8:
			v.ByTransaction = r.Bool()
		default:
			r.Fail(because(CodeMalformed, "field "+strconv.FormatUint(f.Key(), 10)+" is not known"))
		}
	}
	if err := r.Done(); err != nil {
		return Verdict{}, &caused{CodeBadResult, err}
	}
	if !decided {
		return Verdict{}, because(CodeBadResult, "the verdict has no decision")
	}
	return v, nil
}
