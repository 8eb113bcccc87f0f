// Package firmware makes what the firmware contract, whose sources and Wasm lie
// beside it, is told: SUIT manifests (draft-ietf-suit-manifest) and the
// envelopes in which they are signed.
//
// A maker describes an image by a Manifest and signs it by Sign with as many
// keys as the line asks for; the envelope goes into the contract's propose, the
// keys beside it in the order of the signatures. Envelopes of other tools do as
// well: the contract alone says which are good.
package firmware

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// MaxEnvelope is how many bytes of an envelope the contract takes.
const MaxEnvelope = 16<<10 - 64

// MaxSignatures is how many signatures an envelope may have.
const MaxSignatures = 4

// MaxURI is how many bytes of a URI the contract takes.
const MaxURI = 256

// ErrTooLarge is the error of an envelope that the contract would not take.
var ErrTooLarge = errors.New("the envelope is larger than the contract takes")

// Manifest describes an image of one component. Devices check vendor and class
// before anything else, and the image's digest before they run it.
type Manifest struct {
	Sequence      uint64
	Vendor, Class [16]byte // UUIDs (RFC 9562)
	Component     [][]byte // the component's identifier, such as [h'00']
	Image         abi.Hash // SHA-256 of the image
	Size          uint64   // its bytes
	// URI is where the image is; with one, the manifest holds the steps that
	// fetch it. Empty, devices learn it from the ledger.
	URI string
}

// The numbers of draft-ietf-suit-manifest that are used here.
const (
	tagEnvelope = 107
	tagSign1    = 18

	sha256Algorithm = -16
	es256           = -7
	edDSA           = -8

	conditionVendor   = 1
	conditionClass    = 2
	conditionImage    = 3
	directiveOverride = 20
	directiveFetch    = 21
	directiveInvoke   = 23

	reportAll     = 15 // a condition's reporting policy
	reportFailure = 2
)

// Append appends the manifest's encoding with its head, a byte string:
//
//	bstr {1: 1, 2: sequence, 3: bstr common, 7: bstr validate,
//	      9: bstr invoke, ? 20: bstr install}
func (m *Manifest) Append(b []byte) []byte {
	members := 5
	if m.URI != "" {
		members++
	}
	in := cbor.AppendMap(nil, members)
	in = cbor.AppendUint(cbor.AppendUint(in, 1), 1)
	in = cbor.AppendUint(cbor.AppendUint(in, 2), m.Sequence)
	in = cbor.AppendBytes(cbor.AppendUint(in, 3), m.common())
	in = cbor.AppendBytes(cbor.AppendUint(in, 7), commands(nil, conditionImage, reportAll))
	in = cbor.AppendBytes(cbor.AppendUint(in, 9), commands(nil, directiveInvoke, reportFailure))
	if m.URI != "" {
		in = cbor.AppendBytes(cbor.AppendUint(in, 20), m.install())
	}
	return cbor.AppendBytes(b, in)
}

// common is {2: [component], 4: bstr shared sequence}.
func (m *Manifest) common() []byte {
	b := cbor.AppendMap(nil, 2)
	b = cbor.AppendArray(cbor.AppendArray(cbor.AppendUint(b, 2), 1), len(m.Component))
	for _, part := range m.Component {
		b = cbor.AppendBytes(b, part)
	}
	return cbor.AppendBytes(cbor.AppendUint(b, 4), m.shared())
}

func (m *Manifest) shared() []byte {
	p := cbor.AppendMap(nil, 4)
	p = cbor.AppendBytes(cbor.AppendUint(p, 1), m.Vendor[:])
	p = cbor.AppendBytes(cbor.AppendUint(p, 2), m.Class[:])
	p = cbor.AppendBytes(cbor.AppendUint(p, 3), digest(m.Image))
	p = cbor.AppendUint(cbor.AppendUint(p, 14), m.Size)
	return commands(p, conditionVendor, reportAll, conditionClass, reportAll)
}

func (m *Manifest) install() []byte {
	p := cbor.AppendText(cbor.AppendUint(cbor.AppendMap(nil, 1), 21), m.URI)
	return commands(p, directiveFetch, reportFailure, conditionImage, reportAll)
}

// commands is a sequence that sets parameters, if there are any, and then runs
// commands, each with its argument behind it.
func commands(parameters []byte, rest ...uint64) []byte {
	n := len(rest)
	if parameters != nil {
		n += 2
	}
	b := cbor.AppendArray(nil, n)
	if parameters != nil {
		b = append(cbor.AppendUint(b, directiveOverride), parameters...)
	}
	for _, v := range rest {
		b = cbor.AppendUint(b, v)
	}
	return b
}

// digest is a SUIT_Digest: [algorithm, bytes].
func digest(h abi.Hash) []byte {
	return cbor.AppendBytes(cbor.AppendInt(cbor.AppendArray(nil, 2), sha256Algorithm), h[:])
}

// Signer holds a key: sdk/key does.
type Signer interface {
	Public() []byte // 32 bytes of ed25519, or 33 of P-256, compressed
	Sign(message []byte) ([]byte, error)
}

// Sign makes the envelope of a manifest, signed by each of the keys, and gives
// the manifest's digest, by which the contract knows it.
func Sign(m *Manifest, signers ...Signer) (envelope []byte, manifest abi.Hash, err error) {
	if len(signers) == 0 || len(signers) > MaxSignatures {
		return nil, manifest, fmt.Errorf("%d signatures: an envelope has from 1 to %d", len(signers), MaxSignatures)
	}
	body := m.Append(nil)
	manifest = sha256.Sum256(body)
	payload := digest(manifest)
	wrapper := cbor.AppendBytes(cbor.AppendArray(nil, 1+len(signers)), payload)
	for _, s := range signers {
		block, err := sign1(s, payload)
		if err != nil {
			return nil, manifest, fmt.Errorf("signing the manifest: %w", err)
		}
		wrapper = cbor.AppendBytes(wrapper, block)
	}
	envelope = cbor.AppendMap(cbor.AppendTag(nil, tagEnvelope), 2)
	envelope = cbor.AppendBytes(cbor.AppendUint(envelope, 2), wrapper)
	envelope = append(cbor.AppendUint(envelope, 3), body...)
	if len(envelope) > MaxEnvelope {
		return nil, manifest, ErrTooLarge
	}
	return envelope, manifest, nil
}

// sign1 is a COSE_Sign1 of a detached payload: 18([protected, {}, null, signature]).
func sign1(s Signer, payload []byte) ([]byte, error) {
	algorithm := int64(edDSA)
	if len(s.Public()) == 33 {
		algorithm = es256
	}
	protected := cbor.AppendInt(cbor.AppendUint(cbor.AppendMap(nil, 1), 1), algorithm)
	signature, err := s.Sign(toBeSigned(protected, payload))
	if err != nil {
		return nil, err
	}
	b := cbor.AppendArray(cbor.AppendTag(nil, tagSign1), 4)
	b = cbor.AppendNull(cbor.AppendMap(cbor.AppendBytes(b, protected), 0))
	return cbor.AppendBytes(b, signature), nil
}

// toBeSigned is the Sig_structure of RFC 9052, section 4.4.
func toBeSigned(protected, payload []byte) []byte {
	b := cbor.AppendText(cbor.AppendArray(nil, 4), "Signature1")
	b = cbor.AppendBytes(cbor.AppendBytes(b, protected), nil)
	return cbor.AppendBytes(b, payload)
}
