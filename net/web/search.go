package web

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// The search endpoints (Authorization API 1.0 section 8).
const (
	searchSubjectPath  = "/access/v1/search/subject"
	searchResourcePath = "/access/v1/search/resource"
	searchActionPath   = "/access/v1/search/action"
)

// searched is what each endpoint seeks.
var searched = map[string]abi.Sought{
	searchSubjectPath:  abi.SoughtSubjects,
	searchResourcePath: abi.SoughtResources,
	searchActionPath:   abi.SoughtActions,
}

// Search is what the search endpoints need of the node.
type Search interface {
	// Search finds what the policy of a domain would permit. Its errors carry
	// codes: CodeSubjectNotCaller where the caller may not ask about others,
	// CodeSearchOutdated where the policy has changed since the token,
	// CodeBadArgument for a token of another search or another caller.
	Search(ctx context.Context, caller abi.Caller, s *abi.Search) (abi.SearchPage, error)
}

// serveSearch answers one page of a search.
func (s *Server) serveSearch(w http.ResponseWriter, r *http.Request, rt *route) {
	if s.search == nil {
		s.serveLost(w, r, rt)
		return
	}
	s.admit(w, r, rt, func(a asker, object []byte) ([]byte, *problem) {
		return a.page(searched[rt.label], object)
	})
}

// page asks for one page and writes it.
func (a asker) page(what abi.Sought, object []byte) ([]byte, *problem) {
	q, kind, p := readSearch(what, object)
	if p != nil {
		return nil, p
	}
	q.Domain = a.domain
	found, err := a.server.search.Search(a.ctx, a.caller, q)
	if err != nil {
		p := searchProblem(err)
		if p.status >= http.StatusInternalServerError {
			a.server.log.Error("a search failed", "domain", a.domain, "err", err)
		}
		return nil, p
	}
	return appendFound(nil, what, kind, &found), nil
}

// readSearch reads a search; kind is the type of what is sought, empty for
// actions. What a request says of the part that is sought, but for its type and
// properties, is not looked at.
func readSearch(what abi.Sought, object []byte) (q *abi.Search, kind string, p *problem) {
	t := readTuple(object)
	var d abi.DecisionRequest
	var errs [5]*problem
	var s abi.Entity
	s, errs[0] = soughtEntity(t.subject, "subject", what == abi.SoughtSubjects)
	d.Subject = &s
	if what != abi.SoughtActions {
		d.Action, errs[1] = action(t.action)
	}
	d.Resource, errs[2] = soughtEntity(t.resource, "resource", what == abi.SoughtResources)
	d.Context, errs[3] = properties(t.context, "context")
	q = &abi.Search{What: what}
	errs[4] = readPage(member(object, "page"), q)
	if p := worst(errs[:]); p != nil {
		return nil, "", p
	}
	q.Request = abi.AppendDecisionRequest(nil, &d)
	switch what {
	case abi.SoughtSubjects:
		kind = s.Type
	case abi.SoughtResources:
		kind = d.Resource.Type
	}
	return q, kind, nil
}

// soughtEntity is entity, of which the id is not looked at where it is sought.
func soughtEntity(object []byte, name string, sought bool) (abi.Entity, *problem) {
	if !sought {
		return entity(object, name)
	}
	if p := wantMap(object, name); p != nil {
		return abi.Entity{}, p
	}
	var e abi.Entity
	var errs [2]*problem
	e.Type, errs[0] = text(object, name, "type")
	e.Properties, errs[1] = properties(member(object, "properties"), name+".properties")
	return e, worst(errs[:])
}

var problemPageToken = &problem{status: http.StatusBadRequest, code: abi.CodeBadArgument, message: "the token is not of this search", field: "page.token"}

// readPage reads page.token and page.limit; other members are ignored.
func readPage(page []byte, q *abi.Search) *problem {
	if page == nil {
		return nil
	}
	if kind(page) != cbor.KindMap {
		return mistyped("page")
	}
	if value := member(page, "limit"); value != nil {
		r := cbor.NewReader(value)
		if q.Limit = r.Uint(); r.Err() != nil {
			return mistyped("page.limit")
		}
	}
	value := member(page, "token")
	if value == nil {
		return nil
	}
	r := cbor.NewReader(value)
	text := r.Text()
	if r.Err() != nil {
		return mistyped("page.token")
	}
	if text == "" { // as next_token is at the end: begin again
		return nil
	}
	token, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(token) > abi.MaxSearchToken {
		return problemPageToken
	}
	q.Token = token
	return nil
}

// searchProblem is why a search found nothing at all.
func searchProblem(err error) *problem {
	var code abi.Code
	if !errors.As(err, &code) {
		return problemInternal
	}
	switch code {
	case abi.CodeNoDomain:
		return problemNoDomain
	case abi.CodeBadArgument:
		return problemPageToken
	case abi.CodeSearchOutdated:
		return &problem{status: http.StatusBadRequest, code: code, field: "page.token"}
	case abi.CodeSubjectNotCaller, abi.CodeDeviceInactive, abi.CodeUnknownKey:
		return &problem{status: http.StatusForbidden, code: code}
	case abi.CodeNoEntryPoint:
		return &problem{status: http.StatusNotImplemented, code: code, message: "the domain's policy contract does not search"}
	case abi.CodeTimeout:
		return &problem{status: http.StatusServiceUnavailable, code: code}
	case abi.CodeNoPolicy, abi.CodePolicyFailed:
		return &problem{status: http.StatusInternalServerError, code: code}
	}
	return nodeProblem(err)
}

// appendFound appends {"results": […], "page": {…}}.
func appendFound(b []byte, what abi.Sought, kind string, found *abi.SearchPage) []byte {
	b = append(b, `{"results":[`...)
	for i, f := range found.Found {
		if i > 0 {
			b = append(b, ',')
		}
		if what == abi.SoughtActions {
			b = appendString(append(b, `{"name":`...), f)
		} else {
			b = appendString(append(b, `{"type":`...), kind)
			b = appendString(append(b, `,"id":`...), f)
		}
		b = append(b, '}')
	}
	b = append(b, `],"page":{"next_token":"`...)
	b = append(base64.RawURLEncoding.AppendEncode(b, found.Token), '"')
	b = appendNumber(b, "count", uint64(len(found.Found)))
	b = append(b, `,"properties":{"height":`...)
	return append(strconv.AppendUint(b, found.Height, 10), `}}}`...)
}
