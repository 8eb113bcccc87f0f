package chain

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/asn1"
	"errors"
	"maps"
	"math/big"
	"slices"
	"testing"

	"github.com/oasisprotocol/curve25519-voi/curve/scalar"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// seed is 32 bytes that make a key: SHA-256 of its name.
func seed(name string) []byte {
	h := sha256.Sum256([]byte(name))
	return h[:]
}

// edSigner signs with the standard library's ed25519, so that every test of a
// signature crosses two implementations.
type edSigner struct{ key ed25519.PrivateKey }

func newEd(name string) edSigner { return edSigner{ed25519.NewKeyFromSeed(seed(name))} }

func (s edSigner) Public() []byte                      { return s.key.Public().(ed25519.PublicKey) }
func (s edSigner) Sign(message []byte) ([]byte, error) { return ed25519.Sign(s.key, message), nil }

// ecSigner signs with P-256, deterministically (RFC 6979).
type ecSigner struct{ key *ecdsa.PrivateKey }

func newEC(name string) ecSigner {
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), seed(name))
	if err != nil {
		panic(err)
	}
	return ecSigner{key}
}

func (s ecSigner) Public() []byte {
	point, err := s.key.PublicKey.Bytes() // 04 | x | y
	if err != nil {
		panic(err)
	}
	return append([]byte{2 + point[64]&1}, point[1:33]...)
}

func (s ecSigner) Sign(message []byte) ([]byte, error) {
	digest := sha256.Sum256(message)
	der, err := s.key.Sign(nil, digest[:], crypto.SHA256)
	if err != nil {
		return nil, err
	}
	var rs struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &rs); err != nil {
		return nil, err
	}
	sig := make([]byte, SignatureSize)
	rs.R.FillBytes(sig[:32])
	rs.S.FillBytes(sig[32:])
	return sig, nil
}

func hash(name string) abi.Hash { return sha256.Sum256([]byte(name)) }

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// rebuild encodes an envelope from its parts.
func rebuild(t testing.TB, e *Envelope) []byte {
	t.Helper()
	protected, err := appendProtected(nil, e.Key)
	if err != nil {
		t.Fatal(err)
	}
	b := cbor.AppendArray(cbor.AppendTag(nil, coseSign1Tag), 4)
	b = cbor.AppendMap(cbor.AppendBytes(b, protected), 0)
	return cbor.AppendBytes(cbor.AppendBytes(b, e.Payload), e.Signature)
}

// checkCode wants every refusal to carry a stable code.
func checkCode(t testing.TB, err error) {
	t.Helper()
	if c, ok := errors.AsType[abi.Code](err); !ok || c == abi.OK || c.Text() == "" {
		t.Errorf("error without a code: %v", err)
	}
}

// codec reads a message and writes it again.
type codec struct {
	name  string
	again func([]byte) ([]byte, error)
}

func codecOf[T any, P interface {
	*T
	Append([]byte) []byte
}](name string, parse func([]byte) (T, error)) codec {
	return codec{name, func(b []byte) ([]byte, error) {
		v, err := parse(b)
		if err != nil {
			return nil, err
		}
		return P(&v).Append(nil), nil
	}}
}

func codecFunc[T any](name string, parse func([]byte) (T, error), appendTo func([]byte, T) []byte) codec {
	return codec{name, func(b []byte) ([]byte, error) {
		v, err := parse(b)
		if err != nil {
			return nil, err
		}
		return appendTo(nil, v), nil
	}}
}

