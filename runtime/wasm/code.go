package wasm

import (
	"cmp"
	"context"
	"fmt"

	"github.com/tetratelabs/wazero"

	"github.com/seed79541315/postern/abi"
)

// interpretedPerByte estimates what the interpreter makes of a metered module
// by its size; see DESIGN.md for the measurement.
const interpretedPerByte = 36

// codeKey names a compiled code: by other rules it is another.
type codeKey struct {
	protocol uint64
	hash     abi.Hash
}

// code is a compiled code and its idle instances.
type code struct {
	hash     abi.Hash
	machine  *machine
	rules    *rules // the machine's
	compiled wazero.CompiledModule
	bytes    int // estimate of what compiled occupies
	numFuncs int // of the source
	names    map[uint32]string
	entries  [abi.EntryCount]bool
	globals  []string // exports of the source's mutable globals
	start    bool     // the source has a start function
	minPages int      // of the image
	maxPages int
	// fixedBytes is what an instance takes beside its memory.
	fixedBytes int
	frames     int    // call depth
	base       int64  // gas of a call before its first instruction
	clock      uint64 // what WASI's clocks show when a call begins, in ns

	// image is the memory and globals after the start function. startTrap is
	// that function's end, if it was a bad one: then nothing can be called.
	image     image
	startTrap *Trap

	users int         // running calls, guarded by Runtime.mu
	idle  []*instance // guarded by Runtime.mu
	used  uint64      // Runtime.clock at the last use, guarded by Runtime.mu
	block uint64      // Runtime.block at the last use by block execution, guarded by Runtime.mu
}

func (c *code) key() codeKey { return codeKey{c.machine.protocol, c.hash} }

// Ready says whether a code is compiled for a protocol version.
func (r *Runtime) Ready(protocol uint64, hash abi.Hash) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.codes[r.key(protocol, hash)] != nil
}

func (r *Runtime) key(protocol uint64, hash abi.Hash) codeKey {
	return codeKey{cmp.Or(protocol, r.cfg.Protocol), hash}
}

// Compile checks, rewrites and compiles blob for a protocol version and keeps
// it under its hash, which is not compared. One code is compiled at a time.
// Compiling a code that is ready does nothing.
func (r *Runtime) Compile(ctx context.Context, protocol uint64, hash abi.Hash, blob []byte) error {
	c, err := r.compile(ctx, r.key(protocol, hash), func() ([]byte, error) { return blob, nil }, r.compiling)
	if err != nil {
		return err
	}
	r.unpin(c)
	return nil
}

// pin finds the code of a call, compiling it if need be, and holds it against
// eviction. Block execution finds its codes compiled, or evicted since: then
// their native code lies in the cache directory, and it is loaded without
// waiting for what is compiled in the background.
func (r *Runtime) pin(ctx context.Context, call *Call) (c *code, err error) {
	key := r.key(call.version(), call.Code)
	if c = r.find(key); c == nil {
		slot := r.compiling
		if call.ofBlock() {
			slot = r.reloading
		}
		if c, err = r.compile(ctx, key, call.Load, slot); err != nil {
			return nil, err
		}
	}
	if call.ofBlock() {
		r.mu.Lock()
		c.block = r.block
		r.mu.Unlock()
	}
	return c, nil
}

// version is the protocol version of the call, 0 for the newest.
func (call *Call) version() uint64 {
	if call.Outer != nil {
		return call.Outer.protocol
	}
	return call.Protocol
}

// ofBlock says whether the call is part of block execution.
func (call *Call) ofBlock() bool { return call.Block || call.Outer != nil && call.Outer.block }

// BeginBlock says that a block is executed from now on: until EndBlock, no
// code that it ran is dropped, whatever they take together. So a block loads
// each code once at most, and its time is bounded by the codes that the
// caller lets it run.
func (r *Runtime) BeginBlock() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.block++
	r.inBlock = true
}

// EndBlock ends what BeginBlock began.
func (r *Runtime) EndBlock() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inBlock = false
	r.evictCodes()
}

// find pins a code that is compiled; nil if it is not.
func (r *Runtime) find(key codeKey) *code {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.codes[key]
	if c != nil {
		r.touch(c)
	}
	return c
}

// touch counts a use of c. The caller holds mu.
func (r *Runtime) touch(c *code) {
	r.clock++
	c.used = r.clock
	c.users++
}

func (r *Runtime) unpin(c *code) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.users--
	r.evictCodes()
}

// compile compiles a code in one of the two slots for that, unless another
// goroutine just did, and pins it.
func (r *Runtime) compile(ctx context.Context, key codeKey, load func() ([]byte, error), slot chan struct{}) (*code, error) {
	if err := r.acquire(ctx, slot); err != nil {
		return nil, fmt.Errorf("waiting for the compiler: %w", err)
	}
	defer func() { <-slot }()
	if c := r.find(key); c != nil {
		return c, nil
	}
	m, err := r.machine(ctx, key.protocol)
	if err != nil {
		return nil, err
	}
	if load == nil {
		return nil, fmt.Errorf("code %x is not compiled and cannot be loaded", key.hash[:8])
	}
	blob, err := load()
	if err != nil {
		return nil, fmt.Errorf("loading code %x: %w", key.hash[:8], err)
	}
	c, err := r.build(ctx, m, key.hash, blob)
	if err != nil {
		return nil, fmt.Errorf("compiling code %x: %w", key.hash[:8], err)
	}
	return r.add(c), nil
}

