package storage

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/vfs"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/storage/tree"
)

// Config says where a store lies and how much memory it may take. The zero
// values of all but Dir and Logger are useful.
type Config struct {
	Dir             string       // folder of the database; made if missing
	HotCacheBytes   int64        // entries of the hot cache; it takes about twice as much. Default 2 MiB
	BlockCacheBytes int64        // pebble's cache of file blocks. Default 4 MiB
	MemTableBytes   int64        // what is written before it goes to a table file. Default 4 MiB
	MaxOpenFiles    int          // table files held open. Default 256
	MaxViews        int          // Views of older heights held at once before reads are refused. Default 8
	Memory          bool         // keep everything in memory and write nothing; for tools that need no disk
	Logger          *slog.Logger // required
	FS              vfs.FS       // the disk's by default; tests inject faults

	readOnly  bool // of a checkpoint
	importing bool // tables come in order: merging them can wait
}

func (c *Config) validate() error {
	if c.Dir == "" || c.Logger == nil {
		return errors.New("storage: Dir and Logger are required")
	}
	setDefault(&c.HotCacheBytes, 2<<20)
	setDefault(&c.BlockCacheBytes, 4<<20)
	setDefault(&c.MemTableBytes, 4<<20)
	setDefault(&c.MaxOpenFiles, 256)
	setDefault(&c.MaxViews, 8)
	if c.FS == nil {
		c.FS = vfs.Default
		if c.Memory {
			c.FS = vfs.NewMem()
		}
	}
	return nil
}

