package client

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
)

// maxProofFile bounds what ParseProof reads, in bytes: thousands of changes of
// the validators.
const maxProofFile = 16 << 20

// Proof is what someone needs who holds the chain's trust bundle, nothing
// else, and perhaps years later wants to know what a block's header was, or
// what stood in the state under a key: a file that verifies alone. As JSON:
//
//	{
//	  "chain": "<chain id in hex>",
//	  "height": 1042,
//	  "header": "<chain.Header in base64>",
//	  "certificate": "<chain.Certificate in base64>",
//	  "key": "<state key in hex>",
//	  "state": "<proof.State in base64>",
//	  "steps": ["<proof.Step in base64>"]
//	}
//
// The steps lead from the validators of the genesis, or of a checkpoint, to
// those that signed the header. A proof of a header alone has neither key nor
// state. The height only helps the eye.
type Proof struct {
	Chain       abi.Hash
	Header      []byte
	Certificate []byte
	Key         []byte // nil: of the header alone
	State       []byte
	Steps       [][]byte
}

type proofFile struct {
	Chain       string   `json:"chain"`
	Height      uint64   `json:"height"`
	Header      []byte   `json:"header"`
	Certificate []byte   `json:"certificate"`
	Key         string   `json:"key,omitempty"`
	State       []byte   `json:"state,omitempty"`
	Steps       [][]byte `json:"steps"`
}

// ParseProof reads a proof's file. It proves nothing yet.
func ParseProof(text []byte) (*Proof, error) {
	if len(text) > maxProofFile {
		return nil, fmt.Errorf("proof of %d bytes: %w", len(text), abi.CodeTooLarge)
	}
	var f proofFile
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, fmt.Errorf("proof: %w: %w", abi.CodeMalformed, err)
	}
	id, err := hex.DecodeString(f.Chain)
	if err != nil || len(id) != len(abi.Hash{}) {
		return nil, fmt.Errorf("proof: chain %q is not 64 hexadecimal digits: %w", f.Chain, abi.CodeMalformed)
	}
	p := &Proof{Chain: abi.Hash(id), Header: f.Header, Certificate: f.Certificate, State: f.State, Steps: f.Steps}
	if p.Key, err = hex.DecodeString(f.Key); err != nil {
		return nil, fmt.Errorf("proof: key: %w: %w", abi.CodeMalformed, err)
	}
	if f.Key == "" {
		p.Key = nil
	}
	if (p.Key == nil) != (p.State == nil) {
		return nil, fmt.Errorf("proof: key and state belong together: %w", abi.CodeMalformed)
	}
	h, err := chain.ParseHeader(p.Header)
	if err != nil {
		return nil, fmt.Errorf("proof: header: %w", err)
	}
	if h.Height != f.Height || h.Chain != p.Chain {
		return nil, fmt.Errorf("proof: the header is of another height or chain: %w", abi.CodeMalformed)
	}
	return p, nil
}

// MarshalJSON is the file's form, on one line.
func (p *Proof) MarshalJSON() ([]byte, error) {
	h, err := chain.ParseHeader(p.Header)
	if err != nil {
		return nil, err
	}
	f := proofFile{Chain: hex.EncodeToString(p.Chain[:]), Height: h.Height, Header: p.Header, Certificate: p.Certificate,
		Key: hex.EncodeToString(p.Key), State: p.State, Steps: p.Steps}
	if f.Steps == nil {
		f.Steps = [][]byte{}
	}
	return json.Marshal(f)
}

// Write writes the proof as JSON.
func (p *Proof) Write(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(p)
}

