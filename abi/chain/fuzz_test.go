package chain

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"testing"

	"github.com/seed79541315/postern/abi"
)

func addVectors(f *testing.F, kinds ...string) {
	for _, v := range loadVectors(f) {
		if len(kinds) == 0 {
			f.Add(v.bytes(f))
		}
		for _, k := range kinds {
			if v.Kind == k {
				f.Add(v.bytes(f))
			}
		}
	}
}

// FuzzMessages feeds every parser of arguments, bodies and records.
func FuzzMessages(f *testing.F) {
	addVectors(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, c := range messages {
			checkMessage(t, c, in)
		}
		for _, c := range records {
			checkRecord(t, c, in)
		}
	})
}

func fuzzOne(f *testing.F, kind string) {
	addVectors(f, kind)
	for _, c := range messages {
		if c.name == kind {
			f.Fuzz(func(t *testing.T, in []byte) { checkMessage(t, c, in) })
			return
		}
	}
	f.Fatalf("no parser %s", kind)
}

func FuzzBlock(f *testing.F)       { fuzzOne(f, "block") }
func FuzzHeader(f *testing.F)      { fuzzOne(f, "header") }
func FuzzCertificate(f *testing.F) { fuzzOne(f, "certificate") }
func FuzzOutcome(f *testing.F)     { fuzzOne(f, "outcome") }
func FuzzOutcomes(f *testing.F)    { fuzzOne(f, "outcomes") }
func FuzzGenesis(f *testing.F)     { fuzzOne(f, "genesis") }
func FuzzBody(f *testing.F)        { fuzzOne(f, "body") }

// FuzzEnvelope: an envelope has one encoding, and single and batch checks of
// it agree.
func FuzzEnvelope(f *testing.F) {
	addVectors(f, "transaction", "statement")
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, purpose := range []Purpose{PurposeTransaction, PurposeStatement} {
			e, err := ParseEnvelope(in, purpose)
			if err != nil {
				checkCode(t, err)
				continue
			}
			if again := rebuild(t, &e); !bytes.Equal(again, in) {
				t.Fatalf("%x was accepted and is written as %x", in, again)
			}
			if e.ID() != sha256.Sum256(e.signed) {
				t.Fatal("id is not the hash of the Sig_structure")
			}
			single := e.Verify() == nil
			if batch := VerifyAll([]*Envelope{&e, &e, &e, &e}); slices.Contains(batch, !single) {
				t.Fatalf("single %v, batch %v", single, batch)
			}
		}
	})
}

func FuzzTx(f *testing.F) {
	addVectors(f, "transaction", "statement", "tick")
	f.Fuzz(func(t *testing.T, in []byte) {
		tx, err := ParseTx(in)
		if err != nil {
			checkCode(t, err)
			return
		}
		if tx.Tick != 0 {
			if !bytes.Equal(AppendTick(nil, tx.Tick), in) || tx.Key() != nil || tx.ID != sha256.Sum256(in) {
				t.Fatalf("tick %x of %d", in, tx.Tick)
			}
			return
		}
		e := tx.Envelope()
		if !bytes.Equal(rebuild(t, e), in) || !bytes.Equal(AppendBody(nil, &tx.Body), e.Payload) {
			t.Fatalf("%x was accepted and is written as %x", in, rebuild(t, e))
		}
		if (tx.ValidUntil > 0) == (tx.Sequence > 0) || tx.ID != e.ID() || !bytes.Equal(tx.Raw, in) {
			t.Fatalf("%x: %+v", in, tx)
		}
	})
}

func FuzzStatement(f *testing.F) {
	addVectors(f, "statement", "transaction")
	f.Fuzz(func(t *testing.T, in []byte) {
		s, err := ParseStatement(in)
		if err != nil {
			checkCode(t, err)
			return
		}
		var fl fields
		fl.bytes(1, s.Chain[:])
		fl.uint(2, uint64(s.Kind))
		fl.int(3, s.Expiry)
		fl.raw(4, s.Body)
		if !bytes.Equal(fl.appendTo(nil), s.envelope.Payload) || !bytes.Equal(rebuild(t, &s.envelope), in) {
			t.Fatalf("%x has a second encoding", in)
		}
		if o, err := OpenStatement(in, s.Chain, s.Kind, s.Expiry); (err == nil) != (s.envelope.Verify() == nil) || err != nil && o.Key != nil {
			t.Fatalf("%x: %v", in, err)
		}
	})
}

// FuzzSignature: any key, message and signature is judged alike alone, in a
// batch of good ones and in a batch with a bad one.
func FuzzSignature(f *testing.F) {
	for _, c := range edgeSignatures() {
		f.Add(c.key, c.message, c.signature)
	}
	f.Fuzz(func(t *testing.T, key, message, signature []byte) {
		checkSameVerdict(t, &Envelope{Key: key, Signature: signature, signed: message})
	})
}

// FuzzSerialKey: two devices that can be enrolled never share a serial key.
func FuzzSerialKey(f *testing.F) {
	f.Add("Acme", "0001", "Acm", "e0001")
	f.Add("a\x00b", "c", "a", "b\x00c")
	f.Fuzz(func(t *testing.T, m1, s1, m2, s2 string) {
		parse := func(m, s string) error {
			_, err := ParseEnrolment((&Enrolment{Owner: abi.Hash{1}, Manufacturer: m, Model: "x", Serial: s}).Append(nil))
			return err
		}
		if parse(m1, s1) != nil || parse(m2, s2) != nil || m1 == m2 && s1 == s2 {
			return
		}
		if bytes.Equal(SerialKey(m1, s1), SerialKey(m2, s2)) {
			t.Fatalf("%q %q and %q %q share a key", m1, s1, m2, s2)
		}
	})
}
