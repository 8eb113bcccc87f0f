package web

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// readObject reads a request's body, one JSON object, as canonical CBOR.
func readObject(w http.ResponseWriter, r *http.Request) ([]byte, *problem, error) {
	if !isJSON(r.Header) {
		return nil, problemContentType, nil
	}
	if r.ContentLength > MaxBody {
		return nil, problemTooLarge, nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, problemTooLarge, nil
	case err != nil:
		return nil, problemTruncated, err
	}
	return convert(body)
}

// isJSON accepts application/json with any parameters but another charset:
// JSON has only one (RFC 8259 section 8.1).
func isJSON(h http.Header) bool {
	values := h.Values("Content-Type")
	if len(values) != 1 {
		return false
	}
	media, params, err := mime.ParseMediaType(values[0])
	charset, given := params["charset"]
	return err == nil && media == "application/json" && (!given || strings.EqualFold(charset, "utf-8"))
}

// convert turns a JSON object into canonical CBOR.
func convert(body []byte) ([]byte, *problem, error) {
	if len(body) == 0 {
		return nil, problemEmpty, nil
	}
	object, err := cbor.AppendJSON(nil, body)
	switch {
	case errors.Is(err, cbor.ErrInexact):
		return nil, problemNumber, err
	case err != nil:
		return nil, problemJSON, err
	case kind(object) != cbor.KindMap:
		return nil, problemJSON, nil
	}
	return object, nil, nil
}

func kind(item []byte) cbor.Kind {
	r := cbor.NewReader(item)
	return r.Kind()
}

// member is the value under a text key of an encoded map, or nil.
func member(object []byte, name string) []byte {
	r := cbor.NewReader(object)
	for n := r.Map(); n > 0; n-- {
		key := r.TextBytes()
		value := r.Raw()
		if string(key) == name {
			return value
		}
	}
	return nil
}

// tuple is what one evaluation is about, each part encoded as it came and nil
// when absent.
type tuple struct{ subject, action, resource, context []byte }

func readTuple(object []byte) tuple {
	return tuple{
		subject:  member(object, "subject"),
		action:   member(object, "action"),
		resource: member(object, "resource"),
		context:  member(object, "context"),
	}
}

// over fills what t lacks from the defaults, entity by entity, never inside
// of one.
func (t tuple) over(defaults tuple) tuple {
	for _, part := range []struct{ own, other *[]byte }{
		{&t.subject, &defaults.subject}, {&t.action, &defaults.action},
		{&t.resource, &defaults.resource}, {&t.context, &defaults.context},
	} {
		if *part.own == nil {
			*part.own = *part.other
		}
	}
	return t
}

// request checks the tuple and encodes it as an abi.DecisionRequest.
func (t tuple) request() ([]byte, *problem) {
	var (
		q    abi.DecisionRequest
		s    abi.Entity
		errs [4]*problem
	)
	s, errs[0] = entity(t.subject, "subject")
	q.Action, errs[1] = action(t.action)
	q.Resource, errs[2] = entity(t.resource, "resource")
	q.Context, errs[3] = properties(t.context, "context")
	if p := worst(errs[:]); p != nil {
		return nil, p
	}
	q.Subject = &s
	return abi.AppendDecisionRequest(nil, &q), nil
}

// worst prefers what is wrong to what is missing, and the first of either.
func worst(list []*problem) *problem {
	var first *problem
	for _, p := range list {
		if p != nil && !p.missing {
			return p
		}
		if first == nil {
			first = p
		}
	}
	return first
}

func entity(object []byte, name string) (abi.Entity, *problem) {
	if p := wantMap(object, name); p != nil {
		return abi.Entity{}, p
	}
	var errs [3]*problem
	var e abi.Entity
	e.Type, errs[0] = text(object, name, "type")
	e.ID, errs[1] = text(object, name, "id")
	e.Properties, errs[2] = properties(member(object, "properties"), name+".properties")
	return e, worst(errs[:])
}

func action(object []byte) (abi.Action, *problem) {
	if p := wantMap(object, "action"); p != nil {
		return abi.Action{}, p
	}
	var errs [2]*problem
	var a abi.Action
	a.Name, errs[0] = text(object, "action", "name")
	a.Properties, errs[1] = properties(member(object, "properties"), "action.properties")
	return a, worst(errs[:])
}

func wantMap(object []byte, field string) *problem {
	switch {
	case object == nil:
		return missing(field)
	case kind(object) != cbor.KindMap:
		return mistyped(field)
	}
	return nil
}

// text reads a required text that must not be empty.
func text(object []byte, parent, name string) (string, *problem) {
	value := member(object, name)
	if value == nil {
		return "", missing(parent + "." + name)
	}
	r := cbor.NewReader(value)
	if s := r.Text(); r.Err() == nil && s != "" {
		return s, nil
	}
	return "", mistyped(parent + "." + name)
}

// properties checks an optional map; an empty one is none.
func properties(value []byte, field string) ([]byte, *problem) {
	if value == nil {
		return nil, nil
	}
	if kind(value) != cbor.KindMap {
		return nil, mistyped(field)
	}
	r := cbor.NewReader(value)
	if r.Map() == 0 {
		return nil, nil
	}
	return value, nil
}

// batch is the body of an evaluations request.
type batch struct {
	defaults  tuple
	items     [][]byte // encoded, of any kind
	semantics abi.Semantics
}

func readBatch(object []byte) (batch, *problem) {
	b := batch{defaults: readTuple(object)}
	var p *problem
	if b.items, p = items(member(object, "evaluations")); p != nil {
		return batch{}, p
	}
	if b.semantics, p = semantics(member(object, "options")); p != nil {
		return batch{}, p
	}
	// A default that is only incomplete is the fault of the items that use it.
	if _, p = b.defaults.request(); p != nil && !p.missing {
		return batch{}, p
	}
	return b, nil
}

func items(value []byte) ([][]byte, *problem) {
	if value == nil {
		return nil, nil
	}
	if kind(value) != cbor.KindArray {
		return nil, mistyped("evaluations")
	}
	r := cbor.NewReader(value)
	n := r.Array()
	if n > abi.MaxBatch {
		return nil, problemBatch
	}
	list := make([][]byte, n)
	for i := range list {
		list[i] = r.Raw()
	}
	return list, nil
}

// semantics reads options.evaluations_semantic; other options are ignored.
func semantics(options []byte) (abi.Semantics, *problem) {
	if options == nil {
		return abi.ExecuteAll, nil
	}
	if kind(options) != cbor.KindMap {
		return 0, mistyped("options")
	}
	value := member(options, "evaluations_semantic")
	if value == nil {
		return abi.ExecuteAll, nil
	}
	r := cbor.NewReader(value)
	switch r.Text() {
	case "execute_all":
		return abi.ExecuteAll, nil
	case "deny_on_first_deny":
		return abi.DenyOnFirstDeny, nil
	case "permit_on_first_permit":
		return abi.PermitOnFirstPermit, nil
	}
	return 0, problemSemantic
}
