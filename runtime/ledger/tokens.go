package ledger

import (
	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// issueToken records a bearer token of an enforcement point. A token's hash
// is used once: a revoked token does not come back.
func (r *running) issueToken(a *chain.IssueToken) error {
	if !r.sender.has(abi.RoleOperator) {
		return abi.CodeMissingRole
	}
	s := r.x.state
	account, ok, err := load(s, chain.AccountKey(a.Account), chain.ParseAccount)
	if err != nil || !ok {
		return refuseUnless(ok, abi.CodeUnknownAccount, err)
	}
	if account.Roles&abi.RoleEnforcementPoint == 0 {
		return abi.CodeMissingRole
	}
	if a.Expiry <= r.x.header.Time {
		return abi.CodeExpired
	}
	key := chain.TokenKey(a.Token)
	if _, used, err := s.get(key); err != nil || used {
		return refuseUnless(!used, abi.CodeBadArgument, err)
	}
	t := chain.Token{Account: a.Account, Domain: a.Domain, Expiry: a.Expiry, Note: a.Note, IssuedBy: r.sender.id}
	return s.set(key, t.Append(nil))
}

// revokeToken ends a token. Its own account may do that too.
func (r *running) revokeToken(a *chain.RevokeToken) error {
	s := r.x.state
	t, ok, err := load(s, chain.TokenKey(a.Token), chain.ParseToken)
	if err != nil || !ok {
		return refuseUnless(ok, abi.CodeNotFound, err)
	}
	if !r.sender.has(abi.RoleOperator) && t.Account != r.sender.id {
		return abi.CodeMissingRole
	}
	if t.Revoked == 0 {
		t.Revoked = r.x.header.Height
	}
	return s.set(chain.TokenKey(a.Token), t.Append(nil))
}

// Token tells what a bearer token with this hash is good for now. The error
// is abi.CodeNotAuthenticated when it is unknown, expired or revoked, or its
// account is no active enforcement point any more.
func (l *Ledger) Token(token abi.Hash) (chain.Token, error) {
	v, t, err := l.take()
	if err != nil {
		return chain.Token{}, err
	}
	defer v.Release()
	record, ok, err := load(hot{v}, chain.TokenKey(token), chain.ParseToken)
	if err != nil {
		return chain.Token{}, l.unavailable(err)
	}
	now, _ := l.now(t)
	if !ok || record.Revoked != 0 || now >= record.Expiry {
		return chain.Token{}, abi.CodeNotAuthenticated
	}
	c, err := l.callerByAccount(v, record.Account)
	if err != nil {
		return chain.Token{}, l.unavailable(err)
	}
	if c == nil || c.roles&abi.RoleEnforcementPoint == 0 || !c.active() {
		return chain.Token{}, abi.CodeNotAuthenticated
	}
	return record, nil
}