// add keeps a compiled code and pins it. Where the other slot was faster, its
// code is taken.
func (r *Runtime) add(c *code) *code {
	r.mu.Lock()
	defer r.mu.Unlock()
	if first := r.codes[c.key()]; first != nil {
		r.free(c)
		r.touch(first)
		return first
	}
	r.codes[c.key()] = c
	r.loads++
	r.codeBytes += c.bytes
	r.touch(c)
	r.evictCodes()
	return c
}

// build makes a code ready to be called.
func (r *Runtime) build(ctx context.Context, m *machine, hash abi.Hash, blob []byte) (*code, error) {
	a, refusal := admit(blob, m.rules)
	if refusal != nil {
		return nil, refusal
	}
	mem := a.memory()
	a.module.Datas = nil // they stand in mem: instances begin with the image
	rewritten := a.rewrite(r.tracks())
	compiled, err := r.compileNative(ctx, m, rewritten)
	if err != nil {
		return nil, err
	}
	c := newCode(hash, m, a, compiled)
	if err := r.initialise(ctx, c, mem); err != nil {
		compiled.Close(ctx)
		return nil, err
	}
	perByte := compiledPerByte
	if r.cfg.Engine == EngineInterpreter {
		perByte = interpretedPerByte
	}
	c.bytes = len(rewritten)*perByte + c.image.filled()
	return c, nil
}

// memory is the initial memory: zeros, and the data segments.
func (a *admitted) memory() []byte {
	mem := make([]byte, int(a.module.Memory.Min)*wasmPage)
	for _, d := range a.module.Datas {
		copy(mem[d.At:], d.Bytes)
	}
	return mem
}

// tracks says whether guests mark what they write. On the interpreter that
// costs more than it saves.
func (r *Runtime) tracks() bool { return r.cfg.Engine == EngineCompiler }

// compileNative compiles, or takes native code from the cache directory. A
// damaged cache is emptied: it only ever saves time. One that cannot be written
// to, because the disk is full or not writable, is in nobody's way: the engine
// keeps what it compiled before it tries to write it, so the second attempt
// finds it.
func (r *Runtime) compileNative(ctx context.Context, m *machine, rewritten []byte) (wazero.CompiledModule, error) {
	compiled, err := m.engine.CompileModule(ctx, rewritten)
	if r.dir == nil {
		return compiled, err
	}
	if err != nil {
		r.cfg.Logger.Warn("emptying the compilation cache", "dir", r.cfg.CacheDir, "err", err)
		if err := r.dir.empty(); err != nil {
			r.cfg.Logger.Warn("the compilation cache cannot be emptied", "dir", r.cfg.CacheDir, "err", err)
		}
		if compiled, err = m.engine.CompileModule(ctx, rewritten); err != nil {
			return nil, err
		}
	}
	if err := r.dir.trim(); err != nil {
		r.cfg.Logger.Warn("the compilation cache is not kept within its budget", "err", err)
	}
	return compiled, nil
}

func newCode(hash abi.Hash, m *machine, a *admitted, compiled wazero.CompiledModule) *code {
	c := &code{
		hash:     hash,
		machine:  m,
		rules:    m.rules,
		compiled: compiled,
		numFuncs: a.module.NumFuncs(),
		names:    a.module.Names,
		globals:  globalExports(a.module),
		start:    a.module.Start != nil,
		clock:    wasiEpoch,
		maxPages: a.rules.limits.MemoryPages,
		frames:   a.rules.limits.Frames,
	}
	c.fixedBytes = instanceBytes
	if a.module.Table != nil {
		c.fixedBytes += tableBytes * int(a.module.Table.Min)
	}
	for _, e := range a.module.Elems {
		c.fixedBytes += elementBytes * len(e.Funcs)
	}
	c.setPages(int(a.module.Memory.Min))
	for _, e := range a.entries {
		c.entries[e] = true
	}
	return c
}

// setPages notes how many pages the memory has when a call begins.
func (c *code) setPages(n int) {
	c.minPages = n
	c.base = c.rules.callBase + c.rules.callPage*int64(n)
}

// evictCodes drops the least recently used codes that no call is using while
// codes take more than their budget. The one used last stays: one that is
// larger than the budget would be compiled for each call. So do those that the
// block in execution ran. The caller holds mu.
func (r *Runtime) evictCodes() {
	for r.codeBytes > r.cfg.CodeBytes {
		var oldest *code
		for _, c := range r.codes {
			if c.users == 0 && c.used != r.clock && !(r.inBlock && c.block == r.block) && (oldest == nil || c.used < oldest.used) {
				oldest = c
			}
		}
		if oldest == nil {
			return
		}
		for len(oldest.idle) > 0 {
			r.dropIdle(oldest)
		}
		delete(r.codes, oldest.key())
		r.codeBytes -= oldest.bytes
		r.free(oldest)
	}
}

// free gives back what a code without instances takes.
func (r *Runtime) free(c *code) {
	r.dropImage(c)
	if err := c.compiled.Close(context.Background()); err != nil {
		r.cfg.Logger.Warn("closing a code", "code", c.hash[:8], "err", err)
	}
}