// messages have one encoding each.
var messages = []codec{
	codecOf("grant", ParseGrant), codecOf("rotate", ParseRotate), codecOf("enrol", ParseEnrol),
	codecOf("enrolment", ParseEnrolment), codecOf("device-status", ParseDeviceStatus), codecOf("upload", ParseUpload),
	codecOf("chunk", ParseChunk), codecOf("deploy", ParseDeploy), codecOf("call", ParseCall), codecOf("bind", ParseBind),
	codecOf("issue-token", ParseIssueToken), codecOf("revoke-token", ParseRevokeToken), codecOf("upgrade", ParseUpgrade),
	codecOf("propose", ParsePropose), codecOf("vote", ParseVote), codecOf("guardians", ParseGuardians), codecOf("add-validator", ParseAddValidator),
	codecOf("remove-validator", ParseRemoveValidator), codecOf("replace-validator", ParseReplaceValidator), codecOf("recover", ParseRecover),
	codecOf("origin", ParseOrigin), codecOf("origin-proof", ParseOriginProof), codecOf("certificate", ParseCertificate), codecOf("validator-set", ParseValidatorSet),
	codecOf("register-manufacturer", ParseRegisterManufacturer), codecOf("prove-origin", ParseProveOrigin), codecOf("device-origin", ParseDeviceOrigin),
	codecOf("transfer", ParseTransfer), codecOf("acceptance", ParseAcceptance), codecOf("bind-device", ParseBindDevice),
	codecOf("blacklist", ParseBlacklist), codecOf("register-platform", ParseRegisterPlatform), codecOf("import-blacklist", ParseImportBlacklist), codecOf("platform-list", ParsePlatformList),
	codecOf("anchor", ParseAnchor), codecOf("offence", ParseOffence), codecOf("witness", ParseWitness),
	codecOf("verdict", ParseVerdict), codecOf("evidence", ParseEvidence), codecOf("report", ParseReport),
	codecOf("alert", ParseAlert), codecOf("sealed", ParseSealed), codecOf("declare-stolen", ParseDeclareStolen),
	codecFunc("rotation-body", ParseRotationBody, func(b []byte, id abi.Hash) []byte { return append(b, RotationBody(id)...) }),
	codecFunc("header", ParseHeader, func(b []byte, h Header) []byte { return AppendHeader(b, &h) }),
	codecFunc("block", ParseBlock, AppendBlock),
	codecFunc("outcome", ParseOutcome, func(b []byte, o Outcome) []byte { return AppendOutcome(b, &o) }),
	codecFunc("outcomes", ParseOutcomes, AppendOutcomes),
	codecFunc("genesis", ParseGenesis, func(b []byte, g *Genesis) []byte { return g.Append(b) }),
	codecFunc("body", parseBody, func(b []byte, t Body) []byte { return AppendBody(b, &t) }),
}

// records may hold keys that this version does not know.
var records = []codec{
	codecOf("params", ParseParams), codecOf("account", ParseAccount), codecOf("quota", ParseQuota),
	codecOf("device", ParseDevice), codecOf("code", ParseCode), codecOf("pending-upload", ParsePendingUpload),
	codecOf("contract", ParseContract), codecOf("domain", ParseDomain), codecOf("token", ParseToken), codecOf("timer", ParseTimer),
	codecOf("contract-version", ParseContractVersion), codecOf("proposal", ParseProposal),
	codecOf("manufacturer", ParseManufacturer), codecOf("listing", ParseListing), codecOf("platform", ParsePlatform),
	codecOf("anchored", ParseAnchored), codecOf("anchored-at", ParseAnchoredAt), codecOf("forked", ParseForked), codecOf("witnessed", ParseWitnessed),
	codecOf("verdicts", ParseVerdicts), codecOf("alerts", ParseAlerts), codecOf("sealed-item", ParseSealedItem), codecOf("notice", ParseNotice),
}

// checkMessage: what a message's parser accepts is the one encoding.
func checkMessage(t testing.TB, c codec, in []byte) (accepted bool) {
	again, err := c.again(in)
	if err != nil {
		checkCode(t, err)
		return false
	}
	if !bytes.Equal(again, in) {
		t.Errorf("%s: %x was accepted and is written as %x", c.name, in, again)
	}
	return true
}

// checkRecord: what a record's parser accepts is canonical CBOR, and written
// again it reads as the same.
func checkRecord(t testing.TB, c codec, in []byte) (accepted bool) {
	again, err := c.again(in)
	if err != nil {
		checkCode(t, err)
		return false
	}
	if err := cbor.Validate(in); err != nil {
		t.Errorf("%s: %x was accepted: %v", c.name, in, err)
	}
	if twice, err := c.again(again); err != nil || !bytes.Equal(twice, again) {
		t.Errorf("%s: %x is written as %x and then as %x, %v", c.name, in, again, twice, err)
	}
	return true
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func slicesSortSignatures(list []Signature) {
	slices.SortFunc(list, func(a, b Signature) int { return cmp.Compare(a.Validator, b.Validator) })
}

func slicesSortVectors(list []vector) {
	slices.SortFunc(list, func(a, b vector) int { return cmp.Compare(a.Name, b.Name) })
}

// challenge is SHA-512(R | A | message) as a scalar (RFC 8032 section 5.1.7).
func challenge(r, a, message []byte) *scalar.Scalar {
	h := sha512.New()
	h.Write(r)
	h.Write(a)
	h.Write(message)
	s, err := scalar.New().SetBytesModOrderWide(h.Sum(nil))
	if err != nil {
		panic(err)
	}
	return s
}
