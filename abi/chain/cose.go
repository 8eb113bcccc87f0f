package chain

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"fmt"
	"math/big"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// Sizes of keys and signatures in bytes. A P-256 key is the compressed point
// (SEC 1 section 2.3.3), its signature r|s (RFC 9053 section 2.1).
const (
	Ed25519KeySize = 32
	P256KeySize    = 33
	SignatureSize  = 64
)

// COSE algorithm identifiers (IANA COSE Algorithms).
const (
	algEdDSA = -8
	algES256 = -7
)

// coseSign1Tag is the CBOR tag of COSE_Sign1 (RFC 9052 section 2).
const coseSign1Tag = 18

// Purpose separates what a signature is for: it is the external_aad of the
// COSE Sig_structure, so that no signed statement is ever a transaction.
type Purpose string

// The purposes of signatures.
const (
	PurposeTransaction Purpose = "postern/transaction/1"
	PurposeStatement   Purpose = "postern/statement/1"
)

// Signer holds a private key. Public returns the raw public key.
type Signer interface {
	Public() []byte
	Sign(message []byte) (signature []byte, err error)
}

// Envelope is a COSE_Sign1 message (RFC 9052 section 4.2), tagged, with an
// empty unprotected header and the protected header {1: alg, 4: key}, the raw
// public key standing as its own key identifier.
type Envelope struct {
	Key       []byte
	Payload   []byte
	Signature []byte

	signed []byte // the Sig_structure
}

// Seal signs payload for a purpose and returns the encoded envelope.
func Seal(payload []byte, purpose Purpose, s Signer) ([]byte, error) {
	protected, err := appendProtected(nil, s.Public())
	if err != nil {
		return nil, err
	}
	sig, err := s.Sign(appendSigStructure(nil, protected, purpose, payload))
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	if len(sig) != SignatureSize {
		return nil, fmt.Errorf("signer made %d bytes: %w", len(sig), abi.CodeBadSignature)
	}
	b := cbor.AppendTag(nil, coseSign1Tag)
	b = cbor.AppendArray(b, 4)
	b = cbor.AppendBytes(b, protected)
	b = cbor.AppendMap(b, 0)
	b = cbor.AppendBytes(b, payload)
	return cbor.AppendBytes(b, sig), nil
}

func appendProtected(b, key []byte) ([]byte, error) {
	alg, err := algorithmOf(key)
	if err != nil {
		return nil, err
	}
	b = cbor.AppendMap(b, 2)
	b = cbor.AppendInt(cbor.AppendUint(b, 1), alg)
	return cbor.AppendBytes(cbor.AppendUint(b, 4), key), nil
}

func algorithmOf(key []byte) (int64, error) {
	switch len(key) {
	case Ed25519KeySize:
		return algEdDSA, nil
	case P256KeySize:
		return algES256, nil
	}
	return 0, fmt.Errorf("key of %d bytes: %w", len(key), abi.CodeBadKey)
}

// appendSigStructure appends ["Signature1", protected, external_aad, payload]
// (RFC 9052 section 4.4).
func appendSigStructure(b, protected []byte, purpose Purpose, payload []byte) []byte {
	b = cbor.AppendArray(b, 4)
	b = cbor.AppendText(b, "Signature1")
	b = cbor.AppendBytes(b, protected)
	b = cbor.AppendBytes(b, []byte(purpose))
	return cbor.AppendBytes(b, payload)
}

// ParseEnvelope reads an envelope without checking its signature. The fields
// alias b.
func ParseEnvelope(b []byte, purpose Purpose) (Envelope, error) {
	r := cbor.NewReader(b)
	if tag := r.Tag(); r.Err() == nil && tag != coseSign1Tag {
		r.Fail(fmt.Errorf("tag %d is not COSE_Sign1: %w", tag, abi.CodeMalformed))
	}
	r.ArrayN(4)
	protected := r.Bytes()
	if n := r.Map(); n != 0 {
		r.Fail(fmt.Errorf("unprotected header is not empty: %w", abi.CodeMalformed))
	}
	e := Envelope{Payload: r.Bytes(), Signature: r.BytesN(SignatureSize)}
	if err := r.Done(); err != nil {
		return Envelope{}, abi.Malformed(err)
	}
	key, err := parseProtected(protected)
	if err != nil {
		return Envelope{}, err
	}
	e.Key = key
	e.signed = appendSigStructure(make([]byte, 0, len(protected)+len(e.Payload)+64), protected, purpose, e.Payload)
	return e, nil
}

