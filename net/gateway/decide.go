package gateway

import (
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// decide answers one decision, the hot path.
func (st *stream) decide(body []byte) ([]byte, abi.Code, bool) {
	var domain, request []byte
	r := cbor.NewReader(body)
	for f := r.Fields(); f.Next(); {
		switch f.Key() {
		case 1:
			domain = r.TextBytes()
		case 2:
			request = r.Raw()
		default:
			r.Fail(abi.CodeMalformed)
		}
	}
	if err := r.Done(); err != nil {
		return nil, codeOf(err), false
	}
	if request == nil {
		return nil, abi.CodeBadArgument, false
	}
	answer := st.ask(st.intern(domain), request)
	st.body = abi.AppendAnswer(st.body[:0], &answer)
	return st.body, abi.OK, true
}

// ask asks the Node for one decision and counts it.
func (st *stream) ask(domain string, request []byte) abi.Answer {
	caller := abi.Caller{Key: st.conn.account.key}
	answer := st.conn.server.config.Node.Decide(st.conn.ctx, caller, domain, request)
	st.conn.server.stats.request(abi.OpDecide, answer.Code)
	if answer.Code == abi.CodeNoDomain {
		st.conn.attacked(AttackUnknownContracts)
	}
	return answer
}

// intern makes a string of a domain without allocating when it is the last.
func (st *stream) intern(domain []byte) string {
	if string(domain) != st.domain || len(domain) == 0 {
		st.domain = string(domain)
		if st.domain == "" {
			st.domain = abi.DefaultDomain
		}
	}
	return st.domain
}

// batch asks for up to abi.MaxBatch decisions, and stops early where the
// semantics say so.
func (st *stream) batch(body []byte, _ abi.Standing) ([]byte, abi.Code) {
	var domain []byte
	var requests [][]byte
	semantics := abi.ExecuteAll
	code := parseBody(body, 1<<2, func(key uint64, r *cbor.Reader) bool {
		switch key {
		case 1:
			domain = r.TextBytes()
		case 2:
			requests = readRequests(r)
		case 3:
			semantics = abi.Semantics(r.Uint())
		default:
			return false
		}
		return true
	})
	switch {
	case code != abi.OK:
		return nil, code
	case len(requests) == 0 || semantics > abi.PermitOnFirstPermit:
		return nil, abi.CodeBadArgument
	case !st.conn.account.take(time.Now(), len(requests)-1):
		return nil, abi.CodeRateLimited
	}
	return st.decideAll(st.intern(domain), requests, semantics)
}

func readRequests(r *cbor.Reader) [][]byte {
	n := r.Array()
	if n > abi.MaxBatch {
		r.Fail(abi.CodeTooLarge)
		return nil
	}
	list := make([][]byte, 0, n)
	for range n {
		list = append(list, r.Raw())
	}
	return list
}

func (st *stream) decideAll(domain string, requests [][]byte, semantics abi.Semantics) ([]byte, abi.Code) {
	answers, n := make([]byte, 0, 256), 0
	for _, request := range requests {
		answer := st.ask(domain, request)
		answers = abi.AppendAnswer(answers, &answer)
		n++
		if len(answers) > abi.MaxFrame {
			return nil, abi.CodeTooLarge
		}
		if semantics == abi.DenyOnFirstDeny && !answer.Permit || semantics == abi.PermitOnFirstPermit && answer.Permit {
			break
		}
	}
	st.body = append(cbor.AppendArray(st.body[:0], n), answers...)
	return st.body, abi.OK
}
