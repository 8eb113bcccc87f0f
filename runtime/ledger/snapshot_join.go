package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/storage"
)

// maxJoinGuards bounds the replay guards that a peer can make a joining node
// write before they are compared with the state: ten minutes of 10,000
// transactions a second.
const maxJoinGuards = 6 << 20

// Join makes a ledger out of a snapshot that others gave and the caller has
// verified. Begin comes first and may come again, with another snapshot or
// after an error; the calls of Chunk may be made at the same time.
type Join struct {
	storage storage.Config
	genesis []byte
	log     *slog.Logger

	snapshot *Snapshot
	imp      *storage.Import // nil before Begin
	guards   int             // records so far
}

// NewJoin returns a Join of the chain with this encoded genesis that is to
// make the store in cfg.Dir, which must not be open.
func NewJoin(cfg storage.Config, genesis []byte) *Join {
	return &Join{storage: cfg, genesis: genesis, log: cfg.Logger}
}

// Begin begins or goes on with a join by this snapshot. done says which chunks
// are there already.
func (j *Join) Begin(n *Snapshot) (done func(prefix uint64, depth uint8) bool, err error) {
	if err := j.Close(); err != nil {
		j.log.Warn("the last join was not closed", "err", err)
	}
	k, err := chain.ParseBlock(n.Block)
	if err != nil || k.Header != n.Header || n.Header.Chain != chain.ChainID(j.genesis) || n.Header.Height == 0 {
		return nil, errors.Join(fmt.Errorf("the snapshot's parts do not fit together: %w", abi.CodeBadProof), err)
	}
	j.imp, err = storage.NewImport(j.storage, storage.Target{Height: n.Header.Height, Root: n.Header.State})
	if err != nil {
		return nil, err
	}
	j.snapshot, j.guards = n, 0
	return j.imp.Done, nil
}

// Chunk takes a chunk that was verified under the root of the snapshot's
// header.
func (j *Join) Chunk(prefix uint64, depth uint8, c *proof.Chunk) error {
	return j.imp.Put(prefix, depth, c)
}

// Guards takes an encoded page of replay guards. Finish compares them.
func (j *Join) Guards(page []byte) error {
	list, err := proof.ParseGuards(page)
	if err != nil {
		return err
	}
	if j.guards += len(list); j.guards > maxJoinGuards {
		return fmt.Errorf("%d replay guards: %w", j.guards, abi.CodeTooLarge)
	}
	records := make([]storage.Change, len(list))
	for i := range list {
		g := &list[i]
		records[i] = storage.Change{Key: g.Key(), Value: appendGuardPlace(nil, g.Height, g.Index)}
	}
	return j.imp.Plain(records)
}

// Finish verifies what came against the snapshot's header and makes it the
// node's ledger, atomically. After an error Begin may be called again: wrong
// guards are abi.CodeBadProof, and what lies on disk in a wrong way is
// storage.ErrCorrupt and will be fetched anew.
func (j *Join) Finish(ctx context.Context) error {
	steps, err := j.snapshot.stepRecords()
	if err != nil {
		return err
	}
	first, err := genesisRecord(j.storage.Logger, j.genesis)
	if err != nil {
		return err
	}
	imp := j.imp
	j.imp = nil
	err = imp.Finish(ctx, storage.Final{
		Genesis: first, Head: j.snapshot.record(), Plain: steps, Check: CheckGuards,
	})
	if err != nil {
		return fmt.Errorf("joining by the snapshot of block %d: %w", j.snapshot.Header.Height, err)
	}
	return nil
}

// Close ends a join that is not finished; what came is kept.
func (j *Join) Close() error {
	if j.imp == nil {
		return nil
	}
	imp := j.imp
	j.imp = nil
	return imp.Close()
}

// genesisRecord makes block 0 as Init commits it. A chain that began with the
// state of another one tells the root that it came to.
func genesisRecord(log *slog.Logger, genesis []byte) (storage.Record, error) {
	g, err := chain.ParseGenesis(genesis)
	if err != nil {
		return storage.Record{}, err
	}
	if g.Origin != nil {
		_, k := firstBlock(genesis, g, g.Origin.State)
		return k, nil
	}
	store, err := storage.Open(storage.Config{Dir: "genesis", Memory: true, Logger: log})
	if err != nil {
		return storage.Record{}, err
	}
	defer store.Close()
	if _, err := Init(store, genesis); err != nil {
		return storage.Record{}, err
	}
	var k storage.Record
	k.Block, k.Certificate, k.Outcomes, err = store.Block(0)
	return k, err
}
