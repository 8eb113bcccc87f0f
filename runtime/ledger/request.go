package ledger

import (
	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// request is where the subject lies in an encoded abi.DecisionRequest. It
// borrows; scanRequest admits what abi.ParseDecisionRequest admits, without
// its allocations.
type request struct {
	raw        []byte
	fields     int
	subjectEnd int    // 0 when there is no subject
	kind, id   []byte // of the subject
}

// Bits of the fields that a request must have.
const (
	sawAction   = 1 << 2
	sawResource = 1 << 3
)

func scanRequest(raw []byte) (request, error) {
	q := request{raw: raw}
	r := cbor.NewReader(raw)
	seen := 0
	for f := r.Fields(); f.Next(); q.fields++ {
		seen |= 1 << min(f.Key(), 63)
		switch f.Key() {
		case 1:
			q.kind, q.id = scanEntity(&r)
			q.subjectEnd = r.Offset()
		case 2:
			scanAction(&r)
		case 3:
			scanEntity(&r)
		case 4:
			skipMap(&r)
		default:
			r.Fail(abi.CodeMalformed)
		}
	}
	if err := r.Done(); err != nil {
		return q, codeOf(err)
	}
	if seen&(sawAction|sawResource) != sawAction|sawResource {
		return q, abi.CodeBadArgument
	}
	return q, nil
}

func scanEntity(r *cbor.Reader) (kind, id []byte) {
	for f := r.Fields(); f.Next(); {
		switch f.Key() {
		case 1:
			kind = r.TextBytes()
		case 2:
			id = r.TextBytes()
		case 3:
			skipMap(r)
		default:
			r.Fail(abi.CodeMalformed)
		}
	}
	if len(kind) == 0 || len(id) == 0 {
		r.Fail(abi.CodeBadArgument)
	}
	return kind, id
}

func scanAction(r *cbor.Reader) {
	named := false
	for f := r.Fields(); f.Next(); {
		switch f.Key() {
		case 1:
			named = len(r.TextBytes()) > 0
		case 2:
			skipMap(r)
		default:
			r.Fail(abi.CodeMalformed)
		}
	}
	if !named {
		r.Fail(abi.CodeBadArgument)
	}
}

func skipMap(r *cbor.Reader) {
	if r.Kind() != cbor.KindMap {
		r.Fail(abi.CodeBadArgument)
		return
	}
	r.Skip()
}

// codeOf gives an error of the CBOR reader its code.
func codeOf(err error) error {
	if code, ok := refusal(err); ok {
		return code
	}
	return abi.CodeMalformed
}

// names says whether the request's subject is the caller.
func (q *request) names(c *caller) bool {
	return string(q.kind) == c.kind && string(q.id) == c.id
}

// appendWith appends the request with another subject in the place of its
// own, or in front if it has none. The head of the map, of at most four
// fields, and its keys are one byte each.
func (q *request) appendWith(b, subject []byte) []byte {
	if q.subjectEnd == 0 {
		b = cbor.AppendMap(b, q.fields+1)
		b = append(cbor.AppendUint(b, 1), subject...)
		return append(b, q.raw[1:]...)
	}
	b = cbor.AppendMap(b, q.fields)
	b = append(cbor.AppendUint(b, 1), subject...)
	return append(b, q.raw[q.subjectEnd:]...)
}
