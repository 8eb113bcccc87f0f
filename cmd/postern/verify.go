package main

import (
	"bytes"
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/runtime/consensus"
	"github.com/seed79541315/postern/sdk/key"
	"github.com/seed79541315/postern/storage"
)

func verifyCommand() *cli.Command {
	return &cli.Command{
		Name:  "verify",
		Usage: "check a whole home, or a single proof: offline from a file, or as a gateway gives it",
		Description: `Without a subcommand it checks the home of a node, which must be stopped: blocks,
certificates, changes of the validators, roots, values, ordered index, votes. It
reads everything, changes nothing, and ends non-zero at the first thing that is
not as the chain says, and if the chain ends below what this validator has voted
for. Blocks that were pruned are not missed. A backup is checked in the same way,
but for the votes, of which it holds none.

Examples:

   postern verify --home /var/lib/postern
   postern verify --home /mnt/backup/cellar
   postern verify entry --trust bundle.json access.proof.json`,
		Flags: []cli.Flag{homeFlag, jsonFlag},
		Action: func(c *cli.Context) error {
			if c.NArg() > 0 {
				return usagef("there is no command %q; see %s --help", c.Args().First(), c.Command.HelpName)
			}
			h := home(c.String("home"))
			lock, err := h.lockExisting()
			if err != nil {
				return err
			}
			defer lock.Close()
			return verify(c, h, printer(c))
		},
		Subcommands: verifyProofCommands(),
	}
}

type verifyOutput struct {
	OK      bool     `json:"ok"`
	Height  uint64   `json:"height"`
	State   hexBytes `json:"state_root"`
	Entries int      `json:"entries"`
	Base    uint64   `json:"base"` // the lowest block above the genesis that is kept
	Blocks  uint64   `json:"blocks"`
	Changes int      `json:"validator_changes"`
	Txs     int      `json:"transactions"`
	Voted   uint64   `json:"voted"` // height+1: that block is in the consensus log; 0 of a backup, which cannot tell
	Backup  bool     `json:"backup,omitempty"`
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
	walked, err := verifyBlocks(c.Context, store, chain.ChainID(raw), genesis.Validators)
	if err != nil {
		return err
	}
	head := store.Head()
	voted, err := votedHeight(h, chain.ChainID(raw), head.Height, walked.trusted.Validators)
	if err != nil {
		return fmt.Errorf("what %s holds is good, but it is not certain to be all: %w", h, err)
	}
	v := verifyOutput{true, head.Height, head.Root[:], report.Keys, store.Base(), walked.blocks, walked.changes, walked.txs, voted, h.isBackup()}
	text := fmt.Sprintf("good: %d blocks with %d transactions, %d state entries, state root %s", v.Blocks, v.Txs, v.Entries, v.State)
	if v.Base > 1 {
		text += fmt.Sprintf("; blocks below %d were pruned", v.Base)
	}
	if v.Changes > 0 {
		text += fmt.Sprintf("; the validators changed %d times", v.Changes)
	}
	if voted > head.Height {
		text += fmt.Sprintf("; block %d is in the consensus log, and the next start goes on with it", voted)
	}
	if v.Backup {
		text += "; it is a backup, and says nothing of what came after it: postern restore --home DIR " + shellWord(string(h)) + " makes a home of it"
	}
	return out.show(v, "%s", text)
}

// votedHeight is the greatest height that the node has voted for, 0 where that
// is not known of a backup. One that has no vote and no consensus log has never
// had one.
func votedHeight(h home, id abi.Hash, height uint64, set chain.ValidatorSet) (uint64, error) {
	if h.isBackup() {
		return 0, nil
	}
	k, err := key.Load(h.path(nodeKeyFile))
	if err == nil && !fileExists(h.path("wal")) {
		if _, votes := set.ID(k.Public()); !votes {
			return 0, nil
		}
	}
	return consensus.CheckLedger(h.path("wal"), id, height)
}

