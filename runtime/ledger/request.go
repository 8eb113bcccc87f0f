package ledger

import (
	"encoding/hex"

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

func scanRequest(raw []byte) (request, error) {
	q := request{raw: raw}
	r := cbor.NewReader(raw)
	action, resource, whole := false, false, true
	for f := r.Fields(); f.Next(); q.fields++ {
		switch f.Key() {
		case 1:
			q.kind, q.id = scanEntity(&r)
			whole = len(q.kind) > 0 && len(q.id) > 0
			q.subjectEnd = r.Offset()
		case 2:
			action = scanAction(&r)
		case 3:
			kind, id := scanEntity(&r)
			resource = len(kind) > 0 && len(id) > 0
		case 4:
			skipProperties(&r)
		default:
			r.Fail(abi.CodeMalformed)
		}
	}
	if err := r.Done(); err != nil {
		return q, abi.Malformed(err)
	}
	if !action || !resource || !whole {
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
			skipProperties(r)
		default:
			r.Fail(abi.CodeMalformed)
		}
	}
	return kind, id
}

func scanAction(r *cbor.Reader) (named bool) {
	for f := r.Fields(); f.Next(); {
		switch f.Key() {
		case 1:
			named = len(r.TextBytes()) > 0
		case 2:
			skipProperties(r)
		default:
			r.Fail(abi.CodeMalformed)
		}
	}
	return named
}

func skipProperties(r *cbor.Reader) {
	if r.Kind() != cbor.KindMap {
		r.Fail(abi.CodeBadArgument)
		return
	}
	r.RawTextMap()
}

// names says whether the request's subject is the caller.
func (q *request) names(c *caller) bool {
	return string(q.kind) == c.kind && string(q.id) == c.id
}

// device is the id of the device that the request's subject is, if it has the
// form of one.
func (q *request) device() (id abi.Hash, ok bool) {
	if string(q.kind) != "device" || len(q.id) != hex.EncodedLen(len(id)) {
		return id, false
	}
	_, err := hex.Decode(id[:], q.id)
	return id, err == nil
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
