package blocksync

import (
	"errors"
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
)

// certified is a block on its way to the ledger.
type certified struct {
	block       *chain.Block
	certificate chain.Certificate
	hash        abi.Hash
	proven      bool // the certificate is good under the set that the header names
}

func (c *certified) height() uint64 { return c.block.Header.Height }

// lie is an error that proves its peer wrong, whatever the network did.
type lie struct{ error }

func (l lie) Unwrap() error { return l.error }

func lies(format string, args ...any) error { return lie{fmt.Errorf(format, args...)} }

// parseRun reads blocks that must be those from a height on, and checks all
// that neither the validators nor the state are needed for. The blocks alias
// the pairs. Every error is a lie.
func parseRun(pairs []pair, from uint64, id abi.Hash) ([]certified, error) {
	run := make([]certified, len(pairs))
	for i, p := range pairs {
		c, height := &run[i], from+uint64(i)
		var err error
		if c.block, err = parseBody(p.block, height, id); err != nil {
			return nil, lies("block %d: %w", height, err)
		}
		if c.certificate, err = chain.ParseCertificate(p.certificate); err != nil {
			return nil, lies("certificate of block %d: %w", height, err)
		}
		c.hash = c.block.Header.Hash()
		if i > 0 && c.block.Header.Parent != run[i-1].hash {
			return nil, lies("block %d does not follow the one before it: %w", height, abi.CodeBadProof)
		}
	}
	return run, nil
}

// parseBody reads a block and checks that its transactions are its header's.
func parseBody(raw []byte, height uint64, id abi.Hash) (*chain.Block, error) {
	if len(raw) > abi.MaxBlock {
		return nil, fmt.Errorf("%d bytes: %w", len(raw), abi.CodeTooLarge)
	}
	k, err := chain.ParseBlock(raw)
	switch {
	case err != nil:
		return nil, err
	case k.Header.Chain != id:
		return nil, abi.CodeWrongChain
	case k.Header.Height != height:
		return nil, fmt.Errorf("the header says height %d: %w", k.Header.Height, abi.CodeBadProof)
	case proof.Root(k.Txs) != k.Header.Transactions:
		return nil, fmt.Errorf("root of the transactions: %w", abi.CodeBadProof)
	}
	return k, nil
}

// prove checks the certificates of those blocks that name the set as theirs,
// in one batch. Others are left as they are: their set may be one that this
// node learns from a block between. Every error is a lie.
func prove(run []certified, set chain.ValidatorSet) error {
	hash := set.Hash()
	var headers []*chain.Header
	var certificates []*chain.Certificate
	for i := range run {
		if c := &run[i]; !c.proven && c.block.Header.Validators == hash {
			headers = append(headers, &c.block.Header)
			certificates = append(certificates, &c.certificate)
		}
	}
	if len(headers) == 0 {
		return nil
	}
	if err := chain.VerifyCertificates(headers, certificates, set); err != nil {
		return lies("certificates of blocks from %d on: %w", headers[0].Height, err)
	}
	for i := range run {
		run[i].proven = run[i].proven || run[i].block.Header.Validators == hash
	}
	return nil
}

// isLie says whether an error proves a peer wrong.
func isLie(err error) bool {
	_, ok := errors.AsType[lie](err)
	return ok
}
