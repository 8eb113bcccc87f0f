package chain

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/big"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/curve/scalar"
	"github.com/veraison/go-cose"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

type party struct {
	name string
	Signer
	alg     cose.Algorithm
	private crypto.Signer
	public  crypto.PublicKey
}

func parties() []party {
	ed, ec := newEd("alice"), newEC("enforcer")
	return []party{
		{"ed25519", ed, cose.AlgorithmEdDSA, ed.key, ed.key.Public()},
		{"P-256", ec, cose.AlgorithmES256, ec.key, &ec.key.PublicKey},
	}
}

// TestGoCoseVerifiesOurs: what Seal makes is plain COSE_Sign1 for another
// implementation (RFC 9052 section 4.2), the purpose being its external_aad.
func TestGoCoseVerifiesOurs(t *testing.T) {
	for _, p := range parties() {
		raw := must(Seal([]byte{0xa1, 1, 2}, PurposeTransaction, p))(t)
		var msg cose.Sign1Message
		if err := msg.UnmarshalCBOR(raw); err != nil {
			t.Fatalf("%s: %v", p.name, err)
		}
		verifier := must(cose.NewVerifier(p.alg, p.public))(t)
		if err := msg.Verify([]byte(PurposeTransaction), verifier); err != nil {
			t.Errorf("%s: %v", p.name, err)
		}
		if err := msg.Verify([]byte(PurposeStatement), verifier); err == nil {
			t.Errorf("%s: a transaction passes as a statement", p.name)
		}
		if kid, _ := msg.Headers.Protected[cose.HeaderLabelKeyID].([]byte); !bytes.Equal(kid, p.Public()) || len(msg.Headers.Unprotected) != 0 {
			t.Errorf("%s: headers %v", p.name, msg.Headers)
		}
	}
}

// TestWeVerifyGoCose: a device with any COSE library can make transactions.
func TestWeVerifyGoCose(t *testing.T) {
	for _, p := range parties() {
		body := AppendBody(nil, vectorBodies(hash("chain"))["transaction/window"])
		signer := must(cose.NewSigner(p.alg, p.private))(t)
		headers := cose.Headers{Protected: cose.ProtectedHeader{cose.HeaderLabelAlgorithm: p.alg, cose.HeaderLabelKeyID: p.Public()}}
		raw := must(cose.Sign1(rand.Reader, signer, headers, body, []byte(PurposeTransaction)))(t)
		tx := must(ParseTx(raw))(t)
		if err := tx.Envelope().Verify(); err != nil || !bytes.Equal(tx.Key(), p.Public()) {
			t.Errorf("%s: %v", p.name, err)
		}
		again := must(ParseTx(must(SignTx(&tx.Body, p))(t)))(t)
		if again.ID != tx.ID {
			t.Errorf("%s: ids of the same transaction differ", p.name)
		}
	}
}

// TestCoseExamples holds the verifier and the Sig_structure to the vectors of
// the COSE working group. None of them is an envelope of ours: their kid
// stands in the unprotected header, and that must be empty.
func TestCoseExamples(t *testing.T) {
	for name, good := range map[string]bool{"eddsa-sig-01": true, "sign-pass-01": true, "sign-pass-02": true, "sign-fail-01": true, "sign-fail-02": false} {
		var v struct {
			Input struct {
				Sign0 struct {
					Key struct {
						X, Y string
						XHex string `json:"x_hex"`
					}
					External string
				}
			}
			Intermediates struct {
				ToBeSigned string `json:"ToBeSign_hex"`
			}
			Output struct{ CBOR string }
		}
		if err := json.Unmarshal(must(os.ReadFile("testdata/cose/"+name+".json"))(t), &v); err != nil {
			t.Fatal(err)
		}
		raw := must(hex.DecodeString(v.Output.CBOR))(t)
		if _, err := ParseEnvelope(raw, PurposeTransaction); !errors.Is(err, abi.CodeMalformed) {
			t.Errorf("%s: %v", name, err)
		}
		r := cbor.NewReader(raw)
		tag := r.Tag()
		r.ArrayN(4)
		protected := r.Bytes()
		if bytes.Equal(protected, []byte{0xa0}) {
			protected = nil // RFC 9052 section 4.4: an empty header is zero bytes
		}
		r.Skip()
		payload, signature := r.Bytes(), r.Bytes()
		if r.Done() != nil || (tag == coseSign1Tag) == (name == "sign-fail-01") {
			t.Fatalf("%s: tag %d, %v", name, tag, r.Err())
		}
		signed := appendSigStructure(nil, protected, Purpose(must(hex.DecodeString(v.Input.Sign0.External))(t)), payload)
		// The intermediate of a failing vector is that of the message before it was broken.
		if same := strings.EqualFold(hex.EncodeToString(signed), v.Intermediates.ToBeSigned); !same && good {
			t.Errorf("%s: Sig_structure %x, want %s", name, signed, v.Intermediates.ToBeSigned)
		}
		key := must(hex.DecodeString(v.Input.Sign0.Key.XHex))(t)
		if len(key) == 0 {
			x := must(base64.RawURLEncoding.DecodeString(v.Input.Sign0.Key.X))(t)
			y := must(base64.RawURLEncoding.DecodeString(v.Input.Sign0.Key.Y))(t)
			key = append([]byte{2 + y[31]&1}, x...)
		}
		if VerifySignature(key, signed, signature) != good {
			t.Errorf("%s: signature good=%v", name, !good)
		}
	}
}

