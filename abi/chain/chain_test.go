package chain

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// pairs encodes a map of the given keys and encoded values.
func pairs(kv ...any) []byte {
	var f fields
	for i := 0; i < len(kv); i += 2 {
		f.raw(uint64(kv[i].(int)), kv[i+1].([]byte))
	}
	return f.appendTo(nil)
}

func encUint(v uint64) []byte  { return cbor.AppendUint(nil, v) }
func encText(v string) []byte  { return cbor.AppendText(nil, v) }
func encBytes(v []byte) []byte { return cbor.AppendBytes(nil, v) }
func encHash(s string) []byte  { h := hash(s); return encBytes(h[:]) }

// TestArgumentsRefused: each is well-formed CBOR that no sender may mean.
func TestArgumentsRefused(t *testing.T) {
	key := encBytes(newEd("alice").Public())
	h := encHash("x")
	text := encText("x")
	long := encText(strings.Repeat("x", MaxText+1))
	labels := func(n int) []byte {
		b := cbor.AppendMap(nil, n)
		for i := range n {
			b = cbor.AppendText(cbor.AppendText(b, string(rune('a'+i))), "v")
		}
		return b
	}
	tests := []struct {
		kind string
		in   []byte
		code abi.Code
	}{
		{"grant", pairs(1, key), abi.CodeBadArgument},
		{"grant", pairs(1, key, 2, encUint(uint64(abi.AllRoles)+1)), abi.CodeBadArgument},
		{"grant", pairs(1, key, 2, encUint(math.MaxUint64)), abi.CodeBadArgument},
		{"grant", pairs(1, encBytes(make([]byte, 32)), 2, encUint(0)), abi.CodeBadKey},
		{"grant", pairs(1, encBytes(make([]byte, 33)), 2, encUint(0)), abi.CodeBadKey},
		{"grant", pairs(1, encBytes(nil), 2, encUint(0)), abi.CodeBadKey},
		{"grant", pairs(1, key, 2, encUint(0), 3, encBytes(nil)), abi.CodeMalformed},
		{"grant", pairs(1, key, 2, encUint(0), 4, encUint(0)), abi.CodeMalformed},
		{"grant", pairs(1, key, 2, encUint(0), 5, encUint(0)), abi.CodeMalformed},
		{"enrol", pairs(1, encBytes([]byte{1}), 2, []byte{0xa0}), abi.CodeBadArgument},
		{"enrol", pairs(1, encBytes([]byte{1}), 2, labels(MaxLabels+1)), abi.CodeTooLarge},
		{"enrol", pairs(1, encBytes([]byte{1}), 2, []byte{0xa1, 0x60, 0x60}), abi.CodeBadArgument},
		{"enrol", pairs(1, encBytes([]byte{1}), 2, []byte{0xa1, 0x61, 'a', 0x61, 0x1b}), abi.CodeBadArgument},
		{"enrol", pairs(1, encBytes([]byte{1}), 2, []byte{0xa1, 0x01, 0x61, 'a'}), abi.CodeMalformed},
		{"enrol", pairs(1, encBytes([]byte{1}), 2, []byte{0xa2, 0x61, 'b', 0x60, 0x61, 'a', 0x60}), abi.CodeMalformed},
		{"enrolment", pairs(1, h, 2, text, 3, text), abi.CodeBadArgument},
		{"enrolment", pairs(1, h, 2, encText(""), 3, text, 4, text), abi.CodeBadArgument},
		{"enrolment", pairs(1, h, 2, long, 3, text, 4, text), abi.CodeBadArgument},
		{"enrolment", pairs(1, h, 2, encText("a\x00b"), 3, text, 4, text), abi.CodeBadArgument},
		{"enrolment", pairs(1, h, 2, text, 3, encText("\u009b31m"), 4, text), abi.CodeBadArgument},
		{"enrolment", pairs(1, h, 2, text, 3, text, 4, text, 5, encBytes(make([]byte, 31))), abi.CodeMalformed},
		{"device-status", pairs(1, h, 2, encUint(0)), abi.CodeBadStatus},
		{"device-status", pairs(1, h, 2, encUint(6)), abi.CodeBadStatus},
		{"device-status", pairs(1, h, 2, encUint(257)), abi.CodeBadArgument},
		{"device-status", pairs(1, h, 2, encUint(1), 3, encText("")), abi.CodeBadArgument},
		{"device-status", pairs(1, h, 2, encUint(1), 3, encText("two\nlines")), abi.CodeBadArgument},
		{"chunk", pairs(1, h, 2, encUint(0), 3, encBytes(nil)), abi.CodeTooLarge},
		{"chunk", pairs(1, h, 2, encUint(0), 3, encBytes(make([]byte, abi.MaxChunk+1))), abi.CodeTooLarge},
		{"chunk", pairs(1, h, 2, encUint(1<<32), 3, encBytes([]byte{1})), abi.CodeBadArgument},
		{"deploy", pairs(1, encText("Access"), 2, h), abi.CodeBadArgument},
		{"deploy", pairs(1, encText("-a"), 2, h), abi.CodeBadArgument},
		{"deploy", pairs(1, encText(strings.Repeat("a", abi.MaxName+1)), 2, h), abi.CodeBadArgument},
		{"deploy", pairs(1, text, 2, h, 3, encBytes(nil)), abi.CodeMalformed},
		{"deploy", pairs(1, text, 2, h, 4, long), abi.CodeBadArgument},
		{"call", pairs(1, encText("a/b"), 2, encBytes(nil)), abi.CodeBadArgument},
		{"bind", pairs(1, text), abi.CodeBadArgument},
		{"issue-token", pairs(1, h, 2, h, 3, text), abi.CodeBadArgument},
		{"revoke-token", pairs(2, h), abi.CodeBadArgument},
		{"revoke-token", pairs(1, encBytes(make([]byte, 31))), abi.CodeMalformed},
		{"rotation-body", pairs(1, h, 2, h), abi.CodeBadArgument},
		{"upload", pairs(1, h, 2, []byte{0x20}), abi.CodeMalformed},
		{"propose", pairs(1, encUint(2), 2, pairs(1, encUint(3))), abi.CodeBadArgument},
		{"propose", pairs(1, encUint(2), 2, pairs(1, encUint(3)), 3, encText("")), abi.CodeBadArgument},
		{"propose", pairs(1, encUint(2), 2, pairs(1, encUint(3)), 3, long), abi.CodeBadArgument},
		{"propose", pairs(1, encUint(2), 2, pairs(1, encUint(3)), 3, encText("a\x1b[2Jb")), abi.CodeBadArgument},
		{"propose", pairs(1, encUint(0), 2, pairs(1, encUint(3)), 3, text), abi.CodeUnknownOp},
		{"propose", pairs(1, encUint(11), 2, pairs(1, encUint(3)), 3, text), abi.CodeUnknownOp},
		{"propose", pairs(1, encUint(10), 2, pairs(1, encUint(3)), 3, text), abi.CodeMalformed},
		{"propose", pairs(1, encUint(1), 2, pairs(1, encUint(3)), 3, text), abi.CodeMalformed},
		{"propose", pairs(1, encUint(6), 2, pairs(1, encUint(1)), 3, text), abi.CodeBadArgument},
		{"propose", pairs(1, encUint(6), 2, append(fullParams().Append(nil)[:1:1], 0), 3, text), abi.CodeMalformed},
		{"propose", pairs(1, encUint(2), 2, []byte{0x80}, 3, text), abi.CodeBadArgument},
		{"vote", pairs(2, text), abi.CodeBadArgument},
		{"vote", pairs(1, encUint(1), 2, encText("")), abi.CodeBadArgument},
		{"guardians", pairs(1, []byte{0x80}, 2, encUint(1)), abi.CodeBadArgument},
		{"guardians", pairs(1, []byte{0x80}, 3, encUint(1)), abi.CodeBadArgument},
		{"guardians", pairs(1, append([]byte{0x81}, h...)), abi.CodeBadArgument},
		{"guardians", pairs(1, append([]byte{0x81}, h...), 2, encUint(0)), abi.CodeMalformed},
		{"guardians", pairs(1, append([]byte{0x81}, h...), 2, encUint(2)), abi.CodeBadArgument},
		{"guardians", pairs(1, append(append([]byte{0x82}, h...), h...), 2, encUint(1)), abi.CodeBadArgument},
		{"guardians", pairs(1, append([]byte{0x81}, h...), 2, encUint(1), 3, encUint(MaxRecoveryDelay+1)), abi.CodeBadArgument},
		{"guardians", pairs(1, append([]byte{0x81}, h...), 2, encUint(1), 3, encUint(math.MaxUint64)), abi.CodeBadArgument},
		{"guardians", pairs(1, append([]byte{0x91}, bytes.Repeat(h, 17)...), 2, encUint(1)), abi.CodeTooLarge},
		{"add-validator", pairs(1, encBytes([]byte{1}), 2, encUint(0)), abi.CodeMalformed},
		{"add-validator", pairs(1, encBytes([]byte{1}), 2, encUint(uint64(abi.AllRoles)+1)), abi.CodeBadArgument},
		{"remove-validator", pairs(2, encUint(1)), abi.CodeBadArgument},
		{"replace-validator", pairs(1, encUint(1)), abi.CodeBadArgument},
		{"recover", pairs(1, h), abi.CodeBadArgument},
		{"outcome", pairs(1, h, 2, encUint(0)), abi.CodeBadArgument},
		{"outcome", pairs(1, h, 2, encUint(0), 3, encUint(0), 4, encUint(0)), abi.CodeMalformed},
		{"outcome", pairs(1, h, 2, encUint(uint64(abi.CodeAborted)), 3, encUint(0)), abi.CodeMalformed},
		{"outcome", pairs(1, h, 2, encUint(1<<16), 3, encUint(0)), abi.CodeBadArgument},
		{"outcome", pairs(1, h, 2, encUint(0), 3, encUint(0), 5, encBytes(nil)), abi.CodeMalformed},
		{"outcome", pairs(1, h, 2, encUint(0), 3, encUint(0), 6, []byte{0x80}), abi.CodeMalformed},
	}
	byName := map[string]codec{}
	for _, c := range messages {
		byName[c.name] = c
	}
	for _, tt := range tests {
		_, err := byName[tt.kind].again(tt.in)
		if c, _ := errors.AsType[abi.Code](err); err == nil || c != tt.code {
			t.Errorf("%s %x: %v, want %v", tt.kind, tt.in, err, tt.code)
		}
	}
}

