package storage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble"
	"github.com/cockroachdb/pebble/bloom"
	"github.com/cockroachdb/pebble/vfs"
	cmtdb "github.com/cometbft/cometbft-db"
)

// dbName is the database's folder in Config.Dir, less cometbft-db's ".db".
const dbName = "ledger"

// engine is the database: pebble as cometbft-db opens it. It is made in a
// folder aside and renamed when its first record is on disk, so a folder of
// the right name without that record has lost data.
type engine struct {
	kv     *cmtdb.PebbleDB
	db     *pebble.DB // kv's own, for snapshots, iterators and metrics
	lock   io.Closer  // on Config.Dir, held while the store is open
	health *health
}

// openEngine locks cfg.Dir and opens the database in it, or makes one.
func openEngine(cfg Config, health *health) (*engine, error) {
	if err := cfg.FS.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the database's folder: %w", err)
	}
	lock, err := cfg.FS.Lock(filepath.Join(cfg.Dir, "LOCK"))
	if err != nil {
		return nil, fmt.Errorf("locking %s: %w; another process has it open", cfg.Dir, err)
	}
	e, err := openLocked(cfg, health)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	e.lock = lock
	return e, nil
}

func openLocked(cfg Config, health *health) (*engine, error) {
	path := filepath.Join(cfg.Dir, dbName+".db")
	switch _, err := cfg.FS.Stat(path); {
	case errors.Is(err, fs.ErrNotExist) && cfg.readOnly:
		return nil, corrupt(path, err)
	case errors.Is(err, fs.ErrNotExist):
		if err := createEngine(cfg, path); err != nil {
			return nil, fmt.Errorf("creating database %s: %w", path, err)
		}
	case err != nil:
		return nil, fmt.Errorf("finding database %s: %w", path, err)
	}
	e, err := startEngine(cfg, dbName, health, false)
	if err != nil {
		return nil, err
	}
	if err := e.checkFormat(); err != nil {
		return nil, errors.Join(err, e.close())
	}
	return e, nil
}

func createEngine(cfg Config, path string) error {
	const name = dbName + "-new"
	aside := filepath.Join(cfg.Dir, name+".db")
	if err := cfg.FS.RemoveAll(aside); err != nil {
		return err
	}
	e, err := startEngine(cfg, name, newHealth(), true)
	if err != nil {
		return err
	}
	if err := e.begin(); err != nil {
		return err // and leave the engine: after a failed write it may not close
	}
	if err := cfg.FS.Rename(aside, path); err != nil {
		return err
	}
	return syncDir(cfg.FS, cfg.Dir)
}

// begin writes the first record and closes the new database.
func (e *engine) begin() error {
	err := e.health.run(func() error {
		return errors.Join(e.kv.SetSync(formatKey, []byte(strconv.Itoa(formatVersion))), e.db.Flush())
	})
	if err != nil {
		return err
	}
	return e.close()
}

