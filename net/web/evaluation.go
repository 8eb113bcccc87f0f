package web

import (
	"context"
	"encoding/hex"
	"net/http"
	"strconv"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// serveEvaluation answers one evaluation (Authorization API 1.0 section 6).
func (s *Server) serveEvaluation(w http.ResponseWriter, r *http.Request, rt *route) {
	s.admit(w, r, rt, func(a asker, object []byte) ([]byte, *problem) {
		return a.single(readTuple(object))
	})
}

// serveEvaluations answers a batch (section 7). Without items it is a single
// evaluation.
func (s *Server) serveEvaluations(w http.ResponseWriter, r *http.Request, rt *route) {
	s.admit(w, r, rt, func(a asker, object []byte) ([]byte, *problem) {
		b, p := readBatch(object)
		if p != nil {
			return nil, p
		}
		if len(b.items) == 0 {
			return a.single(b.defaults)
		}
		return a.batch(&b)
	})
}

// admit does what all decisions share: who asks, whether there is room, the
// body, the answer. The place is taken only after authentication, so that
// strangers cannot fill the node, and before the body is read, so that bodies
// in memory are bounded.
func (s *Server) admit(w http.ResponseWriter, r *http.Request, rt *route, answer func(asker, []byte) ([]byte, *problem)) {
	account, p, cause := s.authenticate(r, rt.domain)
	if p != nil {
		s.refuse(w, r, p, cause)
		return
	}
	if !s.enter(r.Context()) {
		s.refuse(w, r, problemBusy, nil)
		return
	}
	defer func() { <-s.places }()
	object, p, cause := readObject(w, r)
	if p != nil {
		s.refuse(w, r, p, cause)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), decideTimeout)
	defer cancel()
	body, p := answer(asker{s, ctx, abi.Caller{Account: account}, rt.domain}, object)
	if p != nil {
		s.refuse(w, r, p, nil)
		return
	}
	writeJSON(w, http.StatusOK, body)
}

// enter takes a place, waiting for one if need be, and says whether it got it.
func (s *Server) enter(ctx context.Context) bool {
	select {
	case s.places <- struct{}{}:
		return true
	default:
	}
	patience := time.NewTimer(placeWait)
	defer patience.Stop()
	select {
	case s.places <- struct{}{}:
		return true
	case <-patience.C:
	case <-ctx.Done():
	}
	return false
}

// asker asks the node on behalf of one HTTP request.
type asker struct {
	server *Server
	ctx    context.Context
	caller abi.Caller
	domain string
}

// ask returns the node's answer, in which permit and code agree: a permit has
// none, a denial has one.
func (a asker) ask(request []byte) abi.Answer {
	answer := a.server.node.Decide(a.ctx, a.caller, a.domain, request)
	switch {
	case answer.Code != abi.OK:
		answer.Permit = false
	case !answer.Permit:
		answer.Code = abi.CodeDenied
	}
	return answer
}

func (a asker) single(t tuple) ([]byte, *problem) {
	request, p := t.request()
	if p != nil {
		return nil, p
	}
	answer := a.ask(request)
	if answer.Code == abi.CodeNoDomain {
		return nil, problemNoDomain
	}
	b, _ := a.appendDecision(nil, &answer)
	return b, nil
}

// batch asks item after item and stops where the semantics says so; what
// comes behind is not in the answer.
func (a asker) batch(b *batch) ([]byte, *problem) {
	out := append([]byte(nil), `{"evaluations":[`...)
	for i, item := range b.items {
		if i > 0 {
			out = append(out, ',')
		}
		var permit bool
		request, p := itemRequest(item, b.defaults)
		if p != nil {
			out = a.appendRefusal(out, p)
		} else {
			answer := a.ask(request)
			if answer.Code == abi.CodeNoDomain {
				return nil, problemNoDomain
			}
			out, permit = a.appendDecision(out, &answer)
		}
		if permit && b.semantics == abi.PermitOnFirstPermit || !permit && b.semantics == abi.DenyOnFirstDeny {
			break
		}
	}
	return append(out, `]}`...), nil
}