// TestEnvelopeRefuses: one form only, so that nothing unsigned can vary.
func TestEnvelopeRefuses(t *testing.T) {
	good := must(Seal([]byte{0xa0}, PurposeTransaction, newEd("alice")))(t)
	e := must(ParseEnvelope(good, PurposeTransaction))(t)
	build := func(tag uint64, protected, unprotected, payload, sig []byte) []byte {
		b := cbor.AppendArray(cbor.AppendTag(nil, tag), 4)
		b = append(cbor.AppendBytes(b, protected), unprotected...)
		return cbor.AppendBytes(cbor.AppendBytes(b, payload), sig)
	}
	header := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	kid := cbor.AppendBytes([]byte{4}, e.Key)
	protected := header([]byte{0xa2, 1, 0x27}, kid)
	if !bytes.Equal(build(18, protected, []byte{0xa0}, e.Payload, e.Signature), good) {
		t.Fatal("the test builds another envelope than Seal")
	}
	ecKid := cbor.AppendBytes([]byte{4}, newEC("enforcer").Public())
	bad := map[string][]byte{
		"untagged":                     good[1:],
		"COSE_Sign tag":                build(98, protected, []byte{0xa0}, e.Payload, e.Signature),
		"kid unprotected":              build(18, protected, []byte{0xa1, 4, 0x41, 1}, e.Payload, e.Signature),
		"no protected header":          build(18, nil, []byte{0xa0}, e.Payload, e.Signature),
		"empty protected":              build(18, []byte{0xa0}, []byte{0xa0}, e.Payload, e.Signature),
		"no algorithm":                 build(18, header([]byte{0xa1}, kid), []byte{0xa0}, e.Payload, e.Signature),
		"no key":                       build(18, []byte{0xa1, 1, 0x27}, []byte{0xa0}, e.Payload, e.Signature),
		"header out of order":          build(18, header([]byte{0xa2}, kid, []byte{1, 0x27}), []byte{0xa0}, e.Payload, e.Signature),
		"third header":                 build(18, header([]byte{0xa3, 1, 0x27, 3, 0}, kid), []byte{0xa0}, e.Payload, e.Signature),
		"critical header":              build(18, header([]byte{0xa3, 1, 0x27, 2, 0x81, 4}, kid), []byte{0xa0}, e.Payload, e.Signature),
		"header left over":             build(18, append(bytes.Clone(protected), 0), []byte{0xa0}, e.Payload, e.Signature),
		"ES256 with ed25519":           build(18, header([]byte{0xa2, 1, 0x26}, kid), []byte{0xa0}, e.Payload, e.Signature),
		"EdDSA with P-256":             build(18, header([]byte{0xa2, 1, 0x27}, ecKid), []byte{0xa0}, e.Payload, e.Signature),
		"Ed448":                        build(18, header([]byte{0xa2, 1, 0x27}, cbor.AppendBytes([]byte{4}, make([]byte, 57))), []byte{0xa0}, e.Payload, e.Signature),
		"short signature":              build(18, protected, []byte{0xa0}, e.Payload, e.Signature[:63]),
		"long signature":               build(18, protected, []byte{0xa0}, e.Payload, append(bytes.Clone(e.Signature), 0)),
		"detached payload":             append(append(cbor.AppendBytes([]byte{0xd2, 0x84}, protected), 0xa0, 0xf6), cbor.AppendBytes(nil, e.Signature)...),
		"unprotected head of one pair": build(18, protected, []byte{0xa1}, e.Payload, e.Signature),
		"indefinite unprotected":       build(18, protected, []byte{0xbf, 0xff}, e.Payload, e.Signature),
		"byte left over":               append(bytes.Clone(good), 0),
	}
	for name, raw := range bad {
		_, err := ParseEnvelope(raw, PurposeTransaction)
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		checkCode(t, err)
	}
	other := must(ParseEnvelope(good, PurposeStatement))(t)
	if !errors.Is(other.Verify(), abi.CodeBadSignature) || other.ID() == e.ID() {
		t.Error("a transaction passes as a statement")
	}
}

