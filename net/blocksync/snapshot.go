package blocksync

import (
	"context"
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/net/peer"
)

// SnapshotSource is where Serve takes snapshots from. Its methods are called
// from several goroutines.
type SnapshotSource interface {
	// Manifest is the newest kept snapshot's, encoded.
	Manifest() (raw []byte, ok bool)
	// Chunk is an encoded proof.Chunk of the state at a snapshot's height.
	// abi.CodeTooLarge lets the peer ask for its two halves, abi.CodeNotFound
	// tells it that the snapshot is not kept.
	Chunk(height uint64, prefix uint64, depth uint8) ([]byte, error)
	// Guards are a page of the replay guards at a snapshot's height, as
	// proof.AppendGuards writes it, the first after nil, and what to ask for
	// the next page with: nil on the last.
	Guards(height uint64, after []byte) (page, next []byte, err error)
}

// SnapshotSink makes a ledger of a snapshot.
type SnapshotSink interface {
	// Begin names the snapshot, of which everything is verified but the number
	// of keys. done says which chunks are there already, from an earlier
	// attempt at the same snapshot. Guards are always given anew. Begin may
	// come again after an error of Guards or Finish.
	Begin(m *Manifest) (done func(prefix uint64, depth uint8) bool, err error)
	// Chunk takes a chunk that is verified against the header's state root. It
	// is called from several goroutines.
	Chunk(prefix uint64, depth uint8, c *proof.Chunk) error
	// Guards takes a page of replay guards. The pages come in order after all
	// chunks. Whether they are right shows when all are there: an error of
	// Guards or of Finish that wraps abi.CodeBadProof puts the blame on them,
	// and they are fetched from another peer.
	Guards(page []byte) error
	// Finish verifies everything against the root and makes it the node's
	// ledger, at once or not at all.
	Finish(ctx context.Context) error
}

// Limits of snapshots.
const (
	maxManifest  = 16 << 20  // bytes: thousands of steps and the outcomes of a block
	manifestPart = 128 << 10 // bytes of a frame
	maxSteps     = 1 << 16
	maxPages     = 1024 // of guards: 4 million transactions in ten minutes
)

// Manifest says what a snapshot is the state of, and proves it to whoever
// knows the genesis: a map
//
//	1 block at the height (bytes)       4 [step (bytes, proof.Step) …] from the genesis on
//	2 certificate (chain.Certificate)   5 number of keys of the state, which nothing proves
//	3 outcomes of the block (bytes)
type Manifest struct {
	Header      chain.Header // of the block
	Block       []byte
	Certificate []byte
	Outcomes    []byte
	Steps       [][]byte // up to the height
	Keys        uint64
}

// Append appends the encoding of m. The header stands in the block.
func (m *Manifest) Append(b []byte) []byte {
	b = cbor.AppendMap(b, 5)
	b = cbor.AppendBytes(cbor.AppendUint(b, 1), m.Block)
	b = cbor.AppendBytes(cbor.AppendUint(b, 2), m.Certificate)
	b = cbor.AppendBytes(cbor.AppendUint(b, 3), m.Outcomes)
	b = cbor.AppendArray(cbor.AppendUint(b, 4), len(m.Steps))
	for _, s := range m.Steps {
		b = cbor.AppendBytes(b, s)
	}
	return cbor.AppendUint(cbor.AppendUint(b, 5), m.Keys)
}

// ParseManifest reads a manifest; it aliases b and proves nothing yet.
func ParseManifest(b []byte) (*Manifest, error) {
	m := &Manifest{}
	r := cbor.NewReader(b)
	seen := 0
	for f := r.Fields(); f.Next(); seen++ {
		switch f.Key() {
		case 1:
			m.Block = r.Bytes()
		case 2:
			m.Certificate = r.Bytes()
		case 3:
			m.Outcomes = r.Bytes()
		case 4:
			m.Steps = readSteps(&r)
		case 5:
			m.Keys = r.Uint()
		default:
			r.Fail(fmt.Errorf("field %d of a manifest: %w", f.Key(), abi.CodeMalformed))
		}
	}
	if r.Err() == nil && seen != 5 {
		r.Fail(fmt.Errorf("a manifest of %d fields: %w", seen, abi.CodeMalformed))
	}
	if err := r.Done(); err != nil {
		return nil, abi.Malformed(err)
	}
	k, err := chain.ParseBlock(m.Block)
	if err != nil {
		return nil, fmt.Errorf("block of a manifest: %w", err)
	}
	m.Header = k.Header
	return m, nil
}

