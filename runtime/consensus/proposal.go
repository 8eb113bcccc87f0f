package consensus

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/hyperledger-labs/SmartBFT/pkg/types"
	"github.com/hyperledger-labs/SmartBFT/smartbftprotos"
	"google.golang.org/protobuf/proto"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
)

// maxMetadata bounds SmartBFT's metadata of a block: three numbers, since the
// black list and the digest of signatures belong to leader rotation, which is
// off.
const maxMetadata = 40

// proposal is a parsed types.Proposal: Header holds the encoded header,
// Payload the transactions (array of byte strings), Metadata a ViewMetadata.
type proposal struct {
	block    *chain.Block
	hash     abi.Hash // the block's
	metadata []byte
	sequence uint64 // verification sequence
	view     uint64
	height   uint64 // of the metadata; the header's own is for the ledger to check
}

// newProposal is the inverse of parseProposal.
func newProposal(block *chain.Block, metadata []byte, sequence uint64) types.Proposal {
	return types.Proposal{
		Header:               chain.AppendHeader(nil, &block.Header),
		Payload:              appendPayload(nil, block.Txs),
		Metadata:             metadata,
		VerificationSequence: int64(sequence),
	}
}

func parseProposal(p types.Proposal) (*proposal, error) {
	header, err := chain.ParseHeader(p.Header)
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	txs, err := parsePayload(p.Payload)
	if err != nil {
		return nil, fmt.Errorf("payload: %w", err)
	}
	md, err := parseMetadata(p.Metadata)
	if err != nil {
		return nil, err
	}
	if md.LatestSequence != header.Height {
		return nil, fmt.Errorf("header has height %d, the metadata %d: %w", header.Height, md.LatestSequence, abi.CodeMalformed)
	}
	return &proposal{
		block:    &chain.Block{Header: header, Txs: txs},
		hash:     sha256.Sum256(p.Header),
		metadata: p.Metadata,
		sequence: uint64(p.VerificationSequence),
		view:     md.ViewId,
		height:   header.Height,
	}, nil
}

func appendPayload(b []byte, txs [][]byte) []byte {
	b = cbor.AppendArray(b, len(txs))
	for _, tx := range txs {
		b = cbor.AppendBytes(b, tx)
	}
	return b
}

func parsePayload(b []byte) ([][]byte, error) {
	if len(b) > abi.MaxBlock {
		return nil, fmt.Errorf("%d bytes: %w", len(b), abi.CodeTooLarge)
	}
	r := cbor.NewReader(b)
	txs := make([][]byte, 0, r.Array())
	for range cap(txs) {
		txs = append(txs, r.Bytes())
	}
	return txs, r.Done()
}

func parseMetadata(b []byte) (*smartbftprotos.ViewMetadata, error) {
	md := &smartbftprotos.ViewMetadata{}
	if len(b) > maxMetadata {
		return nil, fmt.Errorf("consensus metadata of %d bytes: %w", len(b), abi.CodeTooLarge)
	}
	if err := proto.Unmarshal(b, md); err != nil {
		return nil, fmt.Errorf("consensus metadata: %w", abi.CodeMalformed)
	}
	return md, nil
}

// vote is what a validator signs for p.
func (p *proposal) vote() []byte {
	return chain.AppendVote(nil, p.block.Header.Chain, p.hash, p.metadata, p.sequence)
}

// certificate joins the votes for p, in ascending order of validators.
func (p *proposal) certificate(votes []types.Signature) *chain.Certificate {
	c := &chain.Certificate{Metadata: p.metadata, Sequence: p.sequence}
	for _, v := range votes {
		c.Signatures = append(c.Signatures, chain.Signature{Validator: v.ID, Signature: v.Value})
	}
	slices.SortFunc(c.Signatures, func(a, b chain.Signature) int { return cmp.Compare(a.Validator, b.Validator) })
	c.Signatures = slices.CompactFunc(c.Signatures, func(a, b chain.Signature) bool { return a.Validator == b.Validator })
	return c
}

// decision is the inverse of certificate, of a block read from the ledger.
func decision(block *chain.Block, c *chain.Certificate) types.Decision {
	d := types.Decision{Proposal: newProposal(block, c.Metadata, c.Sequence)}
	for _, s := range c.Signatures {
		d.Signatures = append(d.Signatures, types.Signature{ID: s.Validator, Value: s.Signature})
	}
	return d
}

// sequenceAfter is the verification sequence of the block after one: it grows
// by one with every change of the validator set, so it is rebuilt from the
// last block alone.
func sequenceAfter(h *chain.Header, sequence uint64) uint64 {
	if h.NextValidators != h.Validators {
		return sequence + 1
	}
	return sequence
}

// viewDataLabel opens what a validator signs in a view change: an array
// ["postern/view/1", chain id, SHA-256 of SmartBFT's view data]. No vote for a
// block has its form.
const viewDataLabel = "postern/view/1"

func appendViewData(b []byte, id abi.Hash, data []byte) []byte {
	digest := sha256.Sum256(data)
	b = cbor.AppendText(cbor.AppendArray(b, 3), viewDataLabel)
	return cbor.AppendBytes(cbor.AppendBytes(b, id[:]), digest[:])
}

// A request in SmartBFT's pool is its 32-byte id and the transaction, so that
// the pool, which asks for the id again and again, need not hash it.

func poolRequest(id abi.Hash, raw []byte) []byte { return append(id[:len(id):len(id)], raw...) }

func splitPoolRequest(b []byte) (id abi.Hash, raw []byte) {
	if len(b) < len(id) {
		return id, nil
	}
	return abi.Hash(b), b[len(id):]
}

// poolID is a transaction's id in the pool. A tick has another at every
// height: the pool remembers what was decided, and a second tick of the same
// due time is needed when one block could not run all timers.
func poolID(tx *chain.Tx, height uint64) abi.Hash {
	if tx.Tick == 0 {
		return tx.ID
	}
	return sha256.Sum256(binary.BigEndian.AppendUint64(tx.ID[:len(tx.ID):len(tx.ID)], height))
}

func requestInfo(id abi.Hash) types.RequestInfo { return types.RequestInfo{ID: string(id[:])} }
