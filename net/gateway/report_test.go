package gateway_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/net/gateway"
)

// signer signs with a device's key.
type signer ed25519.PrivateKey

func (s signer) Public() []byte { return public(ed25519.PrivateKey(s)) }
func (s signer) Sign(message []byte) ([]byte, error) {
	return ed25519.Sign(ed25519.PrivateKey(s), message), nil
}

// telemetry is [{1: "temp", 4: 21}].
var telemetry = []byte{0x81, 0xa2, 1, 0x64, 't', 'e', 'm', 'p', 4, 0x15}

// signed is a device's statement of what it saw.
func signed(t testing.TB, key ed25519.PrivateKey, change func(*chain.Statement, *chain.Report)) []byte {
	t.Helper()
	r := chain.Report{Time: 1, Kind: abi.ObserveTelemetry, Payload: telemetry}
	s := chain.Statement{Chain: abi.Hash{3}, Kind: chain.StatementReport, Expiry: time.Now().Add(time.Hour).UnixMilli()}
	if change != nil {
		change(&s, &r)
	}
	s.Body = r.Append(nil)
	raw, err := chain.SignStatement(&s, signer(key))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestReport(t *testing.T) {
	n := newNode()
	key, monitor, owner, stranger := newKey(t), newKey(t), newKey(t), newKey(t)
	id := abi.Hash{1}
	n.set(public(key), device(abi.StatusActive))
	n.set(public(monitor), abi.Standing{Known: true, Account: abi.Hash{4}, Roles: abi.RoleEnforcementPoint})
	n.set(public(owner), abi.Standing{Known: true, Account: abi.Hash{5}})
	n.set(public(stranger), abi.Standing{Known: true, Account: abi.Hash{6}, Device: abi.StatusActive})
	n.devices[id] = chain.Device{Owner: abi.Hash{5}}
	var seen *abi.Observation
	var evidence []byte
	n.report = func(o *abi.Observation, statement []byte) (abi.Judgement, error) {
		kept := *o
		kept.Payload = bytes.Clone(o.Payload)
		n.with(func() { seen, evidence = &kept, bytes.Clone(statement) })
		return abi.Judgement{Level: abi.LevelAlert, ReasonID: "warm"}, nil
	}
	p := serve(t, n, nil)
	statement := signed(t, key, nil)
	pack := []byte(`[{"n":"temp","v":21}]`)
	for name, test := range map[string]struct {
		by     ed25519.PrivateKey
		report abi.Report
		code   abi.Code
	}{
		"its own":                   {key, abi.Report{Payload: telemetry}, abi.OK},
		"its own by name":           {key, abi.Report{Payload: telemetry, Device: &id}, abi.OK},
		"as JSON":                   {key, abi.Report{Format: "senml+json", Pack: pack}, abi.OK},
		"as CBOR":                   {key, abi.Report{Format: "senml+cbor", Pack: []byte{0x81, 0xa2, 0, 0x64, 't', 'e', 'm', 'p', 2, 0x15}}, abi.OK},
		"signed":                    {key, abi.Report{Statement: statement}, abi.OK},
		"by a monitor":              {monitor, abi.Report{Payload: telemetry, Device: &id}, abi.OK},
		"signed, through a monitor": {monitor, abi.Report{Statement: statement, Device: &id}, abi.OK},
		"by the owner":              {owner, abi.Report{Payload: telemetry, Device: &id}, abi.OK},

		"by another device":         {stranger, abi.Report{Payload: telemetry, Device: &id}, abi.CodeNotPermitted},
		"of no device":              {owner, abi.Report{Payload: telemetry}, abi.CodeUnknownDevice},
		"of a device that is not":   {monitor, abi.Report{Payload: telemetry, Device: &abi.Hash{9}}, abi.CodeUnknownDevice},
		"in an unknown format":      {key, abi.Report{Format: "senml+exi", Pack: pack}, abi.CodeBadArgument},
		"with a number too exact":   {key, abi.Report{Format: "senml+json", Pack: []byte(`[{"n":"a","v":0.12345678901234567890123}]`)}, abi.CodeBadNumber},
		"with a pack that is none":  {key, abi.Report{Format: "senml+json", Pack: []byte(`[{`)}, abi.CodeMalformed},
		"signed by another":         {stranger, abi.Report{Statement: statement}, abi.CodeBadKey},
		"signed of another kind":    {key, abi.Report{Kind: abi.ObserveLocation, Statement: statement}, abi.CodeBadArgument},
		"signed for another chain":  {key, abi.Report{Statement: signed(t, key, func(s *chain.Statement, _ *chain.Report) { s.Chain = abi.Hash{} })}, abi.CodeWrongChain},
		"signed long ago":           {key, abi.Report{Statement: signed(t, key, func(s *chain.Statement, _ *chain.Report) { s.Expiry = 1 })}, abi.CodeExpired},
		"signed for something else": {key, abi.Report{Statement: signed(t, key, func(s *chain.Statement, _ *chain.Report) { s.Kind = chain.StatementEnrol })}, abi.CodeBadArgument},
		"with a broken signature":   {key, abi.Report{Statement: append(bytes.Clone(statement[:len(statement)-1]), statement[len(statement)-1]^1)}, abi.CodeBadSignature},
		"with no statement in it":   {key, abi.Report{Statement: []byte{0x80}}, abi.CodeMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			if test.report.Kind == 0 {
				test.report.Kind = abi.ObserveTelemetry
			}
			n.with(func() { seen, evidence = nil, nil })
			got := open(t, p.connect(t, test.by)).ask(1, abi.OpReport, abi.AppendReport(nil, &test.report))
			n.mu.Lock()
			defer n.mu.Unlock()
			if got.Code != test.code || (seen != nil) != (test.code == abi.OK) {
				t.Fatalf("%v; handed on: %+v", got.Code, seen)
			}
			if test.code != abi.OK {
				return
			}
			if seen.Device != id || seen.Kind != test.report.Kind || !bytes.Equal(seen.Payload, telemetry) || !bytes.Equal(evidence, test.report.Statement) {
				t.Errorf("handed on: %+v with statement %x", seen, evidence)
			}
			j, err := abi.ParseJudgement(got.Body)
			if err != nil || j.Level != abi.LevelAlert || j.ReasonID != "warm" {
				t.Errorf("judgement %+v, %v", j, err)
			}
		})
	}
}

