package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/runtime/consensus"
	"github.com/seed79541315/postern/storage"
)

func verifyCommand() *cli.Command {
	return &cli.Command{
		Name:  "verify",
		Usage: "check a whole home: blocks, certificates, roots, values, ordered index, votes",
		Description: `The node must be stopped. It reads everything, changes nothing, and ends
non-zero at the first thing that is not as the chain says, and if the chain
ends below what this validator has voted for.

Example:

   postern verify --home /var/lib/postern`,
		Flags: []cli.Flag{homeFlag, jsonFlag},
		Action: func(c *cli.Context) error {
			h := home(c.String("home"))
			lock, err := h.lockExisting()
			if err != nil {
				return err
			}
			defer lock.Close()
			return verify(c, h, printer(c))
		},
	}
}

type verifyOutput struct {
	OK      bool     `json:"ok"`
	Height  uint64   `json:"height"`
	State   hexBytes `json:"state_root"`
	Entries int      `json:"entries"`
	Blocks  uint64   `json:"blocks"`
	Txs     int      `json:"transactions"`
	Voted   uint64   `json:"voted"` // height+1: that block is in the consensus log
}

func verify(c *cli.Context, h home, out output) error {
	raw, genesis, err := h.genesis()
	if err != nil {
		return err
	}
	store, err := storage.Open(storage.Config{Dir: h.path("data"), Logger: newLogger("error")})
	if err != nil {
		return err
	}
	defer store.Close()
	if store.Head().Empty {
		return fmt.Errorf("%s holds no block yet; start its node once", h)
	}
	report, err := store.Verify(c.Context, func(done, total int) { out.progressf("values: %d of %d buckets", done, total) })
	if err != nil {
		return fmt.Errorf("the database of %s: %w", h, err)
	}
	txs, err := verifyBlocks(c, store, chain.ChainID(raw), genesis.Validators)
	if err != nil {
		return err
	}
	head := store.Head()
	voted, err := consensus.CheckLedger(h.path("wal"), chain.ChainID(raw), head.Height)
	if err != nil {
		return fmt.Errorf("what %s holds is good, but it is not certain to be all: %w", h, err)
	}
	v := verifyOutput{true, head.Height, head.Root[:], report.Keys, head.Height + 1, txs, voted}
	text := fmt.Sprintf("good: %d blocks with %d transactions, %d state entries, state root %s", v.Blocks, v.Txs, v.Entries, v.State)
	if voted > head.Height {
		text += fmt.Sprintf("; block %d is in the consensus log, and the next start goes on with it", voted)
	}
	return out.show(v, "%s", text)
}

// verifyBlocks walks the chain from its genesis: parents, certificates, the
// roots of transactions and outcomes, and the newest state root.
func verifyBlocks(c *cli.Context, store *storage.Store, id abi.Hash, set chain.ValidatorSet) (txs int, err error) {
	var parent abi.Hash
	head := store.Head()
	for height := uint64(0); height <= head.Height; height++ {
		if err := c.Context.Err(); err != nil {
			return txs, err
		}
		h, n, err := verifyBlock(store, height, id, parent, set)
		if err != nil {
			return txs, fmt.Errorf("block %d: %w", height, err)
		}
		parent, txs = h.Hash(), txs+n
		if height == head.Height && h.State != head.Root {
			return txs, fmt.Errorf("block %d: its state root is not the database's: %w", height, abi.CodeBadProof)
		}
	}
	return txs, nil
}

func verifyBlock(store *storage.Store, height uint64, id, parent abi.Hash, set chain.ValidatorSet) (*chain.Header, int, error) {
	rawBlock, rawCert, rawOutcomes, err := store.Block(height)
	if err != nil {
		return nil, 0, err
	}
	k, err := chain.ParseBlock(rawBlock)
	if err != nil {
		return nil, 0, err
	}
	h := &k.Header
	if h.Chain != id || h.Height != height || h.Parent != parent {
		return nil, 0, fmt.Errorf("its chain, height or parent is another: %w", abi.CodeBadProof)
	}
	outcomes, err := chain.ParseOutcomes(rawOutcomes)
	if err != nil {
		return nil, 0, err
	}
	if height == 0 {
		return h, 0, nil
	}
	if proof.Root(k.Txs) != h.Transactions || proof.Root(outcomes) != h.Outcomes {
		return nil, 0, fmt.Errorf("its transactions or outcomes are not those of its header: %w", abi.CodeBadProof)
	}
	cert, err := chain.ParseCertificate(rawCert)
	if err != nil {
		return nil, 0, err
	}
	return h, len(k.Txs), cert.Verify(h, set)
}