func readSteps(r *cbor.Reader) (steps [][]byte) {
	n := r.Array()
	if n > maxSteps {
		r.Fail(fmt.Errorf("%d steps: %w", n, abi.CodeTooLarge))
	}
	for ; n > 0 && r.Err() == nil; n-- {
		steps = append(steps, r.Bytes())
	}
	return steps
}

// Verify checks that the block at the height is the chain's: that the steps
// lead from the trusted validators to those that certified it, and that block
// and outcomes are the header's. trusted comes to the validators that sign
// after it. That no step was left out shows only where the others do not lead
// on: validators who were voted out and in again may be missing between.
func (m *Manifest) Verify(trusted *proof.Trusted) error {
	height := m.Header.Height
	if _, err := parseBody(m.Block, height, trusted.Chain); err != nil {
		return fmt.Errorf("block %d: %w", height, err)
	}
	if err := m.verifyOutcomes(); err != nil {
		return fmt.Errorf("outcomes of block %d: %w", height, err)
	}
	certificate, err := chain.ParseCertificate(m.Certificate)
	if err != nil {
		return fmt.Errorf("certificate of block %d: %w", height, err)
	}
	signers := trusted.Validators
	for i, raw := range m.Steps {
		step, err := proof.ParseStep(raw)
		if h := &step.Header; err == nil && (h.Height > height || h.Height == height && *h != m.Header) {
			err = fmt.Errorf("at height %d it is not one of the snapshot's: %w", h.Height, abi.CodeBadProof)
		}
		if err == nil {
			err = trusted.Advance(&step)
		}
		if err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
		if step.Header.Height < height {
			signers = trusted.Validators
		}
	}
	if err := certificate.Verify(&m.Header, signers); err != nil {
		return fmt.Errorf("block %d: %w", height, err)
	}
	if trusted.Validators.Hash() != m.Header.NextValidators {
		return fmt.Errorf("the steps do not lead to the validators after block %d: %w", height, abi.CodeBadProof)
	}
	return nil
}

func (m *Manifest) verifyOutcomes() error {
	outcomes, err := chain.ParseOutcomes(m.Outcomes)
	if err == nil && proof.Root(outcomes) != m.Header.Outcomes {
		err = abi.CodeBadProof
	}
	return err
}

// serveSnapshot answers a request about snapshots.
func serveSnapshot(source SnapshotSource, q *request, st peer.Stream) error {
	switch q.kind {
	case kindChunk:
		chunk, err := source.Chunk(q.height, q.prefix, q.depth)
		if err == nil && len(chunk) > peer.MaxFrame {
			err = abi.CodeTooLarge
		}
		if err != nil {
			return err
		}
		return st.Send(chunk)
	case kindGuards:
		return serveGuards(source, q.height, st)
	}
	raw, ok := source.Manifest()
	if !ok {
		return abi.CodeNotFound
	}
	m, err := ParseManifest(raw)
	if err != nil {
		return fmt.Errorf("the manifest kept here: %w", err)
	}
	if q.kind == kindOffer {
		return st.Send(appendOffer(nil, offer{m.Header.Height, uint64(len(raw))}))
	}
	if m.Header.Height != q.height {
		return abi.CodeNotFound
	}
	for len(raw) > 0 {
		n := min(len(raw), manifestPart)
		if err := st.Send(raw[:n]); err != nil {
			return err
		}
		raw = raw[n:]
	}
	return nil
}

func serveGuards(source SnapshotSource, height uint64, st peer.Stream) error {
	for after, first := []byte(nil), true; first || after != nil; first = false {
		page, next, err := source.Guards(height, after)
		if err == nil {
			err = st.Send(page)
		}
		if err != nil {
			return err
		}
		after = next
	}
	return nil
}
