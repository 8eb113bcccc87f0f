package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/runtime/declog"
)

// decisionOutput is a record of the log as people and programs see it.
type decisionOutput struct {
	Number     uint64          `json:"number"`
	Position   uint64          `json:"position"`
	Time       *time.Time      `json:"time,omitempty"`
	Trusted    bool            `json:"clock_trusted,omitempty"`
	Height     uint64          `json:"height,omitempty"`
	Staleness  uint64          `json:"staleness_ms,omitempty"`
	Caller     hexBytes        `json:"caller,omitempty"`
	Domain     string          `json:"domain,omitempty"`
	Contract   string          `json:"contract,omitempty"`
	CodeHash   hexBytes        `json:"code_hash,omitempty"`
	Request    json.RawMessage `json:"request,omitempty"`
	Decision   *bool           `json:"decision,omitempty"`
	Code       string          `json:"code,omitempty"`
	Reason     uint64          `json:"reason,omitempty"`
	ReasonID   string          `json:"reason_id,omitempty"`
	TTL        uint64          `json:"ttl_ms,omitempty"`
	Hidden     []string        `json:"hidden,omitempty"`
	GapUntil   uint64          `json:"gap_until,omitempty"` // numbers from Number up to this one may be missing
	Leaf       hexBytes        `json:"leaf,omitempty"`
	Disclosure hexBytes        `json:"disclosure,omitempty"`
}

func outputOfItem(it *declog.Item) *decisionOutput {
	if it.Gap != nil {
		at := time.UnixMilli(it.Gap.Now).UTC()
		return &decisionOutput{Number: it.Gap.First, Position: it.Position, Time: &at, GapUntil: it.Gap.Next}
	}
	return outputOfRecord(it.Position, it.Decision, ^proof.FieldSet(0))
}

// outputOfRecord describes what is shown of a record.
func outputOfRecord(position uint64, r *proof.Record, shown proof.FieldSet) *decisionOutput {
	v := &decisionOutput{
		Number: r.Number, Position: position, Trusted: r.Trusted, Height: r.Height, Staleness: r.Staleness, Domain: r.Domain,
		Contract: r.Contract, Reason: r.Reason, ReasonID: r.ReasonID, TTL: r.TTL, Request: requestText(r.Request),
	}
	if shown.Has(proof.FieldTime) {
		at := time.UnixMilli(r.Now).UTC()
		v.Time = &at
	}
	if shown.Has(proof.FieldCaller) {
		v.Caller = r.Caller[:]
	}
	if r.CodeHash != (abi.Hash{}) {
		v.CodeHash = r.CodeHash[:]
	}
	if shown.Has(proof.FieldDecision) {
		v.Decision = &r.Permit
		if !r.Permit {
			v.Code = r.Code.Name()
		}
	}
	for f := proof.FieldNumber; f <= proof.FieldTerms; f++ {
		if !shown.Has(f) {
			v.Hidden = append(v.Hidden, f.String())
		}
	}
	return v
}

// requestText is a request with the names of AuthZEN, or the bytes in hex of
// one that is none.
func requestText(raw []byte) json.RawMessage {
	if raw == nil {
		return nil
	}
	q, err := abi.ParseDecisionRequest(raw)
	if err != nil {
		text, _ := json.Marshal(hexBytes(raw))
		return text
	}
	v := map[string]any{"action": withProperties(map[string]any{"name": q.Action.Name}, q.Action.Properties), "resource": entityMap(&q.Resource)}
	if q.Subject != nil {
		v["subject"] = entityMap(q.Subject)
	}
	if q.Context != nil {
		v["context"] = cborJSON(q.Context)
	}
	text, _ := json.Marshal(v)
	return text
}

func entityMap(e *abi.Entity) map[string]any {
	return withProperties(map[string]any{"type": e.Type, "id": e.ID}, e.Properties)
}

func withProperties(v map[string]any, properties []byte) map[string]any {
	if properties != nil {
		v["properties"] = cborJSON(properties)
	}
	return v
}

// cborJSON is an item as JSON, or its bytes in hex where JSON has none.
func cborJSON(raw []byte) json.RawMessage {
	text, err := cbor.AppendAsJSON(nil, raw)
	if err != nil {
		text, _ = json.Marshal(hexBytes(raw))
	}
	return text
}

// text is a line for people.
func (v *decisionOutput) text() string {
	if v.GapUntil != 0 {
		return fmt.Sprintf("%d  %s  GAP     up to %d decisions may be missing: the gateway did not end in order", v.Number, v.Time.Format(time.RFC3339), v.GapUntil-v.Number)
	}
	parts := []string{fmt.Sprint(v.Number)}
	if v.Time != nil {
		parts = append(parts, v.Time.Format("2006-01-02T15:04:05.000Z"))
	}
	if v.Decision != nil {
		parts = append(parts, map[bool]string{true: "PERMIT", false: "DENY  "}[*v.Decision])
	}
	for _, s := range []string{v.Code, v.ReasonID} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	if v.Domain != "" {
		parts = append(parts, "domain "+v.Domain)
	}
	if v.Caller != nil {
		parts = append(parts, "caller "+v.Caller.String()[:16])
	}
	if v.Request != nil {
		parts = append(parts, string(v.Request))
	}
	if len(v.Hidden) > 0 {
		parts = append(parts, "hidden: "+strings.Join(v.Hidden, ", "))
	}
	return strings.Join(parts, "  ")
}