// Verify checks the whole proof from what a light client trusts, which learns
// from it. Of a proof of a header alone the result tells no entry.
func (p *Proof) Verify(l *LightClient) (*Entry, error) {
	if p.Chain != l.chain {
		return nil, fmt.Errorf("proof of chain %x: %w", p.Chain[:4], abi.CodeWrongChain)
	}
	h, err := chain.ParseHeader(p.Header)
	if err != nil {
		return nil, err
	}
	for i, step := range p.Steps {
		if err := l.advanceTo(step, h.Height); err != nil {
			return nil, fmt.Errorf("step %d of the proof: %w", i+1, err)
		}
	}
	certificate, err := chain.ParseCertificate(p.Certificate)
	if err != nil {
		return nil, err
	}
	if p.Key == nil {
		validators, err := l.Header(&h, &certificate)
		if err != nil {
			return nil, err
		}
		return &Entry{Height: h.Height, Header: h, Signers: len(certificate.Signatures), Certificate: certificate, Validators: validators}, nil
	}
	state, err := proof.ParseState(p.State)
	if err != nil {
		return nil, err
	}
	e := proof.Entry{Header: h, Certificate: certificate, State: state}
	return l.entry(nil, &e, p.Key, 0)
}

// advanceTo advances by a step on the way to a height. It passes over what is
// not needed: a step at or above the height, and one that does not lie between
// the last known change of the validators and it.
func (l *LightClient) advanceTo(step []byte, height uint64) error {
	s, err := proof.ParseStep(step)
	if err != nil {
		return err
	}
	if s.Header.Height >= height || s.Header.Height <= l.StepsAfter(height) {
		return nil
	}
	return l.Advance(step)
}

// Prove reads an entry of the state, as Get does, and makes a proof of it that
// verifies without any gateway.
func (c *Client) Prove(ctx context.Context, key []byte) (*Proof, *Entry, error) {
	e, err := c.Get(ctx, key)
	if err != nil {
		return nil, nil, err
	}
	parsed, err := proof.ParseEntry(e.Proof)
	if err != nil {
		return nil, nil, err
	}
	p, err := c.proofOf(ctx, &e.Header, &e.Certificate)
	if err != nil {
		return nil, nil, err
	}
	p.Key, p.State = append([]byte{}, key...), parsed.State.Append(nil)
	return p, e, nil
}

// ProveHeader reads the header of a height, which is above that of the
// genesis, and makes a proof of it that verifies without any gateway.
func (c *Client) ProveHeader(ctx context.Context, height uint64) (*Proof, *Entry, error) {
	if height == 0 {
		return nil, nil, fmt.Errorf("the genesis block is proved by the chain's id, not by a certificate: %w", abi.CodeBadArgument)
	}
	b, err := c.Block(ctx, height)
	if err != nil {
		return nil, nil, err
	}
	p, err := c.proofOf(ctx, &b.Block.Header, &b.Certificate)
	if err != nil {
		return nil, nil, err
	}
	e, err := p.Verify(c.light)
	return p, e, err
}

// proofOf begins at the genesis, also where the client began at a checkpoint:
// then the proof is good for those who know the genesis alone.
func (c *Client) proofOf(ctx context.Context, h *chain.Header, certificate *chain.Certificate) (*Proof, error) {
	if gap := c.light.unexplained(h); gap > 0 {
		l, err := c.connect(ctx)
		if err == nil {
			err = c.walk(ctx, l, gap)
		}
		if err != nil {
			return nil, fmt.Errorf("from the genesis to the checkpoint at height %d: %w", gap, err)
		}
		if c.light.unexplained(h) > 0 {
			return nil, fmt.Errorf("the gateway does not lead from the genesis to the checkpoint at height %d: %w", gap, abi.CodeBadProof)
		}
	}
	return &Proof{
		Chain: h.Chain, Header: chain.AppendHeader(nil, h), Certificate: certificate.Append(nil), Steps: c.light.steps(h.Height),
	}, nil
}

// walk asks a gateway for the steps that lead to the validators of a height.
func (c *Client) walk(ctx context.Context, l *link, height uint64) error {
	for {
		after := c.light.StepsAfter(height)
		raw, err := l.roundTrip(ctx, abi.OpSteps, cbor.AppendUint(cbor.AppendUint(cbor.AppendMap(nil, 1), 1), after))
		if err != nil {
			return fmt.Errorf("steps: %w", err)
		}
		page, err := abi.ParseSteps(raw)
		if err != nil {
			return malformed(err)
		}
		for _, step := range page.Steps {
			if err := c.light.Advance(step); err != nil {
				return err
			}
		}
		if !page.More || c.light.StepsAfter(height) == after {
			return nil
		}
	}
}