// TestRecordsDoNotTruncate: a number that does not fit its type is refused,
// not cut to one that means something else.
func TestRecordsDoNotTruncate(t *testing.T) {
	for _, tt := range []struct {
		c  codec
		in []byte
	}{
		{codecOf("params", ParseParams), pairs(2, encUint(257))},
		{codecOf("device", ParseDevice), pairs(5, encUint(257))},
		{codecOf("contract", ParseContract), pairs(3, encUint(258))},
		{codecOf("contract", ParseContract), pairs(6, encUint(1<<16))},
		{codecOf("contract", ParseContract), pairs(7, encUint(1<<16))},
		{codecOf("contract-version", ParseContractVersion), pairs(7, encUint(258))},
		{codecOf("contract-version", ParseContractVersion), pairs(8, encUint(1<<16))},
		{codecOf("contract-version", ParseContractVersion), pairs(9, encUint(1<<16))},
		{codecOf("quota", ParseQuota), pairs(3, encUint(1<<63))},
		{codecOf("params", ParseParams), pairs(17, encUint(1<<63))},
		{codecOf("proposal", ParseProposal), pairs(2, []byte{0xa0}, 8, encUint(258))},
		{codecOf("proposal", ParseProposal), pairs(2, []byte{0xa0}, 11, encUint(1<<63))},
		{codecOf("proposal", ParseProposal), pairs(2, []byte{0xa0}, 12, encUint(1<<63))},
		{codecOf("proposal", ParseProposal), pairs(2, []byte{0xa0}, 15, encUint(1<<16))},
	} {
		if _, err := tt.c.again(tt.in); err == nil {
			t.Errorf("%s: %x was accepted", tt.c.name, tt.in)
		} else {
			checkCode(t, err)
		}
	}
}