// walk goes over a chain's blocks from the genesis on.
type walk struct {
	store   *storage.Store
	trusted proof.Trusted // signs the next block
	steps   []proof.Step  // changes of the validators that are still ahead
	parent  *abi.Hash     // of the next block; nil where that was pruned

	blocks  uint64
	changes int
	txs     int
}

// verifyBlocks walks the chain from its genesis: parents, certificates, changes
// of the validators, the roots of transactions and outcomes, and the newest
// state root.
func verifyBlocks(ctx context.Context, store *storage.Store, id abi.Hash, set chain.ValidatorSet) (*walk, error) {
	w := &walk{store: store, trusted: proof.Trusted{Chain: id, Validators: set}, parent: &abi.Hash{}}
	var err error
	if w.steps, err = storedSteps(store); err != nil {
		return nil, err
	}
	head := store.Head()
	for height := uint64(0); height <= head.Height; height = max(height+1, store.Base()) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if height > 1 && w.blocks == 1 {
			w.parent = nil
		}
		h, err := w.block(height)
		if err != nil {
			return nil, fmt.Errorf("block %d: %w", height, err)
		}
		if height == head.Height && h.State != head.Root {
			return nil, fmt.Errorf("block %d: its state root is not the database's: %w", height, abi.CodeBadProof)
		}
	}
	if len(w.steps) > 0 {
		return nil, fmt.Errorf("a change of the validators at height %d, above the head: %w", w.steps[0].Header.Height, abi.CodeBadProof)
	}
	return w, w.members()
}

// members checks that the state names the validators that the changes lead to.
func (w *walk) members() error {
	view, err := w.store.HeadView()
	if err != nil {
		return err
	}
	defer view.Release()
	raw, ok, err := view.Get(chain.ValidatorsKey())
	if err != nil {
		return err
	}
	if !ok || !bytes.Equal(raw, w.trusted.Validators.Append(nil)) {
		return fmt.Errorf("the state names other validators than their changes lead to: %w", abi.CodeBadProof)
	}
	return nil
}

// storedSteps are the changes of the validators as the database has them.
func storedSteps(store *storage.Store) (steps []proof.Step, err error) {
	view, err := store.HeadView()
	if err != nil {
		return nil, err
	}
	defer view.Release()
	it := view.ScanPlain(chain.StepPrefix())
	defer it.Close()
	for it.Next() {
		s, err := proof.ParseStep(it.Value())
		if err != nil {
			return nil, fmt.Errorf("a change of the validators: %w", err)
		}
		steps = append(steps, s)
	}
	return steps, it.Err()
}

// block checks the next block that is kept.
func (w *walk) block(height uint64) (*chain.Header, error) {
	for len(w.steps) > 0 && w.steps[0].Header.Height < height {
		if err := w.step(); err != nil {
			return nil, err
		}
	}
	h, n, err := verifyBlock(w.store, height, w.trusted.Chain, w.parent, w.trusted.Validators)
	if err != nil {
		return nil, err
	}
	hash := h.Hash()
	w.parent, w.blocks, w.txs = &hash, w.blocks+1, w.txs+n
	if height == 0 || h.NextValidators == h.Validators {
		return h, nil
	}
	if len(w.steps) == 0 || w.steps[0].Header != *h {
		return nil, fmt.Errorf("it changes the validators, and nothing says to whom: %w", abi.CodeBadProof)
	}
	return h, w.step()
}

// step follows the next change of the validators.
func (w *walk) step() error {
	s := &w.steps[0]
	if err := w.trusted.Advance(s); err != nil {
		return fmt.Errorf("change of the validators at height %d: %w", s.Header.Height, err)
	}
	w.steps = w.steps[1:]
	w.changes++
	return nil
}

func verifyBlock(store *storage.Store, height uint64, id abi.Hash, parent *abi.Hash, set chain.ValidatorSet) (*chain.Header, int, error) {
	rawBlock, rawCert, rawOutcomes, err := store.Block(height)
	if err != nil {
		return nil, 0, err
	}
	k, err := chain.ParseBlock(rawBlock)
	if err != nil {
		return nil, 0, err
	}
	h := &k.Header
	if h.Chain != id || h.Height != height || parent != nil && h.Parent != *parent {
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
