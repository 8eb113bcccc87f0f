package consensus

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/seed79541315/postern/abi"
)

// restoreRemedy ends every refusal that AdoptLedger can lift.
const restoreRemedy = "put the directory back as it was last, never an older copy of it; " +
	"or, with other validators, move it away, and this one follows them until it may vote again; " +
	"the only validator of a chain can go on without, on purpose: postern start --adopt-ledger"

// CheckLedger returns the greatest height that the validator with this
// directory (Config.WAL) has voted for. If a ledger at height lacks a block up
// to there, or that cannot be known, the error says what is missing and what to
// do. Where voted is height+1 without an error, the write-ahead log holds that
// block for the next Run to go on with. CheckLedger reads only; no engine may
// run on the directory.
func CheckLedger(dir string, chain abi.Hash, height uint64) (voted uint64, err error) {
	j, err := readJournal(dir)
	if err != nil {
		return 0, err
	}
	signed, ok, err := readSigned(dir, chain)
	if err != nil {
		return 0, err
	}
	if !ok && !mayBegin(height, j) {
		return 0, noRecord(dir, height)
	}
	voted, behind := lacks(height, signed, j)
	if behind {
		return voted, missingBlocks(dir, height, voted)
	}
	return voted, nil
}

// Begin records in dir that this node's key has signed no block of the chain
// yet. Run does it by itself while the ledger is at height 0; a node that is
// to be voted in later calls Begin when its key is made, before it follows. It
// refuses where votes may have been recorded.
func Begin(dir string, chain abi.Hash) error { return BeginAbove(dir, chain, 0) }

// BeginAbove records in dir, whose record of votes is lost, that this node's
// key may have signed any block up to a height and none above. Whoever knows
// such a height calls it; the validator follows without a vote until the
// ledger has come to it.
func BeginAbove(dir string, chain abi.Hash, height uint64) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	list, err := os.ReadDir(dir)
	if err == nil && len(list) > 0 {
		err = fmt.Errorf("%s is not empty: only a key that never signed may begin", dir)
	}
	if err != nil {
		return fmt.Errorf("consensus: beginning the record of votes: %w", err)
	}
	return writeSigned(dir, chain, height)
}

// AdoptLedger makes the ledger as it is what the only validator of a chain
// continues, when CheckLedger refuses it: the record of votes is lost, or the
// blocks are. If this validator has signed other blocks above the ledger's
// head, it will sign a second one at the same height; whoever saw the first
// sees a fork. So it is for an operator to ask for, once, after everything
// newer was found to be gone.
//
// It refuses where nothing is wrong, so that asking at every start does not
// work; at height 0, where every transaction of the chain could be played
// again; where there are other validators, who would be betrayed and have the
// blocks; and a directory that is another chain's or cannot be read. Log files
// that do not fit the ledger are kept under names that end in ".aside". No
// engine may run on the directory.
func AdoptLedger(dir string, app App) error {
	if n := len(app.ValidatorSet()); n != 1 {
		return fmt.Errorf("consensus: the chain has %d validators: its blocks are fetched from the others, never given up", n)
	}
	head := app.Head().Height
	if head == 0 {
		return errors.New("consensus: the ledger holds no block but the genesis: to begin again from it, begin another chain")
	}
	_, err := CheckLedger(dir, app.ChainID(), head)
	if err == nil {
		return fmt.Errorf("consensus: there is nothing to adopt: the ledger at height %d has all that this validator voted for; start without", head)
	}
	if refused := (*fs.PathError)(nil); errors.Is(err, errOtherChain) || errors.As(err, &refused) {
		return fmt.Errorf("consensus: %w", err)
	}
	if err := adopt(dir, app.ChainID(), head); err != nil {
		return fmt.Errorf("consensus: adopting the ledger: %w", err)
	}
	return nil
}

// adopt moves the log away before it lowers the record of votes: a crash in
// between leaves a directory that is refused, and adopted, again.
func adopt(dir string, chain abi.Hash, head uint64) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	j, err := readJournal(dir)
	if err == nil {
		if _, behind := lacks(head, 0, j); !behind { // its proposal, if voted for, is the next block
			return writeSigned(dir, chain, max(head, j.voted()))
		}
	}
	if err := setAside(dir); err != nil {
		return err
	}
	return writeSigned(dir, chain, head)
}

// setAside renames the log's files so that a new log begins.
func setAside(dir string) error {
	names, err := logFiles(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := os.Rename(path, path+".aside"); err != nil {
			return err
		}
	}
	return syncDir(dir)
}

// mayBegin is true of a validator that cannot have voted yet.
func mayBegin(head uint64, j *journal) bool { return head == 0 && len(j.entries) == 0 }

// lacks tells whether a ledger at head lacks what this validator has voted for
// or knows to be decided, and up to where. The block after the head is not
// lacking if the log still holds it.
func lacks(head, signed uint64, j *journal) (upTo uint64, behind bool) {
	voted := max(signed, j.voted())
	known := max(voted, j.proposed(), j.settled+1)
	behind = known > head+1 || voted > head && j.proposed() != voted
	return max(voted, j.settled), behind
}

func missingBlocks(dir string, head, voted uint64) error {
	blocks := fmt.Sprintf("block %d is", voted)
	if voted > head+1 {
		blocks = fmt.Sprintf("blocks %d to %d are", head+1, voted)
	}
	return fmt.Errorf("the ledger ends at height %d, but this validator has voted for height %d: %s not there, "+
		"for the ledger lost its end or is an older copy than %s; restore the newest copy of the ledger and leave that directory as it is; "+
		"other validators still have the blocks, but the only validator of a chain can go on without them, on purpose: postern start --adopt-ledger",
		head, voted, blocks, dir)
}

func noRecord(dir string, head uint64) error {
	return fmt.Errorf("%s is missing, while the ledger is at height %d: without it this validator might sign a second block where it has signed one; %s",
		filepath.Join(dir, signedName), head, restoreRemedy)
}
