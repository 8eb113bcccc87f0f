package client

import (
	"context"
	"fmt"
	"iter"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
)

// maxBlockRecord bounds what Block puts together, in bytes: a block and the
// outcomes of some hundred transactions with many events each.
const maxBlockRecord = 64 << 20

// Entry is an entry of the state, proved.
type Entry struct {
	Present bool // false: the key is proved to have no value
	Value   []byte
	Height  uint64
	Header  chain.Header // the certified header whose state root leads to the entry
	Signers int          // validators that certified it
	Proof   []byte       // encoded proof.Entry, for someone else to check again

	Certificate chain.Certificate  // their signatures
	Validators  chain.ValidatorSet // all who might have signed
}

// Get reads an entry of the state under one of the keys of package chain. It
// is proved: the chain's validators certified it, at a height not below any
// that was proved before Get was called. While the chain has only its genesis
// it is abi.CodeNotReady.
func (c *Client) Get(ctx context.Context, key []byte) (*Entry, error) {
	floor := c.light.Height()
	body := cbor.AppendBytes(cbor.AppendUint(cbor.AppendMap(nil, 1), 1), key)
	var entry *Entry
	err := c.ask(ctx, abi.OpProve, body, func(ctx context.Context, l *link, raw []byte) error {
		e, err := proof.ParseEntry(raw)
		if err != nil {
			return malformed(err)
		}
		return c.led(ctx, l, e.Header.Height, func() error {
			entry, err = c.light.entry(raw, &e, key, floor)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return entry, nil
}

// QueryResult is what a contract's query entry returned. It is only as good
// as the gateway's word.
type QueryResult struct {
	Unproven []byte
	Height   uint64 // of the state that it was taken from
}

// Query runs a contract's query entry. Where the contract refuses, the error
// is an abi.Aborted with its own code (AbortOf).
func (c *Client) Query(ctx context.Context, contract string, message []byte) (QueryResult, error) {
	body := cbor.AppendText(cbor.AppendUint(cbor.AppendMap(nil, 2), 1), contract)
	body = cbor.AppendBytes(cbor.AppendUint(body, 2), message)
	raw, err := c.do(ctx, abi.OpQuery, body)
	if err != nil {
		return QueryResult{}, err
	}
	return parseQueryResult(raw)
}

func parseQueryResult(raw []byte) (q QueryResult, err error) {
	r := cbor.NewReader(raw)
	for f := r.Fields(); f.Next(); {
		switch f.Key() {
		case 1:
			q.Unproven = r.Bytes()
		case 2:
			q.Height = r.Uint()
		default:
			r.Skip()
		}
	}
	return q, malformed(r.Done())
}

// Pair is an entry of the state.
type Pair struct{ Key, Value []byte }

// UnprovenPage is one page of a scan, only as good as the gateway's word.
type UnprovenPage struct {
	Pairs  []Pair
	More   bool   // another page begins at Next
	Height uint64 // of the state that it was taken from
}

// Next is where the page behind this one starts.
func (p *UnprovenPage) Next() []byte {
	last := p.Pairs[len(p.Pairs)-1].Key
	return append(last[:len(last):len(last)], 0)
}

// Scan reads entries whose keys have the prefix and are not below start, in
// ascending order: at most limit, and no more than the gateway puts on a page.
func (c *Client) Scan(ctx context.Context, prefix, start []byte, limit int) (*UnprovenPage, error) {
	body := cbor.AppendBytes(cbor.AppendUint(cbor.AppendMap(nil, 3), 1), prefix)
	body = cbor.AppendBytes(cbor.AppendUint(body, 2), start)
	body = cbor.AppendUint(cbor.AppendUint(body, 3), uint64(max(1, limit)))
	raw, err := c.do(ctx, abi.OpScan, body)
	if err != nil {
		return nil, err
	}
	return parsePage(raw)
}

func parsePage(raw []byte) (*UnprovenPage, error) {
	p := &UnprovenPage{}
	r := cbor.NewReader(raw)
	for f := r.Fields(); f.Next(); {
		switch f.Key() {
		case 1:
			for n := r.Array(); n > 0 && r.Err() == nil; n-- {
				r.ArrayN(2)
				p.Pairs = append(p.Pairs, Pair{Key: r.Bytes(), Value: r.Bytes()})
			}
		case 2:
			p.More = r.Bool()
		case 3:
			p.Height = r.Uint()
		default:
			r.Skip()
		}
	}
	if err := r.Done(); err != nil {
		return nil, malformed(err)
	}
	if p.More && len(p.Pairs) == 0 {
		return nil, fmt.Errorf("an empty page with more behind it: %w", abi.CodeMalformed)
	}
	return p, nil
}

// All reads every entry under prefix, page by page, so entries may be of
// different heights. It ends after an error. Like Scan it is unproven.
func (c *Client) All(ctx context.Context, prefix []byte) iter.Seq2[Pair, error] {
	return func(yield func(Pair, error) bool) {
		for start := prefix; ; {
			page, err := c.Scan(ctx, prefix, start, 1<<10)
			if err != nil {
				yield(Pair{}, err)
				return
			}
			for _, p := range page.Pairs {
				if !yield(p, nil) {
					return
				}
			}
			if !page.More {
				return
			}
			start = page.Next()
		}
	}
}

// Status asks the gateway about itself and about the caller. It is unproven.
func (c *Client) Status(ctx context.Context) (abi.NodeStatus, error) {
	raw, err := c.do(ctx, abi.OpStatus, cbor.AppendMap(nil, 0))
	if err != nil {
		return abi.NodeStatus{}, err
	}
	s, err := abi.ParseNodeStatus(raw)
	return s, malformed(err)
}

// Tx finds a transaction by its id. It is unproven: the block proves it.
func (c *Client) Tx(ctx context.Context, id abi.Hash) (abi.TxResult, error) {
	raw, err := c.do(ctx, abi.OpTx, cbor.AppendBytes(cbor.AppendUint(cbor.AppendMap(nil, 1), 1), id[:]))
	if err != nil {
		return abi.TxResult{}, err
	}
	t, err := abi.ParseTxResult(raw)
	return t, malformed(err)
}

// BlockRecord is a block with why it is final and what came of it.
type BlockRecord struct {
	Block       *chain.Block
	Certificate chain.Certificate // empty for the genesis block
	Outcomes    []chain.Outcome   // those of timers first

	encoded [][]byte // the outcomes, leaves of the header's root
}

// Block reads the block of a height and checks its certificate and that its
// transactions and outcomes are the header's. The genesis block holds the
// genesis in place of transactions.
func (c *Client) Block(ctx context.Context, height uint64) (*BlockRecord, error) {
	whole, err := c.blockBytes(ctx, height)
	if err != nil {
		return nil, err
	}
	b, err := parseBlockRecord(whole)
	if err != nil {
		return nil, err
	}
	if b.Block.Header.Height != height {
		return nil, fmt.Errorf("the gateway sent block %d for %d: %w", b.Block.Header.Height, height, abi.CodeMalformed)
	}
	l, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.led(ctx, l, height, func() error { return c.checkBlock(b) }); err != nil {
		return nil, err
	}
	return b, nil
}

// blockBytes fetches the parts of a stored block.
func (c *Client) blockBytes(ctx context.Context, height uint64) ([]byte, error) {
	var whole []byte
	for {
		body := cbor.AppendUint(cbor.AppendUint(cbor.AppendMap(nil, 2), 1), height)
		body = cbor.AppendUint(cbor.AppendUint(body, 2), uint64(len(whole)))
		raw, err := c.do(ctx, abi.OpBlock, body)
		if err != nil {
			return nil, err
		}
		part, total, err := parsePart(raw)
		if err != nil {
			return nil, err
		}
		whole = append(whole, part...)
		if n := uint64(len(whole)); total > maxBlockRecord || n > total || len(part) == 0 && n < total {
			return nil, fmt.Errorf("%d of %d bytes of block %d: %w", n, total, height, abi.CodeMalformed)
		} else if n == total {
			return whole, nil
		}
	}
}

// parsePart reads a part of a block and the length of the whole.
func parsePart(raw []byte) (part []byte, total uint64, err error) {
	r := cbor.NewReader(raw)
	for f := r.Fields(); f.Next(); {
		switch f.Key() {
		case 1:
			part = r.Bytes()
		case 2:
			total = r.Uint()
		default:
			r.Skip()
		}
	}
	return part, total, malformed(r.Done())
}

func parseBlockRecord(whole []byte) (*BlockRecord, error) {
	var block, certificate, outcomes []byte
	r := cbor.NewReader(whole)
	for f := r.Fields(); f.Next(); {
		switch f.Key() {
		case 1:
			block = r.Bytes()
		case 2:
			certificate = r.Bytes()
		case 3:
			outcomes = r.Bytes()
		default:
			r.Skip()
		}
	}
	if err := r.Done(); err != nil {
		return nil, malformed(err)
	}
	b := &BlockRecord{}
	var err error
	if b.Block, err = chain.ParseBlock(block); err != nil {
		return nil, err
	}
	if len(certificate) > 0 {
		if b.Certificate, err = chain.ParseCertificate(certificate); err != nil {
			return nil, err
		}
	}
	if len(outcomes) == 0 {
		return b, nil
	}
	if b.encoded, err = chain.ParseOutcomes(outcomes); err != nil {
		return nil, err
	}
	for _, raw := range b.encoded {
		o, err := chain.ParseOutcome(raw)
		if err != nil {
			return nil, err
		}
		b.Outcomes = append(b.Outcomes, o)
	}
	return b, nil
}

func (c *Client) checkBlock(b *BlockRecord) error {
	h := &b.Block.Header
	if h.Height == 0 {
		if h.Chain != c.Chain() || len(b.Block.Txs) != 1 || chain.ChainID(b.Block.Txs[0]) != c.Chain() {
			return fmt.Errorf("not the genesis block of this chain: %w", abi.CodeWrongChain)
		}
		return nil
	}
	if _, err := c.light.Header(h, &b.Certificate); err != nil {
		return err
	}
	if proof.Root(b.Block.Txs) != h.Transactions || proof.Root(b.encoded) != h.Outcomes {
		return fmt.Errorf("block %d does not hold what its header says: %w", h.Height, abi.CodeBadProof)
	}
	return nil
}