func syncDir(disk vfs.FS, path string) error {
	dir, err := disk.OpenDir(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// startEngine runs pebble on a folder, which must hold a database unless it
// is to create one.
func startEngine(cfg Config, name string, health *health, create bool) (*engine, error) {
	opts := cfg.pebble(health)
	opts.ErrorIfNotExists, opts.ReadOnly = !create, cfg.readOnly
	defer opts.Cache.Unref()
	var kv *cmtdb.PebbleDB
	err := health.run(func() (err error) {
		kv, err = cmtdb.NewPebbleDBWithOpts(name, cfg.Dir, opts)
		return err
	})
	if err != nil {
		return nil, openError(filepath.Join(cfg.Dir, name+".db"), err)
	}
	return &engine{kv: kv, db: kv.DB(), health: health}, nil
}

// openError tells a database out of reach from a damaged one. Pebble does not
// mark every damage as such: a missing table is, a mangled manifest may be any
// error, so what is not the system's own refusal counts as damage.
func openError(path string, err error) error {
	if isSystemError(err) && !errors.Is(err, pebble.ErrDBDoesNotExist) {
		return fmt.Errorf("opening database %s: %w", path, err)
	}
	return corrupt(path, err)
}

// isSystemError says whether the operating system refused: no space, no
// permission, locked. A file that is not there is damage.
func isSystemError(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno) && errno != syscall.ENOENT || errors.Is(err, fs.ErrPermission)
}

// close closes the database. It goes past cometbft-db, whose Close drops the
// error.
func (e *engine) close() error {
	err := e.health.run(e.db.Close)
	e.health.workers.close()
	if e.lock != nil && e.health.err() == nil { // a failed engine may still be at work
		err = errors.Join(err, e.lock.Close())
	}
	return err
}

// pebble is the engine's tuning. DESIGN.md says what was measured.
func (c *Config) pebble(health *health) *pebble.Options {
	opts := &pebble.Options{
		FS:                          gate{c.FS, health},
		FormatMajorVersion:          pebble.FormatVirtualSSTables,
		Cache:                       pebble.NewCache(c.BlockCacheBytes),
		MemTableSize:                uint64(c.MemTableBytes),
		MemTableStopWritesThreshold: 3,
		L0CompactionThreshold:       10,
		L0StopWritesThreshold:       24,
		MaxOpenFiles:                c.MaxOpenFiles,
		DisableAutomaticCompactions: c.importing,
		MaxConcurrentCompactions:    func() int { return 1 },
		Logger:                      engineLogger{c.Logger, health},
		Levels:                      make([]pebble.LevelOptions, 7),
	}
	opts.EventListener = &pebble.EventListener{
		BackgroundError: func(err error) {
			// An import reads everything once more before it is a store, and
			// begins anew if it must: it need not fail for good here.
			if !c.importing || !pebble.IsCorruptionError(err) {
				health.fail(fmt.Errorf("writing in the background: %w", err))
			}
		},
	}
	for i := range opts.Levels {
		opts.Levels[i].BlockSize = 4 << 10
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		opts.Levels[i].Compression = pebble.SnappyCompression
		opts.Levels[i].TargetFileSize = 4 << 20
	}
	return opts
}

// gate lets no file begin once the store has failed. Pebble would try a failed
// flush again at once and for ever, as on a full disk; it holds no lock here.
type gate struct {
	vfs.FS
	health *health
}

func (g gate) Create(name string) (vfs.File, error) {
	if g.health.err() != nil {
		select {}
	}
	return g.FS.Create(name)
}

// engineLogger carries pebble's words to the node's log. Pebble calls Fatalf
// when it must not go on, and expects the process to end there: a failed
// manifest write, for one, is followed by the removal of tables that the old
// manifest still names. So the store fails, and the goroutine stays here.
type engineLogger struct {
	log    *slog.Logger
	health *health
}

func (l engineLogger) Infof(format string, args ...any) {
	l.log.Debug("database: " + strings.TrimSpace(fmt.Sprintf(format, args...)))
}

func (l engineLogger) Fatalf(format string, args ...any) {
	l.health.fail(fmt.Errorf(format, args...))
	select {}
}

// get reads one record through a snapshot. The value is a copy, nil if there
// is none.
// The key must stay as it is even after the return.
func (e *engine) get(snap *pebble.Snapshot, key []byte) ([]byte, error) {
	var value []byte // of the goroutine that wait starts, until wait returns nil
	err := e.wait(func() (err error) {
		value, err = read(snap, key)
		return err
	})
	if err != nil {
		return nil, err
	}
	return value, nil
}

func read(snap *pebble.Snapshot, key []byte) ([]byte, error) {
	raw, closer, err := snap.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	value := append([]byte{}, raw...)
	return value, closer.Close()
}

// wait does something that may take pebble's mutex, which a failed write
// never gives back: reading a record, taking a snapshot, closing one or an
// iterator. It returns when the store fails. A panic may have kept a lock as
// well, so it fails the store. Moving an iterator takes no such lock.
func (e *engine) wait(do func() error) error {
	if err := e.health.err(); err != nil {
		return err
	}
	err := e.health.run(do)
	if errors.Is(err, errPanicked) {
		e.health.fail(err)
		return e.health.err()
	}
	return err
}

func (e *engine) checkFormat() error {
	var value []byte
	err := e.wait(func() (err error) {
		value, err = e.kv.Get(formatKey)
		return err
	})
	switch {
	case err != nil:
		return readError("the format version", err)
	case value == nil:
		return corrupt("the format version", errors.New("it is missing"))
	case string(value) != strconv.Itoa(formatVersion):
		return fmt.Errorf("database has format %q, this program knows format %d; %s", value, formatVersion, adviceUpgrade)
	}
	return nil
}

// scan calls fn for each record whose key begins with prefix, in order. The
// slices are fn's only until it returns.
func (v *View) scan(prefix byte, fn func(key, value []byte) error) error {
	it, err := v.snap.NewIter(&pebble.IterOptions{LowerBound: []byte{prefix}, UpperBound: []byte{prefix + 1}})
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		if err := fn(it.Key(), it.Value()); err != nil {
			return errors.Join(err, v.store.engine.wait(it.Close))
		}
	}
	return errors.Join(it.Error(), v.store.engine.wait(it.Close))
}