// TestLongReportsTakeMoreTokens: what a report costs grows with its length.
func TestLongReportsTakeMoreTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		n.other = device(abi.StatusActive)
		n.report = func(*abi.Observation, []byte) (abi.Judgement, error) { return abi.Judgement{}, nil }
		w := open(t, serveSim(t, n, func(c *gateway.Config) { c.RequestRate = 100 }).connect(t, newKey(t)))
		long := append([]byte{0x81, 0x59, 0x7f, 0xff}, make([]byte, 0x7fff)...)
		report := abi.AppendReport(nil, &abi.Report{Kind: abi.ObserveTelemetry, Payload: long})
		var last abi.Code
		taken := 0
		for last = abi.OK; last == abi.OK; taken++ {
			last = w.ask(uint64(taken+1), abi.OpReport, report).Code
		}
		if taken > 5 || last != abi.CodeRateLimited {
			t.Errorf("%d reports of 32 KiB were taken at once, then %v", taken, last)
		}
	})
}

func TestReceiptsComeInParts(t *testing.T) {
	n := newNode()
	whole := bytes.Repeat([]byte("0123456789abcdef"), 15_000)
	var asked []bool
	n.receipt = func(caller abi.Standing, record uint64, now bool) ([]byte, error) {
		n.with(func() { asked = append(asked, now) })
		if caller.Account != active.Account || record != 5 {
			return nil, abi.CodeNotPermitted
		}
		return whole, nil
	}
	w := open(t, serve(t, n, nil).connect(t, newKey(t)))
	var got []byte
	for id := uint64(1); len(got) < len(whole); id++ {
		body := abi.AppendReceiptRequest(nil, &abi.ReceiptRequest{Record: 5, Now: id == 1, Offset: uint64(len(got))})
		part, err := abi.ParsePart(w.ask(id, abi.OpReceipt, body).Body)
		if err != nil || part.Total != uint64(len(whole)) || part.Hash != sha256.Sum256(whole) || len(part.Bytes) == 0 {
			t.Fatalf("part of %d: %d bytes of %d, %v", len(got), len(part.Bytes), part.Total, err)
		}
		got = append(got, part.Bytes...)
	}
	n.with(func() {
		if !bytes.Equal(got, whole) || !asked[0] || asked[1] {
			t.Errorf("%d bytes, asked %v", len(got), asked)
		}
	})
	for offset, code := range map[uint64]abi.Code{uint64(len(whole)): abi.OK, uint64(len(whole)) + 1: abi.CodeBadArgument, 1<<64 - 1: abi.CodeBadArgument} {
		body := abi.AppendReceiptRequest(nil, &abi.ReceiptRequest{Record: 5, Offset: offset})
		if got := w.ask(99, abi.OpReceipt, body); got.Code != code {
			t.Errorf("offset %d: %v", offset, got.Code)
		}
	}
	if got := w.ask(99, abi.OpReceipt, abi.AppendReceiptRequest(nil, &abi.ReceiptRequest{Record: 6})); got.Code != abi.CodeNotPermitted {
		t.Errorf("another's: %v", got.Code)
	}
}