func TestBodyRefused(t *testing.T) {
	h, n, args := encHash("chain"), encUint(1), []byte{0xa0}
	lane := []byte{0x82, 0, 1}
	for name, in := range map[string][]byte{
		"no guard":            pairs(1, h, 4, n, 5, n, 6, args),
		"both guards":         pairs(1, h, 2, n, 3, lane, 4, n, 5, n, 6, args),
		"window of 0":         pairs(1, h, 2, encUint(0), 4, n, 5, n, 6, args),
		"negative window":     pairs(1, h, 2, []byte{0x20}, 4, n, 5, n, 6, args),
		"window beyond int64": pairs(1, h, 2, encUint(1<<63), 4, n, 5, n, 6, args),
		"sequence 0":          pairs(1, h, 3, []byte{0x82, 0, 0}, 4, n, 5, n, 6, args),
		"sequence too large":  pairs(1, h, 3, append([]byte{0x82, 0}, encUint(1<<63)...), 4, n, 5, n, 6, args),
		"lane too large":      pairs(1, h, 3, append(append([]byte{0x82}, encUint(1<<63)...), 1), 4, n, 5, n, 6, args),
		"lane of three":       pairs(1, h, 3, []byte{0x83, 0, 1, 2}, 4, n, 5, n, 6, args),
		"no gas":              pairs(1, h, 2, n, 5, n, 6, args),
		"no operation":        pairs(1, h, 2, n, 4, n, 6, args),
		"no arguments":        pairs(1, h, 2, n, 4, n, 5, n),
		"no chain":            pairs(2, n, 4, n, 5, n, 6, args),
		"short chain":         pairs(1, encBytes(make([]byte, 31)), 2, n, 4, n, 5, n, 6, args),
		"arguments no map":    pairs(1, h, 2, n, 4, n, 5, n, 6, []byte{0x80}),
		"unordered arguments": pairs(1, h, 2, n, 4, n, 5, n, 6, []byte{0xa2, 2, 0, 1, 0}),
		"key 7":               pairs(1, h, 2, n, 4, n, 5, n, 6, args, 7, n),
		"key 66":              pairs(1, h, 4, n, 5, n, 6, args, 66, n), // 66 mod 64 is the window's bit
	} {
		if _, err := parseBody(in); err == nil {
			t.Errorf("%s was accepted", name)
		} else {
			checkCode(t, err)
		}
		raw := must(Seal(in, PurposeTransaction, newEd("alice")))(t)
		if _, err := ParseTx(raw); err == nil {
			t.Errorf("%s was accepted when signed", name)
		}
	}
}

