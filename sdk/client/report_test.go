package client_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/quic-go/quic-go"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/sdk/client"
)

func TestReports(t *testing.T) {
	l := newLedger(t)
	var seen []abi.Observation
	var statement []byte
	l.report = func(o *abi.Observation, signed []byte) (abi.Judgement, error) {
		o.Payload = bytes.Clone(o.Payload)
		l.mu.Lock()
		defer l.mu.Unlock()
		seen, statement = append(seen, *o), bytes.Clone(signed)
		return abi.Judgement{Level: abi.LevelAlert, ReasonID: "port", Findings: []string{"telnet"}}, nil
	}
	address, _ := l.serve(t, l.gateway, "127.0.0.1:0")
	c, k := dial(t, l, address)
	l.enrol(k, abi.StatusActive)

	j, err := c.ReportSenML(t.Context(), "senml+json", []byte(`[{"n":"urn:dev:1:t","u":"Cel","v":21.5}]`))
	if err != nil || j.Level != abi.LevelAlert || j.ReasonID != "port" || len(j.Findings) != 1 {
		t.Errorf("telemetry: %+v, %v", j, err)
	}
	yes, icmp := true, uint16(8<<8)
	flows := client.AppendFlows(nil, []client.Flow{
		{Protocol: 6, Remote: []byte{1, 2, 3, 4}, RemotePort: 23, LocalPort: 40000, Bytes: 100, Packets: 2, RemoteName: "x.example", Begun: &yes},
		{Inbound: true, EtherType: 0x888e, Packets: 1},
		{Inbound: true, Protocol: 1, Remote: make([]byte, 16), ICMP: &icmp},
	})
	if _, err := c.Report(t.Context(), &abi.Report{Kind: abi.ObserveFlows, Payload: flows}); err != nil {
		t.Errorf("flows: %v", err)
	}
	l.with(func() {
		if !bytes.Equal(seen[1].Payload, flows) {
			t.Errorf("flows came as %x, sent as %x", seen[1].Payload, flows)
		}
	})
	signed, err := c.SignReport(abi.ObserveFlows, flows)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Report(t.Context(), signed); err != nil {
		t.Errorf("signed: %v", err)
	}
	l.with(func() {
		if !bytes.Equal(statement, signed.Statement) {
			t.Errorf("the statement came as %x", statement)
		}
	})
	later, err := c.SignReport(abi.ObserveFlows, flows)
	if err != nil || reportTime(t, later) <= reportTime(t, signed) {
		t.Errorf("two signed reports of one moment have the same time, %v", err)
	}
	_, err = c.SignReport(abi.ObserveFlows, make([]byte, abi.MaxEvidence+1))
	require(t, err, abi.CodeTooLarge)
	_, err = c.ReportSenML(t.Context(), "senml+json", []byte(`[{"v":1}]`))
	if err == nil {
		t.Error("a record without a name was taken")
	}
}

func reportTime(t *testing.T, r *abi.Report) int64 {
	t.Helper()
	s, err := chain.ParseStatement(r.Statement)
	if err != nil {
		t.Fatal(err)
	}
	p, err := chain.ParseReport(s.Body)
	if err != nil {
		t.Fatal(err)
	}
	return p.Time
}

// receiptOf is the receipt of a decision that is the first of the gateway's log,
// with a request of some length, and the anchor that it needs on the ledger.
func receiptOf(t *testing.T, l *ledger, number uint64, length int) *proof.Receipt {
	t.Helper()
	account := l.gateway.AccountID()
	r := proof.Record{Salt: proof.Salt{1}, Number: number, Height: 3, Domain: "lab", Permit: true, Request: bytes.Repeat([]byte{7}, length)}
	head := proof.Checkpoint{Origin: proof.LogOrigin(chain.ChainID(l.raw), account), Size: 1, Root: r.Leaf()}
	note, err := head.Sign(l.gateway)
	if err != nil {
		t.Fatal(err)
	}
	anchored := chain.Anchored{Size: 1, Root: head.Root, Height: 1, Time: 5, Note: note, Key: l.gateway.Public()}
	l.commit(map[string][]byte{string(chain.AnchorKey(account)): anchored.Append(nil)}, nil, nil)
	made := &proof.Receipt{Account: account, Record: r.Disclose(0), Log: proof.LogProof{Checkpoint: note}}
	l.with(func() { made.Anchor = l.entryLocked(chain.AnchorKey(account)) })
	return made
}

