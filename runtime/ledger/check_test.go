package ledger

import (
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
)

func wantCode(t testing.TB, what string, err error, want abi.Code) {
	t.Helper()
	var code abi.Code
	if want == abi.OK && err == nil {
		return
	}
	if !errors.As(err, &code) || code != want {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// forge swaps two bits of a transaction's signature.
func forge(raw []byte) []byte {
	b := append([]byte{}, raw...)
	b[len(b)-1] ^= 1
	return b
}

func TestCheck(t *testing.T) {
	w := newWorld(t, nil)
	w.enrol("lock", nil)
	w.must(operator, chain.OpGrant, &chain.Grant{Key: person("poor").Public(), GasQuota: 1_000_000})
	w.must(owner, chain.OpDeviceStatus, &chain.DeviceStatus{Device: person("lock").id(), Status: abi.StatusSuspended})
	w.must(nobody, chain.OpRotate, w.rotation(nobody, "new key", w.l.Head().Time+1000))
	done := w.tx(operator, chain.OpBind, &chain.Bind{Domain: "d", Contract: "none"})
	w.block(done)
	w.want(w.block(w.sign(owner, chain.Body{Op: 999, Args: []byte{0xa0}, Lane: 7, Sequence: 3}))[0], abi.CodeUnknownOp)

	body := chain.Body{Op: chain.OpCall, Args: (&chain.Call{Contract: "c"}).Append(nil)}
	with := func(change func(*chain.Body)) []byte {
		b := body
		b.ValidUntil = w.now + 60_000
		change(&b)
		if b.Sequence != 0 {
			b.ValidUntil = 0
		}
		return w.sign(owner, b)
	}
	good := with(func(b *chain.Body) {})
	limit := chain.DefaultParams().TxGas
	for _, c := range []struct {
		name string
		raw  []byte
		want abi.Code
	}{
		{"good", good, abi.OK},
		{"good again, from memory", good, abi.OK},
		{"empty", nil, abi.CodeMalformed},
		{"garbage", []byte("hello"), abi.CodeMalformed},
		{"trailing byte", append(append([]byte{}, good...), 0), abi.CodeMalformed},
		{"too large", make([]byte, abi.MaxTransaction+1), abi.CodeTooLarge},
		{"signature of something else", forge(good), abi.CodeBadSignature},
		{"other chain", with(func(b *chain.Body) { b.Chain[0]++; b.Chain[1] = 1 }), abi.CodeWrongChain},
		{"over", with(func(b *chain.Body) { b.ValidUntil = w.now - 1 }), abi.CodeExpired},
		{"last moment", with(func(b *chain.Body) { b.ValidUntil = w.l.Head().Time }), abi.OK},
		{"as far ahead as may be", with(func(b *chain.Body) { b.ValidUntil = w.l.Head().Time + abi.MaxWindow }), abi.OK},
		{"too far ahead", with(func(b *chain.Body) { b.ValidUntil = w.l.Head().Time + abi.MaxWindow + 1 }), abi.CodeTooFarAhead},
		{"no gas", with(func(b *chain.Body) { b.Gas = 1 }), abi.CodeGasCap},
		{"too little gas", with(func(b *chain.Body) { b.Gas = PriceOf(b.Op, len(b.Args)) - 1 }), abi.CodeGasCap},
		{"all the gas", with(func(b *chain.Body) { b.Gas = limit }), abi.OK},
		{"too much gas", with(func(b *chain.Body) { b.Gas = limit + 1 }), abi.CodeGasCap},
		{"lane", with(func(b *chain.Body) { b.Lane, b.Sequence = 7, 4 }), abi.OK},
		{"lane, gap", with(func(b *chain.Body) { b.Lane, b.Sequence = 7, 400 }), abi.OK},
		{"other lane", with(func(b *chain.Body) { b.Lane, b.Sequence = 8, 1 }), abi.OK},
		{"lane, again", with(func(b *chain.Body) { b.Lane, b.Sequence = 7, 3 }), abi.CodeOutOfSequence},
		{"lane, earlier", with(func(b *chain.Body) { b.Lane, b.Sequence = 7, 1 }), abi.CodeOutOfSequence},
		{"stranger", w.sign("stranger", body), abi.CodeUnknownAccount},
		{"replaced key", w.sign(nobody, body), abi.CodeKeyNotCurrent},
		{"new key", w.sign("new key", body), abi.OK},
		{"suspended device", w.sign("lock", body), abi.CodeDeviceInactive},
		{"who cannot pay", w.sign("poor", body), abi.CodeGasQuota},
		{"replay", done, abi.CodeReplayed},
		{"tick without a timer", chain.AppendTick(nil, w.l.Head().Time), abi.CodeStaleTick},
		{"not a tick", cbor.AppendInt(cbor.AppendText(cbor.AppendArray(nil, 2), "tock"), 5), abi.CodeMalformed},
	} {
		_, _, err := w.l.Check(c.raw)
		wantCode(t, c.name, err, c.want)
	}
}

// A good signature that was seen once must not vouch for the same transaction
// with other bytes in the place of the signature: the id is the same.
func TestCheckRemembersTheSignatureItself(t *testing.T) {
	w := newWorld(t, nil)
	good := w.tx(owner, chain.OpCall, &chain.Call{Contract: "c"})
	if _, _, err := w.l.Check(good); err != nil {
		t.Fatal(err)
	}
	if !w.l.verified.has(sha256.Sum256(good)) {
		t.Error("the signature will be checked again in the block")
	}
	bad := forge(good)
	a, _ := chain.ParseTx(good)
	b, err := chain.ParseTx(bad)
	if err != nil || a.ID != b.ID {
		t.Fatal("the forgery has another id, which is not what is tested here", err)
	}
	_, _, err = w.l.Check(bad)
	wantCode(t, "forged", err, abi.CodeBadSignature)
}

// A node without a right clock measures by the time of its newest block.
func TestCheckWithSlowClock(t *testing.T) {
	w := newWorld(t, nil)
	w.must(operator, chain.OpGrant, &chain.Grant{Key: person("x").Public()})
	w.now, w.trusted = 5, false
	_, _, err := w.l.Check(w.sign(owner, chain.Body{Op: chain.OpCall, Args: (&chain.Call{Contract: "c"}).Append(nil)}))
	wantCode(t, "in time by the block", err, abi.OK)
}

// Check tells an early tick from a due one.
func TestCheckTick(t *testing.T) {
	w := newWorld(t, nil)
	hash := w.upload(developer, scriptWasm)
	w.must(developer, chain.OpDeploy, &chain.Deploy{Name: "c", Code: hash})
	due, _ := w.l.NextTimer()
	_, _, err := w.l.Check(chain.AppendTick(nil, due))
	wantCode(t, "early", err, abi.CodeStaleTick)
	w.now = due
	_, _, err = w.l.Check(chain.AppendTick(nil, due))
	wantCode(t, "due", err, abi.OK)
	_, _, err = w.l.Check(chain.AppendTick(nil, due-1))
	wantCode(t, "of no timer", err, abi.CodeStaleTick)
}

func FuzzCheck(f *testing.F) {
	w := newWorld(f, nil)
	good := w.tx(owner, chain.OpCall, &chain.Call{Contract: "c"})
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add(forge(good))
	f.Add(chain.AppendTick(nil, start))
	f.Add(w.sign("stranger", chain.Body{Op: 1, Args: []byte{0xa0}, Lane: 1, Sequence: 1}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		tx, _, err := w.l.Check(raw)
		if err == nil && string(tx.Raw) != string(good) {
			t.Fatalf("a transaction that nobody signed passes: %x", raw)
		}
		if _, ok := refusal(err); err != nil && !ok {
			t.Fatalf("an error without a code: %v", err)
		}
	})
}

// The scanner of requests admits what abi's parser admits, and what it makes
// of them with another subject is what the parser makes.
func FuzzRequest(f *testing.F) {
	q := abi.DecisionRequest{Action: abi.Action{Name: "read", Properties: []byte{0xa1, 0x61, 'x', 1}}, Resource: abi.Entity{Type: "door", ID: "1"}, Context: []byte{0xa0}}
	f.Add(abi.AppendDecisionRequest(nil, &q))
	q.Subject = &abi.Entity{Type: "user", ID: "bob", Properties: []byte{0xa0}}
	f.Add(abi.AppendDecisionRequest(nil, &q))
	f.Add([]byte{0xa2, 0x02, 0xa0, 0x03, 0xa0})
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := scanRequest(raw)
		want, wantErr := abi.ParseDecisionRequest(raw)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("scanned: %v, parsed: %v", err, wantErr)
		}
		if err != nil {
			code, ok := refusal(err)
			if parsed, _ := refusal(wantErr); !ok || code != parsed {
				t.Fatalf("scanned: %v, parsed: %v", err, wantErr)
			}
			return
		}
		if (want.Subject == nil) != (got.subjectEnd == 0) || want.Subject != nil && (want.Subject.Type != string(got.kind) || want.Subject.ID != string(got.id)) {
			t.Fatalf("another subject: %s %s", got.kind, got.id)
		}
		want.Subject = &abi.Entity{Type: "device", ID: "x"}
		subject := []byte{0xa2, 0x01, 0x66, 'd', 'e', 'v', 'i', 'c', 'e', 0x02, 0x61, 'x'}
		if out := got.appendWith(nil, subject); string(out) != string(abi.AppendDecisionRequest(nil, &want)) {
			t.Fatalf("%x becomes %x", raw, out)
		}
	})
}
