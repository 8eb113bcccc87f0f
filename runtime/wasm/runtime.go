package wasm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/seed79541315/postern/abi"
)

// Runtime holds compiled codes and idle instances, and runs calls.
type Runtime struct {
	cfg    Config
	cache  wazero.CompilationCache // nil without a cache directory
	dir    *cacheDir               // the same
	images *imageFile              // nil where memories cannot share pages

	slots     chan struct{} // one element for each running top-level call
	blockSlot chan struct{} // the same for block execution
	compiling chan struct{} // held while a code is compiled
	reloading chan struct{} // the same for block execution, which does not wait for the compiler
	closed    chan struct{} // closed by Close: whoever waits for one of these gives up

	starting sync.Mutex             // held while an engine is started
	engines  [Protocol + 1]*machine // by protocol version, started at the first use; guarded by starting

	mu        sync.Mutex
	codes     map[codeKey]*code // guarded by mu
	codeBytes int               // of codes, guarded by mu
	loads     uint64            // codes that were made ready, guarded by mu
	idleBytes int               // of idle instances, guarded by mu
	clock     uint64            // counts uses, for LRU; guarded by mu
	block     uint64            // counts blocks, guarded by mu
	inBlock   bool              // the last one is in execution, guarded by mu

	// paranoid makes the pool overwrite what idle instances will be set back
	// from, and compare them with the image afterwards. Tests set it.
	paranoid bool
}

// New makes a Runtime.
func New(ctx context.Context, cfg Config) (*Runtime, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("contract host: %w", err)
	}
	r := &Runtime{
		cfg:       cfg,
		slots:     make(chan struct{}, runtime.GOMAXPROCS(0)),
		blockSlot: make(chan struct{}, 1),
		compiling: make(chan struct{}, 1),
		reloading: make(chan struct{}, 1),
		closed:    make(chan struct{}),
		codes:     make(map[codeKey]*code),
	}
	if err := r.openCache(); err != nil {
		return nil, err
	}
	if _, err := r.machine(ctx, cfg.Protocol); err != nil {
		return nil, fmt.Errorf("contract host: %w", err)
	}
	var err error
	if r.images, err = openImageFile(); err != nil {
		cfg.Logger.Info("instances do not share memory", "reason", err)
		r.images = nil
	}
	cfg.Logger.Info("contract host", "engine", cfg.Engine.String(), "protocol", cfg.Protocol)
	return r, nil
}

// openCache opens the cache directory of the compiler.
func (r *Runtime) openCache() (err error) {
	if r.cfg.Engine != EngineCompiler || r.cfg.CacheDir == "" {
		return nil
	}
	if r.dir, err = openCacheDir(r.cfg.CacheDir, r.cfg.CacheBytes); err != nil {
		return err
	}
	if r.cache, err = wazero.NewCompilationCacheWithDir(r.cfg.CacheDir); err != nil {
		return fmt.Errorf("opening the compilation cache: %w", err)
	}
	return nil
}

// machine is an engine with the host functions of one protocol version. Each
// version has its own: so nothing of one, neither a price nor a limit nor
// native code, can be met by a contract that runs under another.
type machine struct {
	protocol uint64
	rules    *rules
	engine   wazero.Runtime
}

// machine gives the engine of a protocol version, starting it at the first use.
func (r *Runtime) machine(ctx context.Context, protocol uint64) (*machine, error) {
	rules, err := r.rulesOf(protocol)
	if err != nil {
		return nil, err
	}
	r.starting.Lock()
	defer r.starting.Unlock()
	if m := r.engines[protocol]; m != nil {
		return m, nil
	}
	m := &machine{protocol: protocol, rules: rules, engine: wazero.NewRuntimeWithConfig(ctx, r.engineConfig(rules))}
	if err := m.instantiate(ctx); err != nil {
		return nil, errors.Join(err, m.engine.Close(ctx))
	}
	r.engines[protocol] = m
	return m, nil
}