func TestReceiptInParts(t *testing.T) {
	l := newLedger(t)
	raw := receiptOf(t, l, 42, 200_000).Append(nil)
	var asked, anchored atomic.Int32
	l.receipt = func(_ abi.Standing, record uint64, now bool) ([]byte, error) {
		asked.Add(1)
		if now {
			anchored.Add(1)
		}
		if record > 43 {
			return nil, abi.CodeNotReady
		}
		return raw, nil
	}
	address, _ := l.serve(t, l.gateway, "127.0.0.1:0")
	c, _ := dial(t, l, address)
	proven, got, err := c.Receipt(t.Context(), 42, true)
	if err != nil || !proven.Record.Permit || proven.Record.Domain != "lab" || !bytes.Equal(got, raw) {
		t.Errorf("%+v, %d bytes, %v", proven, len(got), err)
	}
	if asked.Load() < 3 || anchored.Load() != 1 {
		t.Errorf("%d parts, anchored %d times", asked.Load(), anchored.Load())
	}
	_, _, err = c.Receipt(t.Context(), 43, false)
	require(t, err, abi.CodeBadProof) // it is another record's
	_, _, err = c.Receipt(t.Context(), 44, false)
	require(t, err, abi.CodeNotReady)
}

// What a gateway may answer instead of a receipt, and what comes of it.
func TestHostileReceipts(t *testing.T) {
	l := newLedger(t)
	good := receiptOf(t, l, 42, 100)
	raw := good.Append(nil)
	forged := *good
	forged.Log.Index = 1
	part := func(b []byte, total int, whole []byte) []byte {
		return abi.AppendPart(nil, &abi.Part{Bytes: b, Total: uint64(total), Hash: sha256.Sum256(whole)})
	}
	changes := byte(0)
	for name, test := range map[string]struct {
		answer func(offset uint64) []byte
		code   abi.Code
	}{
		"good":              {func(uint64) []byte { return part(raw, len(raw), raw) }, abi.OK},
		"another hash":      {func(uint64) []byte { return part(raw, len(raw), []byte("other")) }, abi.CodeHashMismatch},
		"nothing of it":     {func(uint64) []byte { return part(nil, len(raw), raw) }, abi.CodeMalformed},
		"too long":          {func(uint64) []byte { return part(raw, proof.MaxReceipt+1, raw) }, abi.CodeMalformed},
		"longer than total": {func(uint64) []byte { return part(raw[:10], 15, raw) }, abi.CodeMalformed},
		"no part":           {func(uint64) []byte { return cbor.AppendUint(nil, 1) }, abi.CodeMalformed},
		"no receipt":        {func(uint64) []byte { return part([]byte{0xa0}, 1, []byte{0xa0}) }, abi.CodeMalformed},
		"not in the log":    {func(uint64) []byte { b := forged.Append(nil); return part(b, len(b), b) }, abi.CodeBadProof},
		"never the same": {func(offset uint64) []byte {
			changes++
			return part(raw[min(offset, 50):][:50], len(raw), []byte{changes})
		}, abi.CodeBusy},
	} {
		t.Run(name, func(t *testing.T) {
			address := script(t, l, func(w *quic.Stream, q abi.Request) {
				r, err := abi.ParseReceiptRequest(q.Body)
				if err != nil {
					t.Error(err)
				}
				respond(w, &abi.Response{ID: q.ID, Body: test.answer(r.Offset)})
			})
			c, _ := dial(t, l, address)
			proven, _, err := c.Receipt(t.Context(), 42, false)
			if (err == nil) != (test.code == abi.OK) || test.code != abi.OK && !errors.Is(err, test.code) {
				t.Errorf("%+v, %v, want %v", proven, err, test.code)
			}
		})
	}
}

// FuzzInactive: whatever text closes a connection, what is shown of it is short
// and printable.
func FuzzInactive(f *testing.F) {
	f.Add("quarantined: port scan")
	f.Add("isolated: \x1b[2J\x00")
	f.Add(strings.Repeat("ü", 2000))
	f.Fuzz(func(t *testing.T, text string) {
		e := client.NewInactiveError(text)
		if len(e.Error()) > 2000 || strings.ContainsFunc(e.Error(), func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("%q is shown as %q", text, e.Error())
		}
	})
}