func itemRequest(item []byte, defaults tuple) ([]byte, *problem) {
	if kind(item) != cbor.KindMap {
		return nil, mistyped("evaluations[]")
	}
	return readTuple(item).over(defaults).request()
}

// appendRefusal appends the denial of an item that cannot be asked.
func (a asker) appendRefusal(b []byte, p *problem) []byte {
	a.server.metrics.decision(false)
	b = append(b, `{"decision":false,"context":{`...)
	b = appendCode(b, "code", p.code)
	b = append(b, ',')
	b = appendCode(b, "reason", p.code)
	b = append(b, `,"error":{"status":`...)
	b = strconv.AppendInt(b, int64(p.status), 10)
	b = append(b, ',')
	return append(p.appendMembers(b), `}}}`...)
}

// appendDecision appends the node's answer and says whether it is a permit.
// Obligations without a JSON form cannot be told, so they make a denial.
func (a asker) appendDecision(b []byte, answer *abi.Answer) ([]byte, bool) {
	var obligations []byte
	if answer.Obligations != nil {
		var err error
		if obligations, err = cbor.AppendAsJSON(nil, answer.Obligations); err != nil {
			a.server.log.Error("obligations have no JSON form", "contract", answer.Contract, "record", answer.Record, "err", err)
			answer.Permit, answer.Code, answer.TTL = false, abi.CodeBadResult, 0
		}
	}
	a.server.metrics.decision(answer.Permit)
	b = append(b, `{"decision":`...)
	b = strconv.AppendBool(b, answer.Permit)
	b = append(b, `,"context":{`...)
	b = appendCode(b, "code", answer.Code)
	b = appendReason(b, answer)
	if obligations != nil {
		b = append(b, `,"obligations":`...)
		b = append(b, obligations...)
	}
	b = appendEvidence(b, answer)
	return append(b, `}}`...), answer.Permit
}

func appendReason(b []byte, answer *abi.Answer) []byte {
	if answer.Code != abi.OK && answer.Code != abi.CodeDenied {
		return appendCode(append(b, ','), "reason", answer.Code)
	}
	if answer.ReasonID != "" {
		b = append(b, `,"reason":`...)
		b = appendString(b, answer.ReasonID)
	}
	if answer.Reason != 0 {
		b = appendNumber(b, "reason_number", answer.Reason)
	}
	return b
}

// appendEvidence appends what ties the answer to the ledger.
func appendEvidence(b []byte, answer *abi.Answer) []byte {
	if answer.TTL != 0 {
		b = appendNumber(b, "ttl_ms", answer.TTL)
	}
	b = appendNumber(b, "record", answer.Record)
	b = appendNumber(b, "height", answer.Height)
	if answer.Contract != "" {
		b = append(b, `,"contract":`...)
		b = appendString(b, answer.Contract)
	}
	if answer.CodeHash != (abi.Hash{}) {
		b = append(b, `,"code_hash":"`...)
		b = append(hex.AppendEncode(b, answer.CodeHash[:]), '"')
	}
	b = appendNumber(b, "staleness_ms", answer.Staleness)
	b = append(b, `,"now_ms":`...)
	return strconv.AppendInt(b, answer.Now, 10)
}

func appendNumber(b []byte, name string, v uint64) []byte {
	b = append(append(append(b, `,"`...), name...), `":`...)
	return strconv.AppendUint(b, v, 10)
}

// appendCode appends "name":"out-of-gas","name_number":151.
func appendCode(b []byte, name string, c abi.Code) []byte {
	b = append(append(append(b, '"'), name...), `":`...)
	b = appendString(b, c.Name())
	return appendNumber(b, name+"_number", uint64(c))
}