func TestTickRefused(t *testing.T) {
	for name, in := range map[string][]byte{
		"due 0":         AppendTick(nil, 0),
		"negative due":  AppendTick(nil, -1),
		"another label": cbor.AppendInt(cbor.AppendText([]byte{0x82}, "tock"), 1),
		"three items":   append(cbor.AppendInt(cbor.AppendText([]byte{0x83}, "tick"), 1), 0),
		"left over":     append(AppendTick(nil, 1), 0),
		"not shortest":  append(cbor.AppendText([]byte{0x82}, "tick"), 0x18, 1),
	} {
		if _, err := ParseTx(in); !errors.Is(err, abi.CodeMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if tx := must(ParseTx(AppendTick(nil, math.MaxInt64)))(t); tx.Tick != math.MaxInt64 {
		t.Errorf("tick at the end of time: %+v", tx)
	}
}

func TestTransactionSize(t *testing.T) {
	body := &Body{Chain: hash("chain"), ValidUntil: 1, Gas: 1, Op: OpCall}
	body.Args = (&Call{Contract: "a", Message: make([]byte, abi.MaxTransaction)}).Append(nil)
	if _, err := SignTx(body, newEd("alice")); !errors.Is(err, abi.CodeTooLarge) {
		t.Errorf("SignTx: %v", err)
	}
	raw := must(Seal(AppendBody(nil, body), PurposeTransaction, newEd("alice")))(t)
	if _, err := ParseTx(raw); !errors.Is(err, abi.CodeTooLarge) {
		t.Errorf("ParseTx: %v", err)
	}
}

// TestStatementBinds: a statement is good for its chain, kind and time only,
// and only while nobody touched it.
func TestStatementBinds(t *testing.T) {
	chain, device := hash("chain"), newEd("device")
	s := &Statement{Chain: chain, Kind: StatementRotate, Expiry: 1000, Body: RotationBody(hash("account"))}
	raw := must(SignStatement(s, device))(t)
	got := must(OpenStatement(raw, chain, StatementRotate, 1000))(t)
	if !bytes.Equal(got.Key, device.Public()) || must(ParseRotationBody(got.Body))(t) != hash("account") {
		t.Errorf("%+v", got)
	}
	check := func(name string, raw []byte, chain abi.Hash, kind StatementKind, now int64, want abi.Code) {
		t.Helper()
		if got, err := OpenStatement(raw, chain, kind, now); !errors.Is(err, want) || got.Body != nil {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	check("another chain", raw, hash("other"), StatementRotate, 1, abi.CodeWrongChain)
	check("another kind", raw, chain, StatementEnrol, 1, abi.CodeBadArgument)
	check("expired", raw, chain, StatementRotate, 1001, abi.CodeExpired)
	forged := bytes.Clone(raw)
	forged[len(forged)-1] ^= 1
	check("another signature", forged, chain, StatementRotate, 1, abi.CodeBadSignature)
	asTx := must(Seal(got.envelope.Payload, PurposeTransaction, device))(t)
	check("signed as a transaction", asTx, chain, StatementRotate, 1, abi.CodeBadSignature)
	h := encHash("chain")
	for _, payload := range [][]byte{pairs(1, h, 2, encUint(2), 3, encUint(9)), pairs(1, h, 2, encUint(2), 4, []byte{0xa0}),
		pairs(1, h, 3, encUint(9), 4, []byte{0xa0}), pairs(1, h, 2, encUint(2), 3, encUint(9), 4, []byte{0x80}),
		pairs(1, h, 2, encUint(2), 3, encUint(9), 4, []byte{0xa0}, 5, []byte{0})} {
		check("fields", must(Seal(payload, PurposeStatement, device))(t), chain, StatementRotate, -1, abi.CodeBadArgument)
	}
}

func TestQuorum(t *testing.T) {
	// ceil((n+f+1)/2) with f = floor((n-1)/3)
	for n, want := range []int{1, 1, 2, 2, 3, 4, 4, 5, 6, 6, 7, 8, 8} {
		set := make(ValidatorSet, n)
		if q := set.Quorum(); q != want {
			t.Errorf("quorum of %d is %d, want %d", n, q, want)
		}
		if f := set.Faults(); n > 0 && 2*set.Quorum()-n <= f {
			t.Errorf("two quorums of %d may share %d liars only", n, f)
		}
	}
}

func TestValidatorsByIDAndKey(t *testing.T) {
	set := vectorSet()
	for _, v := range set {
		if key, ok := set.Key(v.ID); !ok || string(key) != string(v.Key) {
			t.Errorf("key of validator %d: %x, %v", v.ID, key, ok)
		}
		if id, ok := set.ID(v.Key); !ok || id != v.ID {
			t.Errorf("id of key %x: %d, %v", v.Key, id, ok)
		}
	}
	if key, ok := set.Key(3); ok {
		t.Errorf("nobody has id 3, but key %x was found", key)
	}
	for _, other := range [][]byte{nil, set[0].Key[:31], newEd("stranger").Public()} {
		if id, ok := set.ID(other); ok {
			t.Errorf("validator %d was found by key %x", id, other)
		}
	}
}

func TestCertificateVerify(t *testing.T) {
	h, set := vectorHeader(), vectorSet()
	good, _ := vectorCertificate(t, &h)
	if err := good.Verify(&h, set); err != nil {
		t.Fatal(err)
	}
	mutate := func(name string, want abi.Code, change func(c *Certificate, h *Header, set *ValidatorSet)) {
		t.Helper()
		c, h2, s2 := good, h, set
		c.Signatures = append([]Signature{}, good.Signatures...)
		change(&c, &h2, &s2)
		if err := c.Verify(&h2, s2); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	mutate("no quorum", abi.CodeBadProof, func(c *Certificate, _ *Header, _ *ValidatorSet) { c.Signatures = c.Signatures[:2] })
	mutate("none", abi.CodeBadProof, func(c *Certificate, _ *Header, _ *ValidatorSet) { c.Signatures = nil })
	mutate("one twice", abi.CodeBadSignature, func(c *Certificate, _ *Header, _ *ValidatorSet) { c.Signatures[1] = c.Signatures[0] })
	mutate("a stranger", abi.CodeBadSignature, func(c *Certificate, _ *Header, _ *ValidatorSet) { c.Signatures[2].Validator = 9 })
	mutate("another's", abi.CodeBadSignature, func(c *Certificate, _ *Header, _ *ValidatorSet) { c.Signatures[1].Validator = 2 })
	mutate("another sequence", abi.CodeBadSignature, func(c *Certificate, _ *Header, _ *ValidatorSet) { c.Sequence++ })
	mutate("other metadata", abi.CodeBadSignature, func(c *Certificate, _ *Header, _ *ValidatorSet) { c.Metadata = []byte("x") })
	mutate("another state", abi.CodeBadSignature, func(_ *Certificate, h *Header, _ *ValidatorSet) { h.State = hash("forged") })
	mutate("another chain", abi.CodeBadSignature, func(_ *Certificate, h *Header, _ *ValidatorSet) { h.Chain = hash("forged") })
	mutate("another set", abi.CodeBadProof, func(_ *Certificate, _ *Header, s *ValidatorSet) { *s = (*s)[:3] })
	mutate("empty set", abi.CodeBadProof, func(c *Certificate, h *Header, s *ValidatorSet) {
		*s, c.Signatures = nil, nil
		h.Validators = s.Hash()
	})
}

func TestSetsInOrder(t *testing.T) {
	key := newEd("validator-1").Public()
	for name, set := range map[string]ValidatorSet{
		"id 0": {{0, key}}, "repeated": {{1, key}, {1, key}}, "descending": {{2, key}, {1, key}},
		"small-order key": {{1, unhex(smallOrder[0])}}, "no point": {{1, append([]byte{2}, make([]byte, 31)...)}},
	} {
		if _, err := ParseValidatorSet(set.Append(nil)); !errors.Is(err, abi.CodeMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	sig := make([]byte, SignatureSize)
	c := Certificate{Signatures: []Signature{{2, sig}, {1, sig}}}
	if _, err := ParseCertificate(c.Append(nil)); !errors.Is(err, abi.CodeMalformed) {
		t.Errorf("descending signatures: %v", err)
	}
}

func TestGenesisRefused(t *testing.T) {
	for name, change := range map[string]func(g *Genesis){
		"no validators":        func(g *Genesis) { g.Validators = nil },
		"time 0":               func(g *Genesis) { g.Time = 0 },
		"bad name":             func(g *Genesis) { g.Name = "Chain" },
		"protocol of tomorrow": func(g *Genesis) { g.Params.Protocol = Protocol + 1 },
		"profile 0":            func(g *Genesis) { g.Params.Profile = 0 },
		"negative delay":       func(g *Genesis) { g.Params.ActivationDelay = -1 },
		"negative upload time": func(g *Genesis) { g.Params.UploadTTL = -1 },
		"no gas":               func(g *Genesis) { g.Params.TxGas = 0 },
		"no gas for timers":    func(g *Genesis) { g.Params.TxGas = g.Params.BlockGas/2 + 1 },
		"bad account":          func(g *Genesis) { g.Accounts[0].Key = make([]byte, 32) },
	} {
		g := vectorGenesis()
		change(g)
		if _, err := ParseGenesis(g.Append(nil)); err == nil {
			t.Errorf("%s was accepted", name)
		} else {
			checkCode(t, err)
		}
	}
	for name, change := range map[string]func(g *Genesis){
		"as old as the block that it takes": func(g *Genesis) { g.Time = g.Origin.Header.Time },
		"the state of a genesis":            func(g *Genesis) { g.Origin.Header.Height = 0 },
	} {
		g := vectorSuccessor()
		change(g)
		if _, err := ParseGenesis(g.Append(nil)); err == nil {
			t.Errorf("%s was accepted", name)
		} else {
			checkCode(t, err)
		}
	}
	long := OriginProof{Steps: make([][]byte, MaxOriginSteps+1)}
	if _, err := ParseOriginProof(long.Append(nil)); !errors.Is(err, abi.CodeTooLarge) {
		t.Errorf("more steps than may be: %v", err)
	}
	// The parameters are a record that may grow, a genesis is not.
	grown := ParamsOf(abi.ProfileLean)
	params, _ := withUnknownKey(grown.Append(nil))
	in := pairs(1, encText("a"), 2, encUint(1), 3, params, 4, vectorSet().Append(nil), 5, []byte{0x80})
	if _, err := ParseGenesis(in); !errors.Is(err, abi.CodeMalformed) {
		t.Errorf("unknown parameter: %v", err)
	}
}

// TestShortInputAllocatesLittle: counts in the input do not make room for what
// is not there.
func TestShortInputAllocatesLittle(t *testing.T) {
	zeros := make([]byte, 60<<10)
	list := append(cbor.AppendArray(nil, len(zeros)), zeros...)
	header := AppendHeader(nil, &Header{})
	inputs := map[string][]byte{
		"block":         append(append([]byte{0x82}, header...), list...),
		"validator-set": list,
		"certificate":   append([]byte{0x83, 0x40, 0}, list...),
		"outcomes":      list,
		"outcome":       pairs(1, encHash("x"), 2, encUint(0), 3, encUint(0), 6, list),
		"enrol":         pairs(1, encBytes([]byte{1}), 2, append(cbor.AppendMap(nil, len(zeros)/2), zeros...)),
		"genesis":       pairs(5, list),
	}
	for _, c := range messages {
		in, ok := inputs[c.name]
		if !ok {
			continue
		}
		res := testing.AllocsPerRun(5, func() {
			if _, err := c.again(in); err == nil {
				t.Errorf("%s: nonsense was accepted", c.name)
			}
		})
		if res > 30 {
			t.Errorf("%s: %v allocations for nonsense", c.name, res)
		}
	}
}

func TestTimerKeys(t *testing.T) {
	if bytes.Compare(TimerKey(1, 2), TimerKey(2, 1)) >= 0 || bytes.Compare(TimerKey(1, 1), TimerKey(1, 2)) >= 0 {
		t.Error("timers are not in order of due time and number")
	}
	if k := TimerKey(math.MinInt64, 1); TimerDue(k) != 0 || bytes.Compare(k, TimerKey(1, 0)) >= 0 {
		t.Error("a due time in the past sorts after the future")
	}
	if TimerDue(TimerKey(math.MaxInt64, 0)) != math.MaxInt64 {
		t.Error("due time is lost")
	}
}

// TestStateKeysApart: contracts cannot reach each other's state, nor the
// ledger's own records, whatever their names and keys are.
func TestStateKeysApart(t *testing.T) {
	if bytes.Equal(StateKey("a", []byte("b\x00")), StateKey("ab", []byte("\x00"))) || bytes.HasPrefix(StateKey("ab", nil), StatePrefix("a")) {
		t.Error("two contracts share a prefix")
	}
	if bytes.Equal(VersionKey("a", 0x62<<56), VersionKey("ab", 0)[:11]) || bytes.Compare(VersionKey("a", 255), VersionKey("a", 256)) >= 0 {
		t.Error("versions of two contracts share a key, or their numbers do not sort")
	}
	id := hash("x")
	keys := [][]byte{ParamsKey(), ValidatorsKey(), TimerNumberKey(), AccountKey(id), KeyIndexKey(id[:]), QuotaKey(id), LaneKey(id, 1),
		DeviceKey(id), SerialKey("a", "b"), UploadKey(id, id), CodeChunkKey(id, id, 1), CodeKey(id), ContractKey("a"), DomainKey("a"),
		VersionKey("a", 1), TimerKey(1, 1), TokenKey(id), WindowKey(1), StateKey("a", nil), TxIndexKey(id)}
	seen := map[byte]bool{}
	for _, k := range keys {
		if seen[k[0]] {
			t.Errorf("two records begin with %q", k[0])
		}
		seen[k[0]] = true
	}
	a := AccountKey(id)
	_ = append(UploadPrefix(id), 1)
	if !bytes.Equal(a, AccountKey(id)) {
		t.Error("keys share memory")
	}
}

func TestOpNames(t *testing.T) {
	for op := OpGrant; op <= OpUpgrade; op++ {
		if strings.HasPrefix(op.String(), "op-") {
			t.Errorf("operation %d has no name", op)
		}
	}
	if Op(99).String() != "op-99" {
		t.Errorf("unknown operation is %s", Op(99))
	}
}

// A transaction of a wide chain declares no more than one of a lean chain,
// unless it completes an upload.
func TestGasFor(t *testing.T) {
	lean, wide := DefaultParams(), ParamsOf(abi.ProfileWide)
	small := ParamsOf(abi.ProfileLean)
	small.TxGas = 1_000_000
	for _, tt := range []struct {
		p    Params
		op   Op
		want uint64
	}{
		{lean, OpCall, lean.TxGas}, {lean, OpDeploy, lean.TxGas}, {small, OpCall, small.TxGas},
		{wide, OpCall, lean.TxGas}, {wide, OpDeploy, wide.TxGas}, {wide, OpUpgrade, wide.TxGas},
	} {
		if got := tt.p.GasFor(tt.op); got != tt.want {
			t.Errorf("%s of %d: %d, want %d", tt.op, tt.p.TxGas, got, tt.want)
		}
	}
}