func parseProtected(protected []byte) ([]byte, error) {
	r := cbor.NewReader(protected)
	var alg int64
	var key []byte
	for f := r.Fields(); f.Next(); {
		switch f.Key() {
		case 1:
			alg = r.Int()
		case 4:
			key = r.Bytes()
		default:
			r.Fail(fmt.Errorf("protected header %d is not admitted: %w", f.Key(), abi.CodeMalformed))
		}
	}
	if err := r.Done(); err != nil {
		return nil, abi.Malformed(err)
	}
	want, err := algorithmOf(key)
	if err != nil {
		return nil, err
	}
	if alg != want {
		return nil, fmt.Errorf("algorithm %d does not go with a key of %d bytes: %w", alg, len(key), abi.CodeBadKey)
	}
	return key, nil
}

// ID is SHA-256 of the Sig_structure: fixed by what was signed and by whom,
// untouched by the signature's malleability. It says nothing of the signature:
// whoever remembers that one was good remembers it by the whole envelope.
func (e *Envelope) ID() abi.Hash { return sha256.Sum256(e.signed) }

// Verify checks the signature.
func (e *Envelope) Verify() error {
	if !VerifySignature(e.Key, e.signed, e.Signature) {
		return abi.CodeBadSignature
	}
	return nil
}

// verifyOptions are the rules of every ed25519 check, single or in batch:
// they must accept exactly the same signatures, or validators fork.
var verifyOptions = &ed25519.Options{Verify: ed25519.VerifyOptionsDefault}

// VerifySignature is the one signature check of the protocol: ed25519 for a
// 32-byte key, ECDSA P-256 with SHA-256 for a 33-byte key. Anything of a
// wrong length is a bad signature.
func VerifySignature(key, message, signature []byte) bool {
	if len(signature) != SignatureSize {
		return false
	}
	switch len(key) {
	case Ed25519KeySize:
		return ed25519.VerifyWithOptions(key, message, signature, verifyOptions)
	case P256KeySize:
		return verifyP256(key, message, signature)
	}
	return false
}

// verifyP256 accepts both s and n-s: ids are hashes of what was signed, so a
// second signature of the same message is the same transaction.
func verifyP256(key, message, signature []byte) bool {
	x, y := elliptic.UnmarshalCompressed(elliptic.P256(), key)
	if x == nil {
		return false
	}
	var point [1 + 2*32]byte
	point[0] = 4 // uncompressed (SEC 1 section 2.3.3)
	x.FillBytes(point[1:33])
	y.FillBytes(point[33:])
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point[:])
	if err != nil {
		return false
	}
	digest := sha256.Sum256(message)
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	return ecdsa.Verify(public, digest[:], r, s)
}

// minBatch is from how many ed25519 signatures on a batch costs less than
// single checks: measured 31 against 40 microseconds a signature at 4, and 43
// at 2.
const minBatch = 4

// VerifyAll checks many envelopes at once, ed25519 ones in one batch, and
// tells which are good. It accepts exactly what Verify accepts. A batch with a
// bad signature costs half as much again as single checks, so whoever admits
// strangers' signatures checks them singly.
func VerifyAll(envelopes []*Envelope) []bool {
	good := make([]bool, len(envelopes))
	var inBatch []int
	for i, e := range envelopes {
		if len(e.Key) == Ed25519KeySize && len(e.Signature) == SignatureSize {
			inBatch = append(inBatch, i)
		} else {
			good[i] = e.Verify() == nil
		}
	}
	if len(inBatch) < minBatch {
		for _, i := range inBatch {
			good[i] = envelopes[i].Verify() == nil
		}
		return good
	}
	batch := ed25519.NewBatchVerifierWithCapacity(len(inBatch))
	batch.ForceNoPublicKeyExpansion() // it pays only where keys repeat
	for _, i := range inBatch {
		e := envelopes[i]
		batch.AddWithOptions(e.Key, e.signed, e.Signature, verifyOptions)
	}
	_, each := batch.Verify(nil)
	for k, i := range inBatch {
		good[i] = each[k]
	}
	return good
}

// ValidKey says whether a signature under key can be good: it has the length
// of a key and is the one encoding of a point on its curve, for ed25519 of a
// point that is not of small order.
func ValidKey(key []byte) bool {
	switch len(key) {
	case Ed25519KeySize:
		var compressed curve.CompressedEdwardsY
		var point curve.EdwardsPoint
		if _, err := compressed.SetBytes(key); err != nil || !compressed.IsCanonicalVartime() {
			return false
		}
		_, err := point.SetCompressedY(&compressed)
		return err == nil && !point.IsSmallOrder()
	case P256KeySize:
		x, _ := elliptic.UnmarshalCompressed(elliptic.P256(), key)
		return x != nil
	}
	return false
}

// AccountID is the id of the account whose first key this is.
func AccountID(key []byte) abi.Hash { return sha256.Sum256(key) }
