package web

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/seed79541315/postern/abi"
)

// maxCause is how many bytes of an error go to the log.
const maxCause = 512

// problem is why a request, or one item of a batch, is refused: all of it is
// shown to the caller, so it holds only codes, stable texts and names of
// fields that this package knows.
type problem struct {
	status  int
	code    abi.Code
	message string // empty: the code's own text
	field   string // path of the field to blame, such as "resource.id"; may be empty
	missing bool   // the field is absent, rather than of a wrong type
}

var (
	problemMethod      = &problem{status: http.StatusMethodNotAllowed, code: abi.CodeUnknownOp, message: "the endpoint does not take this method"}
	problemNotFound    = &problem{status: http.StatusNotFound, code: abi.CodeNotFound, message: "there is no such endpoint"}
	problemNoDomain    = &problem{status: http.StatusNotFound, code: abi.CodeNoDomain}
	problemNoToken     = &problem{status: http.StatusUnauthorized, code: abi.CodeNotAuthenticated, message: "a bearer token is required"}
	problemBadToken    = &problem{status: http.StatusUnauthorized, code: abi.CodeNotAuthenticated, message: "the bearer token is not valid"}
	problemOtherDomain = &problem{status: http.StatusForbidden, code: abi.CodeNotPermitted, message: "the bearer token belongs to another policy domain"}
	problemContentType = &problem{status: http.StatusBadRequest, code: abi.CodeBadArgument, message: "the content type is not application/json in UTF-8"}
	problemTooLarge    = &problem{status: http.StatusRequestEntityTooLarge, code: abi.CodeTooLarge, message: "the body is larger than 64 KiB"}
	problemTruncated   = &problem{status: http.StatusBadRequest, code: abi.CodeMalformed, message: "the body did not arrive whole"}
	problemEmpty       = &problem{status: http.StatusBadRequest, code: abi.CodeMalformed, message: "the body is empty"}
	problemJSON        = &problem{status: http.StatusBadRequest, code: abi.CodeMalformed, message: "the body is not one JSON object in UTF-8 with distinct keys and at most 32 levels"}
	problemNumber      = &problem{status: http.StatusBadRequest, code: abi.CodeBadNumber}
	problemBatch       = &problem{status: http.StatusBadRequest, code: abi.CodeTooLarge, message: "a batch has at most 64 evaluations", field: "evaluations"}
	problemSemantic    = &problem{status: http.StatusBadRequest, code: abi.CodeBadArgument, message: "the semantic is none of execute_all, deny_on_first_deny and permit_on_first_permit", field: "options.evaluations_semantic"}
	problemHost        = &problem{status: http.StatusBadRequest, code: abi.CodeBadArgument, message: "the Host header is not a host with an optional port"}
	problemBusy        = &problem{status: http.StatusServiceUnavailable, code: abi.CodeBusy}
	problemNotReady    = &problem{status: http.StatusServiceUnavailable, code: abi.CodeNotReady}
	problemInternal    = &problem{status: http.StatusInternalServerError, code: abi.CodeInternal}
)

func missing(field string) *problem {
	return &problem{status: http.StatusBadRequest, code: abi.CodeBadArgument, message: "a required field is missing", field: field, missing: true}
}

func mistyped(field string) *problem {
	return &problem{status: http.StatusBadRequest, code: abi.CodeBadArgument, message: "a field has a wrong type or is empty", field: field}
}

func (p *problem) text() string {
	if p.message != "" {
		return p.message
	}
	return p.code.Text()
}

// appendMembers appends the members of p's JSON object, without its braces.
func (p *problem) appendMembers(b []byte) []byte {
	b = append(b, `"code":`...)
	b = appendString(b, p.code.Name())
	b = append(b, `,"number":`...)
	b = strconv.AppendUint(b, uint64(p.code), 10)
	b = append(b, `,"message":`...)
	b = appendString(b, p.text())
	if p.field != "" {
		b = append(b, `,"field":`...)
		b = appendString(b, p.field)
	}
	return b
}

// refuse answers with p and logs the cause, which the caller does not see.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, p *problem, cause error) {
	level := s.log.Debug // what anybody can provoke must not fill the log
	if p.status == http.StatusInternalServerError {
		level = s.log.Error
	}
	level("request refused", "status", p.status, "code", p.code.Name(), "field", p.field,
		"path", r.URL.Path, "remote", r.RemoteAddr, "err", clip(cause))
	switch p.status {
	case http.StatusUnauthorized, http.StatusForbidden:
		w.Header().Set("WWW-Authenticate", challenge(p))
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
	}
	b := append([]byte(nil), `{"error":{`...)
	writeJSON(w, p.status, append(p.appendMembers(b), `}}`...))
}

// clip shortens a cause for the log: it may quote what the caller sent.
func clip(cause error) string {
	if cause == nil {
		return ""
	}
	text := cause.Error()
	return text[:min(len(text), maxCause)]
}

// writeJSON sends a whole answer. Its error is the client's loss: there is
// nobody left to tell.
func writeJSON(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

func appendString(b []byte, s string) []byte {
	q, err := json.Marshal(s)
	if err != nil {
		panic("BUG: text does not marshal: " + err.Error())
	}
	return append(b, q...)
}
