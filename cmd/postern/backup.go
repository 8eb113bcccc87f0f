package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/runtime/consensus"
	"github.com/seed79541315/postern/storage"
)

// A backup is a directory:
//
//	backup.json    what it is of, written last
//	data/          the database, as a home has it
//	genesis.cbor, bundle.json, postern.toml, and the keys unless left out
//
// It never holds wal/: what a validator has voted for since is not in any copy.
const backupFile = "backup.json"

// isBackup says whether the directory is a backup rather than a node's home.
func (h home) isBackup() bool { return fileExists(h.path(backupFile)) }

// backupInfo is backup.json, and what backup and restore print.
type backupInfo struct {
	Chain  string    `json:"chain"`
	Name   string    `json:"name"`
	Height uint64    `json:"height"`
	State  hexBytes  `json:"state_root"`
	Base   uint64    `json:"base"` // the lowest block above the genesis that it holds
	Time   time.Time `json:"time"` // of the newest block in it
	Keys   bool      `json:"keys"` // whether private keys are in it
	Bytes  int64     `json:"bytes"`
}

// Files of a home that a backup holds besides the database.
var (
	backupPlain = []string{"genesis.cbor", "bundle.json", "postern.toml"}
	backupKeys  = []string{nodeKeyFile, nextKeyFile, operatorKeyFile, enforcementKeyFile, "reset.key"}
)

func backupCommand() *cli.Command {
	return &cli.Command{
		Name:      "backup",
		Usage:     "copy a home to where it can be restored from",
		ArgsUsage: "DIR",
		Description: `DIR must not exist. Of a stopped node everything is copied. A node that runs is
copied as of its newest snapshot (every 10,000 blocks, or as the chain's
parameters say): its peers have what came after. The copy is read and verified
before the command succeeds.

Keys are part of it unless --no-keys is given; keep it as safe as the home.

Example:

   postern backup --home /var/lib/postern /mnt/backup/cellar-2026-11-22`,
		Flags: []cli.Flag{homeFlag, jsonFlag, &cli.BoolFlag{Name: "no-keys", Usage: "leave the private keys out"}},
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return usagef("name the directory to make; see postern backup --help")
			}
			info, err := backup(c, home(c.String("home")), c.Args().First(), !c.Bool("no-keys"))
			if err != nil {
				return err
			}
			return printer(c).show(info, "backup of chain %s at height %d, %d MiB, verified", info.Name, info.Height, info.Bytes>>20)
		},
	}
}

func backup(c *cli.Context, h home, dir string, keys bool) (*backupInfo, error) {
	if !h.exists() {
		return nil, fmt.Errorf("%s is no home of a node; name one with --home", h)
	}
	source, release, err := backupSource(h)
	if err != nil {
		return nil, err
	}
	defer release()
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("%w; name a directory that does not exist, in one that does", err)
	}
	names := slices.Clone(backupPlain)
	if keys {
		names = append(names, backupKeys...)
	}
	if err := copyFiles(string(h), dir, names); err != nil {
		return nil, err
	}
	if err := copyTree(source, filepath.Join(dir, "data")); err != nil {
		return nil, err
	}
	info, err := inspectBackup(c, home(dir))
	if err != nil {
		return nil, fmt.Errorf("what was copied to %s is not good: %w", dir, err)
	}
	info.Keys = keys
	text, err := json.MarshalIndent(info, "", "  ")
	if err != nil {
		return nil, err
	}
	return info, errors.Join(writeNew(filepath.Join(dir, backupFile), append(text, '\n'), 0o600), syncDir(dir))
}

// backupSource is the database to copy: the home's own while its node is
// stopped, and until release nobody starts it; else its newest snapshot.
func backupSource(h home) (dir string, release func(), err error) {
	lock, err := h.lock()
	if err == nil {
		return h.path("data"), func() { lock.Close() }, nil
	}
	dir, ok, listErr := storage.NewestSnapshot(h.path("snapshots"))
	if listErr != nil {
		return "", nil, listErr
	}
	if !ok {
		return "", nil, fmt.Errorf("%w: it has no snapshot yet that could be copied while it runs", err)
	}
	return dir, func() {}, nil
}

// inspectBackup verifies a copied database from its genesis on.
func inspectBackup(c *cli.Context, h home) (*backupInfo, error) {
	raw, genesis, err := h.genesis()
	if err != nil {
		return nil, err
	}
	store, err := storage.Open(storage.Config{Dir: h.path("data"), Logger: newLogger("error")})
	if err != nil {
		return nil, err
	}
	defer store.Close()
	if store.Head().Empty {
		return nil, errors.New("it holds no block yet")
	}
	out := printer(c)
	if _, err := store.Verify(c.Context, func(done, total int) { out.progressf("verifying: %d of %d", done, total) }); err != nil {
		return nil, err
	}
	id := chain.ChainID(raw)
	if _, err := verifyBlocks(c.Context, store, id, genesis.Validators); err != nil {
		return nil, err
	}
	newest, _, _, err := store.Block(store.Head().Height)
	if err != nil {
		return nil, err
	}
	k, err := chain.ParseBlock(newest)
	if err != nil {
		return nil, err
	}
	size, err := treeSize(h.path("data"))
	head := store.Head()
	return &backupInfo{Chain: hex.EncodeToString(id[:]), Name: genesis.Name, Height: head.Height, State: head.Root[:], Base: store.Base(),
		Time: time.UnixMilli(k.Header.Time).UTC(), Bytes: size}, err
}