func setDefault[T int | int64](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

// Head is the newest committed block. Empty is a store before its first.
type Head struct {
	Height uint64
	Root   abi.Hash
	Empty  bool
}

// Store is an open ledger database, safe for concurrent use.
type Store struct {
	cfg     Config
	engine  *engine
	health  *health
	cache   *hotCache
	current atomic.Pointer[View] // the newest; nil once closed
	alive   atomic.Int64         // Views whose snapshot is open, the newest included
	mu      sync.Mutex           // held by Commit and Close
}

// Open opens the store in cfg.Dir, or makes an empty one, and checks it: the
// bucket hashes lead to the stored root and every height up to the head has
// its block. An error that wraps ErrCorrupt says what is damaged.
func Open(cfg Config) (*Store, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if err := settleImport(cfg); err != nil {
		return nil, err
	}
	return open(cfg)
}

// open opens the store in a folder that nothing is about to replace.
func open(cfg Config) (*Store, error) {
	s := &Store{cfg: cfg, health: newHealth()}
	var err error
	if s.engine, err = openEngine(cfg, s.health); err != nil {
		return nil, err
	}
	if err := s.recover(); err != nil {
		return nil, errors.Join(err, s.engine.close())
	}
	if s.cache, err = newHotCache(cfg.HotCacheBytes); err != nil {
		s.current.Load().Release()
		return nil, errors.Join(err, s.engine.close())
	}
	return s, nil
}

// recover builds the newest View from what is stored.
func (s *Store) recover() error {
	v, err := s.newView(0, 1, tree.New(tree.DefaultLimits))
	if err != nil {
		return err
	}
	err = v.recover()
	if err == nil {
		err = s.health.err()
	}
	if err != nil {
		v.Release()
		return err
	}
	s.current.Store(v)
	return nil
}

func (v *View) recover() error {
	head, err := v.readHead()
	if err != nil {
		return err
	}
	if v.tree, err = v.readTree(); err != nil {
		return readError("the state tree", err)
	}
	if v.tree.Root() != head.Root {
		return corrupt("the state tree", fmt.Errorf("its root is %x, that of block %d is %x", v.tree.Root(), head.Height, head.Root))
	}
	if !head.Empty {
		v.version = head.Height + 1
	}
	if v.base, err = v.readBase(); err != nil {
		return err
	}
	return v.checkHeights()
}

func (v *View) readHead() (Head, error) {
	record, err := v.store.engine.get(v.snap, headKey)
	if err != nil {
		return Head{}, readError("the head", err)
	}
	if record == nil {
		return v.readCarried()
	}
	head, err := parseHead(record)
	if err != nil {
		return Head{}, readError("the head", err)
	}
	return head, nil
}

func (v *View) readTree() (*tree.Tree, error) {
	builder := tree.NewBuilder(tree.DefaultLimits)
	err := v.scan(keyBucket, func(key, value []byte) error {
		b, err := parseBucket(key, value)
		if err != nil {
			return err
		}
		return builder.Add(b)
	})
	if err != nil {
		return nil, err
	}
	return builder.Tree()
}

// checkHeights finds that block 0 and every height from the base to the head
// have a digest and no other has. Digests are small and lie together, blocks
// do not; both are always written together.
func (v *View) checkHeights() error {
	next := uint64(0)
	err := v.scan(keyDigest, func(key, value []byte) error {
		if want := heightKey(keyDigest, next); string(key) != string(want) || next >= v.version || len(value) != digestSize {
			return fmt.Errorf("%w: found %x where %x should follow", errMalformedRecord, key, want)
		}
		next = v.after(next)
		return nil
	})
	if err != nil {
		return readError("the block records", err)
	}
	if next < v.version {
		return corrupt("the block records", fmt.Errorf("that of block %d is missing, the head is block %d", next, v.Height()))
	}
	return nil
}

// after is the next height that is kept.
func (v *View) after(height uint64) uint64 { return max(height+1, v.base) }

// newView opens a View of what is stored now.
func (s *Store) newView(version, base uint64, t *tree.Tree) (*View, error) {
	v := &View{store: s, version: version, base: base, tree: t}
	err := s.engine.wait(func() error {
		v.snap = s.engine.db.NewSnapshot()
		return nil
	})
	if err != nil {
		return nil, err
	}
	v.refs.Store(1)
	s.alive.Add(1)
	return v, nil
}

// View returns the newest View. It fails with ErrBusy while MaxViews Views of
// older heights are held, since each keeps data from being reclaimed.
func (s *Store) View() (*View, error) {
	if old := s.alive.Load() - 1; old >= int64(s.cfg.MaxViews) {
		return nil, fmt.Errorf("%w: %d", ErrBusy, old)
	}
	return s.HeadView()
}

// HeadView returns the newest View however many old ones are held. It is for
// block execution, which must not wait for readers.
func (s *Store) HeadView() (*View, error) {
	if err := s.health.err(); err != nil {
		return nil, err
	}
	for {
		v := s.current.Load()
		if v == nil {
			return nil, ErrClosed
		}
		if v.retain() {
			return v, nil
		}
	}
}

// Head is the newest committed block; Empty once the store is closed.
func (s *Store) Head() Head {
	v := s.current.Load()
	if v == nil {
		return Head{Empty: true}
	}
	return Head{Height: v.Height(), Root: v.Root(), Empty: v.version == 0}
}

// Failed is closed when the store has failed; Err then says why.
func (s *Store) Failed() <-chan struct{} { return s.health.done }

// Err is nil, or wraps ErrFatal once the store has failed.
func (s *Store) Err() error { return s.health.err() }

func (s *Store) usable() error {
	if s.current.Load() == nil {
		return ErrClosed
	}
	if s.cfg.readOnly {
		return errReadOnly
	}
	return s.health.err()
}

// Close closes the store. All Views must have been released and Iterators
// closed; otherwise Close refuses and may be called again. A store that failed
// is not closed: the engine may wait for ever for the disk, and the folder
// stays locked until the process has ended.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.current.Load()
	if v == nil {
		return ErrClosed
	}
	if err := s.health.err(); err != nil {
		return err
	}
	// With its last reference gone, nobody can take the newest View again.
	if s.alive.Load() != 1 || !v.refs.CompareAndSwap(1, 0) {
		return fmt.Errorf("closing storage: %d views are still held", s.alive.Load())
	}
	s.current.Store(nil)
	s.alive.Add(-1)
	err := s.engine.wait(v.snap.Close)
	s.cache.close()
	return errors.Join(err, s.engine.close())
}
