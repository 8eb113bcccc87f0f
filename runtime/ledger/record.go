package ledger

import (
	"context"
	"crypto/sha256"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/proof"
)

// Log keeps decisions; runtime/declog has one.
type Log interface {
	// Append gives a decision its number. It keeps nothing of r.
	Append(ctx context.Context, r *proof.Record) (number uint64, err error)
}

// asker is what is known of who asked for a decision, and when.
type asker struct {
	caller  *caller // nil: not authenticated
	trusted bool    // the clock was known to be right
}

// record has the log keep what an authenticated caller was answered, and denies
// where it cannot. Callers that are not authenticated are counted only: they
// could fill any disk.
func (l *Ledger) record(ctx context.Context, a *abi.Answer, who *asker, domain string, request []byte) {
	if l.cfg.Log == nil {
		a.Record = l.records.next()
		return
	}
	if who.caller == nil {
		l.counts.unrecorded.Add(1)
		return
	}
	r := l.recordings.Get().(*proof.Record)
	*r = proof.Record{
		Now: a.Now, Trusted: who.trusted, Height: a.Height, Staleness: a.Staleness,
		Caller: who.caller.account, Domain: domain, Contract: a.Contract, CodeHash: a.CodeHash, Request: request,
		Permit: a.Permit, Code: a.Code, Reason: a.Reason, ReasonID: a.ReasonID, TTL: a.TTL,
	}
	r.Obligations = HashObligations(a.Obligations)
	number, err := l.cfg.Log.Append(ctx, r)
	r.Request = nil
	l.recordings.Put(r)
	if err != nil {
		*a = abi.Answer{Code: l.denial(ctx, domain, err), Height: a.Height, Staleness: a.Staleness, Now: a.Now}
		return
	}
	a.Record = number
}

// HashObligations is what a record says of the obligations in an answer: zero if
// there are none.
func HashObligations(encoded []byte) (h abi.Hash) {
	if encoded != nil {
		h = sha256.Sum256(encoded)
	}
	return h
}