func restoreCommand() *cli.Command {
	return &cli.Command{
		Name:      "restore",
		Usage:     "make a home of a backup",
		ArgsUsage: "DIR",
		Description: `The home must not exist, or be an empty directory. The backup is verified first. What the chain did since
comes from the peers when the node starts.

A validator that was restored follows at first: it may have voted for blocks
that the backup does not know of, and votes again once the chain has passed
them. The only validator of a chain cannot wait for others; see docs/operate.md.

Never run a restored home beside the one that it was copied from.

Example:

   postern restore --home /var/lib/postern /mnt/backup/cellar-2026-11-22
   postern start --home /var/lib/postern`,
		Flags: []cli.Flag{homeFlag, jsonFlag},
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return usagef("name the backup's directory; see postern restore --help")
			}
			info, err := restore(c, c.Args().First(), home(c.String("home")))
			if err != nil {
				return err
			}
			return printer(c).show(info, "restored chain %s at height %d\nstart its node with: postern start --home %s", info.Name, info.Height, c.String("home"))
		},
	}
}

// restoredFile marks a home whose validator may have voted for more than its
// ledger holds.
const restoredFile = "restored"

func restore(c *cli.Context, dir string, h home) (*backupInfo, error) {
	text, err := os.ReadFile(filepath.Join(dir, backupFile))
	if err != nil {
		return nil, fmt.Errorf("%w: %s is no complete backup", err, dir)
	}
	var said backupInfo
	if err := json.Unmarshal(text, &said); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, backupFile), err)
	}
	if list, err := os.ReadDir(string(h)); len(list) > 0 || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(fmt.Errorf("%s is no empty directory; choose another --home, or move it away", h), err)
	}
	if !fileExists(filepath.Join(dir, nodeKeyFile)) {
		return nil, fmt.Errorf("%s holds no keys: copy those of the node into it first, %s at least", dir, nodeKeyFile)
	}
	info, err := fillHome(c, dir, h, &said)
	if err != nil { // nothing was there before
		return nil, errors.Join(fmt.Errorf("restoring the backup in %s: %w", dir, err), os.RemoveAll(string(h)))
	}
	info.Keys = true
	return info, nil
}

// fillHome copies a backup into a home and verifies what came of it.
func fillHome(c *cli.Context, dir string, h home, said *backupInfo) (*backupInfo, error) {
	if err := os.MkdirAll(string(h), 0o700); err != nil {
		return nil, err
	}
	if err := copyFiles(dir, string(h), append(slices.Clone(backupKeys), "bundle.json", "postern.toml")); err != nil {
		return nil, err
	}
	if err := copyTree(filepath.Join(dir, "data"), h.path("data")); err != nil {
		return nil, err
	}
	if err := writeNew(h.path(restoredFile), nil, 0o600); err != nil {
		return nil, err
	}
	if err := copyFiles(dir, string(h), []string{"genesis.cbor"}); err != nil { // last: now it is a home
		return nil, err
	}
	info, err := inspectBackup(c, h)
	if err == nil && (info.Height != said.Height || info.Chain != said.Chain) {
		err = fmt.Errorf("it is of block %d, not %d", info.Height, said.Height)
	}
	return info, err
}

// regain is what a validator does before it votes whose record of votes is
// lost: it follows until it is level with the chain by the word of a quorum,
// and leaves out the heights for which it may have voted. When it voted for a
// block, the one before was certified; and of those that certified that one,
// one is in every quorum, honest, and knows the block before it.
func (n *node) regain(ctx context.Context) error {
	restored, err := n.lostVotes()
	if err != nil || !restored {
		return err
	}
	n.log.Warn("the record of votes is lost: following until the chain is past what this validator may have voted for")
	if err := n.followUntilLevel(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	const unseen = 2 // blocks above a quorum's newest that this validator may have voted for
	voted := n.ledger.Head().Height + unseen
	if err := consensus.BeginAbove(n.home.path("wal"), n.ledger.ChainID(), voted); err != nil {
		return err
	}
	n.log.Info("this validator votes again above", "height", voted)
	if err := os.Remove(n.home.path(restoredFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncDir(string(n.home))
}

// lostVotes says whether the node has to learn from others what it may have
// voted for: it was restored, or its wal/ is gone. The only validator of a
// chain cannot, and consensus tells it what to do.
func (n *node) lostVotes() (bool, error) {
	if len(n.ledger.ValidatorSet()) == 1 || n.peering == nil {
		return false, nil
	}
	_, err := os.Stat(n.home.path(restoredFile))
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err == nil, err
	}
	list, err := os.ReadDir(n.home.path("wal"))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return len(list) == 0 && n.ledger.Head().Height > 0, err
}

// followUntilLevel follows until a quorum's fresh heads are not ahead. What
// shows that must be newer than its beginning: a ledger that was copied a
// moment ago looks fresh and may lack what this validator voted for since.
func (n *node) followUntilLevel(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- n.peering.sync.Follow(ctx) }()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	began := time.Now()
	for {
		select {
		case err := <-done:
			return err
		case <-tick.C:
			if time.Since(began) < levelWithin*time.Millisecond {
				continue
			}
			if _, behind := n.peering.heads.Behind(); !behind && n.staleness() < levelWithin {
				stop()
				return <-done
			}
		}
	}
}

// levelWithin is the age (ms) in which heads count as the chain's present: two
// rounds of them.
const levelWithin = 20_000

// copyFiles copies those files that are there.
func copyFiles(from, to string, names []string) error {
	for _, name := range names {
		b, err := os.ReadFile(filepath.Join(from, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = writeNew(filepath.Join(to, name), b, 0o600)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// copyTree copies a directory of a database, durably.
func copyTree(from, to string) error {
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return fmt.Errorf("copying the database: %w", err)
	}
	return filepath.WalkDir(to, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}

func treeSize(dir string) (size int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	return size, err
}