type badSigner struct{ key, sig []byte }

func (s badSigner) Public() []byte              { return s.key }
func (s badSigner) Sign([]byte) ([]byte, error) { return s.sig, nil }

func TestSealRefusesBadSigners(t *testing.T) {
	for _, s := range []badSigner{{make([]byte, 31), make([]byte, 64)}, {nil, make([]byte, 64)}, {make([]byte, 65), make([]byte, 64)},
		{make([]byte, 32), make([]byte, 63)}, {make([]byte, 33), nil}} {
		if raw, err := Seal(nil, PurposeTransaction, s); err == nil {
			t.Errorf("key of %d, signature of %d bytes: %x", len(s.key), len(s.sig), raw)
		} else {
			checkCode(t, err)
		}
	}
}

type signatureCase struct {
	name                    string
	key, message, signature []byte
	good                    bool
}

// smallOrder is the encodings of the eight points of small order and their
// non-canonical forms (as listed in "Taming the many EdDSAs", table 6).
var smallOrder = []string{
	"0100000000000000000000000000000000000000000000000000000000000000",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0000000000000000000000000000000000000000000000000000000000000080",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
	"0100000000000000000000000000000000000000000000000000000000000080",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// edgeSignatures are signatures on which implementations of ed25519 differ.
func edgeSignatures() (list []signatureCase) {
	message := []byte("message")
	alice := newEd("alice")
	sig, err := alice.Sign(message)
	if err != nil {
		panic(err)
	}
	add := func(name string, key, signature []byte, good bool) {
		list = append(list, signatureCase{name, key, message, signature, good})
	}
	add("good", alice.Public(), sig, true)
	add("S + L", alice.Public(), append(bytes.Clone(sig[:32]), addOrder(sig[32:])...), false)
	add("S all ones", alice.Public(), append(bytes.Clone(sig[:32]), bytes.Repeat([]byte{0xff}, 32)...), false)
	zero := make([]byte, 64)
	add("zero signature", alice.Public(), zero, false)
	for _, p := range smallOrder {
		point := unhex(p)
		// R = A of small order with S = 0: the cofactored equation holds for any
		// message, so only the rule on A refuses it.
		add("small-order key "+p[:8]+p[62:], point, append(bytes.Clone(point), zero[:32]...), false)
		add("small-order key, identity R "+p[:8]+p[62:], point, append(unhex(smallOrder[0]), zero[:32]...), false)
		add("small-order R "+p[:8]+p[62:], alice.Public(), append(bytes.Clone(point), sig[32:]...), false)
	}
	list = append(list, mixedOrder(message)...)
	// y = 2^255-19+3 is a point whose encoding is not canonical.
	add("non-canonical key", unhex("f0"+strings.Repeat("ff", 30)+"7f"), sig, false)
	add("non-canonical R", alice.Public(), append(unhex("f0"+strings.Repeat("ff", 30)+"7f"), sig[32:]...), false)
	add("not a point", append([]byte{2}, make([]byte, 31)...), sig, false)
	ec := newEC("enforcer")
	ecSig, err := ec.Sign(message)
	if err != nil {
		panic(err)
	}
	add("P-256", ec.Public(), ecSig, true)
	add("P-256 other s", ec.Public(), otherS(ecSig), true)
	add("P-256 zero", ec.Public(), zero, false)
	add("P-256 s + n", ec.Public(), bytes.Repeat([]byte{0xff}, 64), false)
	add("P-256 uncompressed prefix", append([]byte{4}, ec.Public()[1:]...), ecSig, false)
	add("P-256 x >= p", append([]byte{2}, bytes.Repeat([]byte{0xff}, 32)...), ecSig, false)
	return list
}

// addOrder adds the group's order to a little-endian scalar.
func addOrder(s []byte) []byte {
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	b := bytes.Clone(s)
	reverse(b)
	sum := new(big.Int).Add(new(big.Int).SetBytes(b), order).FillBytes(make([]byte, 32))
	reverse(sum)
	return sum
}

func reverse(b []byte) {
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
}

// mixedOrder makes signatures that only the cofactored equation accepts: R or
// A carries a component of small order. A batch that multiplied by the
// cofactor where the single check did not would split the chain here.
func mixedOrder(message []byte) []signatureCase {
	torsion := curve.EIGHT_TORSION[1]
	a, r := scalarOf("a"), scalarOf("r")
	point := func(s *scalar.Scalar, twisted bool) []byte {
		var p curve.EdwardsPoint
		p.MulBasepoint(curve.ED25519_BASEPOINT_TABLE, s)
		if twisted {
			p.Add(&p, torsion)
		}
		var c curve.CompressedEdwardsY
		c.SetEdwardsPoint(&p)
		return c[:]
	}
	sign := func(key, rBytes []byte) []byte {
		k := challenge(rBytes, key, message)
		var s scalar.Scalar
		s.Mul(k, a)
		s.Add(&s, r)
		out := make([]byte, 32)
		if err := s.ToBytes(out); err != nil {
			panic(err)
		}
		return append(bytes.Clone(rBytes), out...)
	}
	var list []signatureCase
	for _, c := range []struct {
		name           string
		twistA, twistR bool
	}{{"plain", false, false}, {"mixed-order R", false, true}, {"mixed-order key", true, false}, {"mixed-order both", true, true}} {
		key := point(a, c.twistA)
		list = append(list, signatureCase{c.name, key, message, sign(key, point(r, c.twistR)), true})
	}
	return list
}

func scalarOf(name string) *scalar.Scalar {
	wide := append(seed(name), seed(name+"'")...)
	s, err := scalar.New().SetBytesModOrderWide(wide)
	if err != nil {
		panic(err)
	}
	return s
}

// otherS is the second signature of the same message: (r, n-s).
func otherS(sig []byte) []byte {
	s := new(big.Int).Sub(elliptic.P256().Params().N, new(big.Int).SetBytes(sig[32:]))
	return append(bytes.Clone(sig[:32]), s.FillBytes(make([]byte, 32))...)
}

// goodEnvelopes are n with good signatures of n keys.
func goodEnvelopes(t testing.TB, n int) []*Envelope {
	list := make([]*Envelope, n)
	for i := range list {
		signer := newEd("batch" + string(rune('a'+i%26)) + string(rune('a'+i/26)))
		e := must(ParseEnvelope(must(Seal([]byte{0xa1, 1, byte(i)}, PurposeTransaction, signer))(t), PurposeTransaction))(t)
		list[i] = &e
	}
	return list
}

var companions struct {
	sync.Once
	good []*Envelope
}

// checkSameVerdict checks e singly and in batches with others, and returns the
// verdict.
func checkSameVerdict(t testing.TB, e *Envelope) bool {
	t.Helper()
	single := e.Verify() == nil
	companions.Do(func() { companions.good = goodEnvelopes(t, 5) })
	good := companions.good
	bad := *good[2]
	bad.Signature = append(bytes.Clone(bad.Signature[:63]), bad.Signature[63]^1)
	for name, batch := range map[string][]*Envelope{"alone": {e}, "twice": {e, e}, "among good": {good[0], e, good[1], good[3], good[4]}, "beside a bad one": {&bad, e, good[0], good[1]},
		"four times": {e, e, e, e}} {
		for i, got := range VerifyAll(batch) {
			want := single
			if batch[i] != e {
				want = batch[i] != &bad
			}
			if got != want {
				t.Errorf("key %x, signature %x, %s, entry %d: batch %v, single %v", e.Key, e.Signature, name, i, got, want)
			}
		}
	}
	return single
}

// TestEdgeSignatures: single and batch accept exactly the same.
func TestEdgeSignatures(t *testing.T) {
	for _, c := range edgeSignatures() {
		e := &Envelope{Key: c.key, Signature: c.signature, signed: c.message}
		if got := checkSameVerdict(t, e); got != c.good {
			t.Errorf("%s: good=%v, want %v", c.name, got, c.good)
		}
		if c.good && !ValidKey(c.key) {
			t.Errorf("%s: ValidKey refuses a key that signs", c.name)
		}
		c.message = []byte("another")
		if VerifySignature(c.key, c.message, c.signature) {
			t.Errorf("%s: the signature fits another message", c.name)
		}
	}
	for _, p := range append(smallOrder, "f0"+strings.Repeat("ff", 30)+"7f", "02"+strings.Repeat("00", 31)) {
		if ValidKey(unhex(p)) {
			t.Errorf("ValidKey(%s)", p)
		}
	}
}

// TestLargeBatches: the batch's own strategies change with its size; each must
// find exactly the bad ones.
func TestLargeBatches(t *testing.T) {
	all := goodEnvelopes(t, 200)
	edges := edgeSignatures()
	for _, n := range []int{1, 2, 63, 64, 94, 95, 96, 200} {
		batch := append([]*Envelope{}, all[:n]...)
		for i, ok := range VerifyAll(batch) {
			if !ok {
				t.Fatalf("%d good ones: %d refused", n, i)
			}
		}
		want := make([]bool, n)
		for i := range want {
			want[i] = true
		}
		for k := 0; k < len(edges) && k*3 < n; k++ {
			batch[k*3] = &Envelope{Key: edges[k].key, Signature: edges[k].signature, signed: edges[k].message}
			want[k*3] = edges[k].good
		}
		for i, ok := range VerifyAll(batch) {
			if ok != want[i] {
				t.Errorf("batch of %d, entry %d: %v, want %v", n, i, ok, want[i])
			}
		}
	}
	if len(VerifyAll(nil)) != 0 {
		t.Error("an empty batch has verdicts")
	}
}

// TestSignatureLengths: wrong lengths are bad signatures, never a panic.
func TestSignatureLengths(t *testing.T) {
	for keyLen := range 70 {
		for _, sigLen := range []int{0, 1, 32, 63, 64, 65, 96, 128} {
			e := &Envelope{Key: make([]byte, keyLen), Signature: make([]byte, sigLen)}
			if checkSameVerdict(t, e) || VerifySignature(e.Key, nil, e.Signature) || ValidKey(e.Key) {
				t.Errorf("key of %d, signature of %d bytes accepted", keyLen, sigLen)
			}
		}
	}
	if VerifySignature(nil, nil, nil) || ValidKey(nil) {
		t.Error("nothing is accepted")
	}
}

// TestMalleability: both signatures (r, s) and (r, n-s) are good, and they are
// one transaction: a relay that flips s makes no second one.
func TestMalleability(t *testing.T) {
	raw := must(SignTx(vectorBodies(hash("chain"))["transaction/lane"], newEC("enforcer")))(t)
	tx := must(ParseTx(raw))(t)
	flipped := append(bytes.Clone(raw[:len(raw)-SignatureSize]), otherS(tx.envelope.Signature)...)
	other := must(ParseTx(flipped))(t)
	if bytes.Equal(raw, flipped) || tx.Envelope().Verify() != nil || other.Envelope().Verify() != nil {
		t.Fatal("flipped signature is not good")
	}
	if tx.ID != other.ID {
		t.Error("a flipped signature changes the id")
	}
	forged := append(bytes.Clone(raw[:len(raw)-SignatureSize]), make([]byte, SignatureSize)...)
	if f := must(ParseTx(forged))(t); f.ID != tx.ID || f.Envelope().Verify() == nil {
		t.Error("the id does not tell good from bad signatures: whoever caches a check needs the signature too")
	}
}
