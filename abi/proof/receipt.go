package proof

import (
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
)

// MaxReceipt bounds an encoded receipt in bytes: a request of the greatest
// length and some hundred changes of the validators.
const MaxReceipt = 1 << 20

// MaxReceiptSteps is how many changes of the validators a receipt may carry.
const MaxReceiptSteps = 1 << 10

// Receipt is a decision with everything that proves, to whoever trusts the
// chain, that a gateway gave it and keeps it in its log: a map
//
//	1 account (bytes)        whose log it is: the gateway's
//	2 record (Disclosure)
//	3 log proof (text)       that the record is in the log (LogProof)
//	4 anchor (Entry)         that the ledger has the log's head
//	5 steps ([Step, …])      changes of the validators up to those that certified
//	                         the anchor, from the genesis or a later set on
type Receipt struct {
	Account abi.Hash
	Record  *Disclosure
	Log     LogProof
	Anchor  Entry
	Steps   []Step
}

// Append appends the encoding of r.
func (r *Receipt) Append(b []byte) []byte {
	b = cbor.AppendMap(b, 5)
	b = cbor.AppendBytes(cbor.AppendUint(b, 1), r.Account[:])
	b = r.Record.Append(cbor.AppendUint(b, 2))
	b = cbor.AppendText(cbor.AppendUint(b, 3), string(r.Log.Append(nil)))
	b = r.Anchor.Append(cbor.AppendUint(b, 4))
	b = cbor.AppendArray(cbor.AppendUint(b, 5), len(r.Steps))
	for i := range r.Steps {
		b = r.Steps[i].Append(b)
	}
	return b
}

// ParseReceipt reads a receipt; it aliases b and proves nothing yet.
func ParseReceipt(b []byte) (*Receipt, error) {
	if len(b) > MaxReceipt {
		return nil, fmt.Errorf("receipt of %d bytes: %w", len(b), abi.CodeTooLarge)
	}
	r := &Receipt{}
	err := parseParts(b, 5, func(field uint64, raw []byte) (err error) {
		in := cbor.NewReader(raw)
		switch field {
		case 1:
			copy(r.Account[:], in.BytesN(len(r.Account)))
			err = in.Err()
		case 2:
			r.Record, err = ParseDisclosure(raw)
		case 3:
			text := in.Text()
			if err = in.Err(); err == nil {
				r.Log, err = ParseLogProof([]byte(text))
			}
		case 4:
			r.Anchor, err = ParseEntry(raw)
		case 5:
			r.Steps, err = parseSteps(&in)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("receipt: %w", err)
	}
	return r, nil
}

func parseSteps(r *cbor.Reader) ([]Step, error) {
	n := r.Array()
	if n > MaxReceiptSteps {
		return nil, fmt.Errorf("%d changes of the validators: %w", n, abi.CodeTooLarge)
	}
	steps := make([]Step, 0, n)
	for range n {
		raw := r.Raw()
		if r.Err() != nil {
			return nil, r.Err()
		}
		s, err := ParseStep(raw)
		if err != nil {
			return nil, err
		}
		steps = append(steps, s)
	}
	return steps, r.Done()
}

// Proven is what a receipt proves.
type Proven struct {
	Record Record   // fields that are not shown are zero
	Shown  FieldSet // what the receipt shows of it
	Index  uint64   // of the record in the log
	Size   uint64   // of the log, when it was anchored
	Height uint64   // of the block that anchored it
	Time   int64    // of that block in ms
}

// Verify checks the whole receipt from what is trusted of the chain: the changes
// of the validators, the certificate of a block, the log's head in its state,
// and the record in the log. What is trusted must not be above the receipt.
func (r *Receipt) Verify(t *Trusted) (*Proven, error) {
	trusted := *t
	for i := range r.Steps {
		if s := &r.Steps[i]; s.Header.Height > trusted.Height && s.Header.Height < r.Anchor.Header.Height {
			if err := trusted.Advance(s); err != nil {
				return nil, fmt.Errorf("receipt: %w", err)
			}
		}
	}
	value, present, err := r.Anchor.Verify(&trusted, chain.AnchorKey(r.Account))
	if err != nil {
		return nil, fmt.Errorf("receipt: %w", err)
	}
	return r.VerifyAnchored(r.Anchor.Header.Chain, value, present)
}

// VerifyAnchored checks the rest for a caller that has verified what stands in
// the state of a chain under the AnchorKey of the receipt's account.
func (r *Receipt) VerifyAnchored(id abi.Hash, value []byte, present bool) (*Proven, error) {
	if !present {
		return nil, fmt.Errorf("receipt: the ledger has no head of the log of account %x: %w", r.Account[:8], abi.CodeBadProof)
	}
	a, err := chain.ParseAnchored(value)
	if err != nil {
		return nil, fmt.Errorf("receipt: the anchor: %w", err)
	}
	c, err := OpenCheckpoint(r.Log.Checkpoint, LogOrigin(id, r.Account), a.Key)
	if err != nil {
		return nil, fmt.Errorf("receipt: %w", err)
	}
	if c.Size != a.Size || c.Root != a.Root {
		return nil, fmt.Errorf("receipt: the ledger has another head of the log: %w", abi.CodeBadProof)
	}
	if err := c.VerifyInclusion(r.Record.Leaf(), r.Log.Index, r.Log.Path); err != nil {
		return nil, fmt.Errorf("receipt: %w", err)
	}
	p := &Proven{Shown: r.Record.Shown(), Index: r.Log.Index, Size: a.Size, Height: a.Height, Time: a.Time}
	p.Record, err = r.Record.Record()
	return p, err
}