// engineConfig starts wazero with the features that rewritten modules use.
func (r *Runtime) engineConfig(rules *rules) wazero.RuntimeConfig {
	rc := wazero.NewRuntimeConfigInterpreter()
	if r.cfg.Engine == EngineCompiler {
		rc = wazero.NewRuntimeConfigCompiler()
		if r.cache != nil {
			rc = rc.WithCompilationCache(r.cache)
		}
	}
	features := api.CoreFeatureMutableGlobal | api.CoreFeatureSignExtensionOps | api.CoreFeatureBulkMemoryOperations
	if rules.limits.Floats {
		features |= api.CoreFeatureNonTrappingFloatToIntConversion
	}
	return rc.WithCoreFeatures(features).WithDebugInfoEnabled(false).WithMemoryLimitPages(uint32(rules.limits.MemoryPages) + 1) // one more for instance.shrink
}

// instantiate makes the modules of host functions.
func (m *machine) instantiate(ctx context.Context) error {
	if err := instantiateHost(ctx, m.engine, m.rules); err != nil {
		return fmt.Errorf("instantiating the host module: %w", err)
	}
	if m.rules.limits.WASI {
		if err := instantiateWASI(ctx, m.engine, m.rules); err != nil {
			return fmt.Errorf("instantiating the module of WASI functions: %w", err)
		}
	}
	return nil
}

// rulesOf gives the rules of a protocol version, 0 for the newest that the
// Runtime runs. One above it is not known, as to a program that is older.
func (r *Runtime) rulesOf(protocol uint64) (*rules, error) {
	if protocol > r.cfg.Protocol {
		return nil, fmt.Errorf("protocol version %d: %w", protocol, abi.CodeUnknownVersion)
	}
	return rulesOf(cmp.Or(protocol, r.cfg.Protocol), r.cfg.Profile)
}

// Engine is the engine in use, never EngineAuto.
func (r *Runtime) Engine() Engine { return r.cfg.Engine }

// Protocol is the newest protocol version that the Runtime runs.
func (r *Runtime) Protocol() uint64 { return r.cfg.Protocol }

// Stats is what a Runtime holds at a moment.
type Stats struct {
	Codes       int    // compiled, and ready
	Loads       uint64 // codes made ready since the start: compiled, or read from the cache directory
	CodeBytes   int    // estimate, images included
	SharedBytes int    // of CodeBytes: images, whose pages all instances of a code share
	Idle        int    // instances
	IdleBytes   int    // that they have to themselves
}

// Stats counts.
func (r *Runtime) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Stats{Codes: len(r.codes), Loads: r.loads, CodeBytes: r.codeBytes, IdleBytes: r.idleBytes}
	for _, c := range r.codes {
		s.SharedBytes += c.image.filled()
		s.Idle += len(c.idle)
	}
	return s
}

// errClosed is the fault of a call that came after Close.
var errClosed = errors.New("the contract host is closed")

// Close waits for the calls and compilations that run, as long as ctx lives,
// and frees everything: memory that a call still had would be gone under it.
// What comes later ends with a fault. It is called once.
func (r *Runtime) Close(ctx context.Context) error {
	close(r.closed)
	for _, sem := range []chan struct{}{r.slots, r.blockSlot, r.compiling, r.reloading} {
		for range cap(sem) {
			select {
			case sem <- struct{}{}:
			case <-ctx.Done():
				return fmt.Errorf("closing the contract host: calls are running: %w", ctx.Err())
			}
		}
	}
	return r.release(ctx)
}

// release frees everything. Nothing may be running.
func (r *Runtime) release(ctx context.Context) error {
	var err error
	for _, m := range r.engines {
		if m != nil {
			err = errors.Join(err, m.engine.Close(ctx))
		}
	}
	for _, c := range r.codes {
		r.dropImage(c)
	}
	if r.images != nil {
		r.images.close()
	}
	if r.cache != nil {
		if cacheErr := r.cache.Close(ctx); err == nil {
			err = cacheErr
		}
	}
	if err != nil {
		return fmt.Errorf("closing the contract host: %w", err)
	}
	return nil
}

// acquire takes a slot of sem.
func (r *Runtime) acquire(ctx context.Context, sem chan struct{}) error {
	select {
	case <-r.closed:
		return errClosed
	default:
	}
	select {
	case sem <- struct{}{}:
		return nil
	default:
	}
	select {
	case sem <- struct{}{}:
		return nil
	case <-r.closed:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}
