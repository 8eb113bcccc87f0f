package web

import (
	"crypto/sha256"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// maxToken is the longest token that is looked at, in bytes. The tokens that
// the command line makes are far shorter; this only bounds the hashing.
const maxToken = 1 << 10

// identify finds what the request's bearer token stands for.
func (s *Server) identify(r *http.Request) (text string, token chain.Token, p *problem, err error) {
	text, p = bearer(r.Header)
	if p != nil {
		return "", token, p, nil
	}
	token, err = s.node.Token(sha256.Sum256([]byte(text)))
	if err != nil {
		return "", token, tokenProblem(err), err
	}
	return text, token, nil, nil
}

// authenticate finds the account behind the request's bearer token and checks
// that the token is for this domain.
func (s *Server) authenticate(r *http.Request, domain string) (abi.Hash, *problem, error) {
	_, token, p, err := s.identify(r)
	if p != nil {
		return abi.Hash{}, p, err
	}
	if token.Domain == domain {
		return token.Account, nil, nil
	}
	known, err := s.node.Domains()
	switch {
	case err != nil:
		return abi.Hash{}, problemInternal, err
	case !slices.Contains(known, domain):
		return abi.Hash{}, problemNoDomain, nil
	}
	return abi.Hash{}, problemOtherDomain, nil
}

// bearer reads the token from the Authorization header (RFC 6750 section 2.1).
// Two such headers are refused: a proxy in front may have checked the other.
func bearer(h http.Header) (string, *problem) {
	values := h.Values("Authorization")
	if len(values) == 0 {
		return "", problemNoToken
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if len(values) > 1 || !strings.EqualFold(scheme, "Bearer") || !validToken(token) {
		return "", problemBadToken
	}
	return token, nil
}

// validToken checks the syntax b64token of RFC 6750 section 2.1.
func validToken(s string) bool {
	body := strings.TrimRight(s, "=")
	if body == "" || len(s) > maxToken {
		return false
	}
	for i := range len(body) {
		c := body[i]
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && strings.IndexByte("-._~+/", c) < 0 {
			return false
		}
	}
	return true
}

// tokenProblem tells a bad token from a node that cannot look it up.
func tokenProblem(err error) *problem {
	if errors.Is(err, abi.CodeNotAuthenticated) {
		return problemBadToken
	}
	return nodeProblem(err)
}

// nodeProblem tells a node that cannot answer now from one that is broken.
func nodeProblem(err error) *problem {
	var code abi.Code
	if errors.As(err, &code) && (code == abi.CodeNotReady || code == abi.CodeBusy || code == abi.CodeShuttingDown) {
		return &problem{status: http.StatusServiceUnavailable, code: code}
	}
	return problemInternal
}

// challenge is the WWW-Authenticate header of a refusal (RFC 6750 section 3).
func challenge(p *problem) string {
	switch p {
	case problemNoToken:
		return `Bearer realm="postern"`
	case problemOtherDomain:
		return `Bearer realm="postern", error="insufficient_scope"`
	}
	return `Bearer realm="postern", error="invalid_token"`
}