// TestAnchorsOnDemandAreScarce: they make transactions.
func TestAnchorsOnDemandAreScarce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		n.receipt = func(abi.Standing, uint64, bool) ([]byte, error) { return []byte{0xa0}, nil }
		w := open(t, serveSim(t, n, nil).connect(t, newKey(t)))
		anchored := 0
		body := abi.AppendReceiptRequest(nil, &abi.ReceiptRequest{Record: 5, Now: true})
		for id := range uint64(50) {
			if w.ask(id+1, abi.OpReceipt, body).Code == abi.OK {
				anchored++
			}
			<-time.After(100 * time.Millisecond)
		}
		if anchored < 4 || anchored > 7 {
			t.Errorf("%d anchors in five seconds", anchored)
		}
		if got := w.ask(99, abi.OpReceipt, abi.AppendReceiptRequest(nil, &abi.ReceiptRequest{Record: 5})); got.Code != abi.OK {
			t.Errorf("of an anchored record: %v", got.Code)
		}
	})
}

func TestEvidenceIsTheOwnersAndAuthorities(t *testing.T) {
	n := newNode()
	id := abi.Hash{1}
	n.devices[id] = chain.Device{Owner: abi.Hash{5}}
	n.scan = func(int) ([][2][]byte, bool) {
		var pairs [][2][]byte
		for number := range uint64(8) {
			item := chain.SealedItem{Owner: make([]byte, chain.MaxSealed), Authorities: []chain.SealedCopy{{Account: abi.Hash{6}, Text: make([]byte, chain.MaxSealed)}, {Account: abi.Hash{7}, Text: make([]byte, chain.MaxSealed)}}}
			pairs = append(pairs, [2][]byte{chain.SealedKey(id, number+3), item.Append(nil)})
		}
		return pairs, false
	}
	p := serve(t, n, nil)
	ask := func(standing abi.Standing, id abi.Hash) abi.Response {
		key := newKey(t)
		n.set(public(key), standing)
		return open(t, p.connect(t, key)).ask(1, abi.OpEvidence, cbor.AppendBytes([]byte{0xa1, 1}, id[:]))
	}
	for name, standing := range map[string]abi.Standing{
		"the owner":    {Known: true, Account: abi.Hash{5}},
		"an authority": {Known: true, Account: abi.Hash{6}, Roles: abi.RoleAuthority},
	} {
		page, err := abi.ParseSealedPage(ask(standing, id).Body)
		if err != nil || len(page.Items) != 6 || !page.More || page.Items[0].Number != 3 || page.Items[5].Number != 8 {
			t.Errorf("%s: %d items, more %v, %v", name, len(page.Items), page.More, err)
			continue
		}
		if _, err := chain.ParseSealedItem(page.Items[0].Item); err != nil {
			t.Error(err)
		}
	}
	if got := ask(abi.Standing{Known: true, Account: abi.Hash{7}, Roles: abi.AllRoles &^ abi.RoleAuthority}, id); got.Code != abi.CodeNotPermitted {
		t.Errorf("another: %v", got.Code)
	}
	if got := ask(abi.Standing{Known: true, Account: abi.Hash{7}, Roles: abi.RoleAuthority}, abi.Hash{9}); got.Code != abi.CodeUnknownDevice {
		t.Errorf("no such device: %v", got.Code)
	}
}
