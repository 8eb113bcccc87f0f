package wasm

import (
	"context"
	"fmt"
	"strconv"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm/internal/module"
	"github.com/seed79541315/postern/runtime/wasm/internal/rewrite"
)

// instanceBytes is what an instance takes beside its memory and its table: the
// stacks of alloc and one entry point (10 KiB each) and wazero's records.
const instanceBytes = 32 << 10

// What wazero keeps in each instance for an element of the table, and for one
// that a segment sets to a function.
const (
	tableBytes   = 8
	elementBytes = 40
)

// instance is an instance of a code. A call owns it, or the pool. In the pool
// its memory and globals are the image's.
type instance struct {
	code    *code
	mod     api.Module
	mem     api.Memory
	memory  memory
	alloc   api.Function
	entries [abi.EntryCount]api.Function // looked up at first use
	fuel    api.MutableGlobal            // gas and height, see rewrite.Fuel
	pages   api.MutableGlobal
	mark    api.MutableGlobal // nil unless the code tracks what it writes
	globals []api.MutableGlobal
	frame   frame
}

// bytes is what the instance takes for itself.
func (in *instance) bytes() int { return in.memory.resident() + in.code.fixedBytes }

// dirty is the end of what a call may have written: of the whole memory,
// unless the guest kept the mark to its end. written is the end of what the
// host wrote.
func (in *instance) dirty(written uint32, ended bool) int {
	size := in.mem.Size()
	if in.mark == nil || !ended {
		return int(size)
	}
	reach := max(uint64(written), uint64(api.DecodeU32(in.mark.Get()))+rewrite.MarkReach)
	return int(min(reach, uint64(size)))
}

// reset sets memory and globals back to the image. It fails for a memory that
// grew and cannot be made smaller.
func (in *instance) reset(dirty int) bool {
	in.memory.reset(dirty)
	in.setGlobals()
	if in.mark != nil {
		in.mark.Set(0)
	}
	return int(in.mem.Size()) == in.code.image.size || in.shrink()
}

func (in *instance) setGlobals() {
	for i, g := range in.globals {
		g.Set(in.code.image.globals[i])
	}
}

// shrink gives a memory that grew its first size again. wazero has no function
// for that, but it takes from Reallocate what it gets, when it asks for another
// page. There is none to ask for beyond the module's own maximum.
func (in *instance) shrink() bool {
	in.memory.setShrink(true)
	in.mem.Grow(1)
	in.memory.setShrink(false)
	return int(in.mem.Size()) == in.code.image.size
}

// globalExports names the exports of a module's mutable globals.
func globalExports(m *module.Module) []string {
	var names []string
	for i, g := range m.Globals {
		if g.Mutable {
			names = append(names, rewrite.GlobalPrefix+strconv.Itoa(i))
		}
	}
	return names
}

// instantiate makes an instance with a memory. Its start function has not run.
func (r *Runtime) instantiate(ctx context.Context, c *code, m memory) (*instance, error) {
	cfg := wazero.NewModuleConfig().WithName("").WithStartFunctions()
	ctx = experimental.WithMemoryAllocator(ctx, allocate(m))
	mod, err := c.machine.engine.InstantiateModule(ctx, c.compiled, cfg)
	if err != nil {
		m.Free()
		return nil, fmt.Errorf("instantiating: %w", err)
	}
	global := func(name string) api.MutableGlobal { return mod.ExportedGlobal(name).(api.MutableGlobal) }
	in := &instance{
		code:   c,
		mod:    mod,
		mem:    mod.Memory(),
		memory: m,
		alloc:  mod.ExportedFunction(exportAlloc),
		fuel:   global(rewrite.FuelExport),
		pages:  global(rewrite.PagesExport),
	}
	if r.tracks() {
		in.mark = global(rewrite.MarkExport)
	}
	for _, name := range c.globals {
		in.globals = append(in.globals, global(name))
	}
	in.frame.instance = in
	return in, nil
}

// initialise runs the start function on the memory that the data segments make
// and takes the image of what it leaves. A trap in it is the code's, found by
// every later call; an error is ours.
func (r *Runtime) initialise(ctx context.Context, c *code, mem []byte) error {
	first := newImage(mem)
	in, err := r.instantiate(ctx, c, newPlainMemory(&first))
	if err != nil {
		return err
	}
	defer in.mod.Close(ctx)
	if c.start {
		f := &in.frame
		f.begin(ctx, abi.EntryCount, nil, nil, c.rules.start, c.maxPages)
		if err := f.invoke(in.mod.ExportedFunction(rewrite.StartExport), nil); err != nil {
			trap, ok := err.(*Trap)
			if !ok {
				return fmt.Errorf("start function: %w", err)
			}
			c.startTrap = trap
		}
		f.end()
		c.clock = f.clock
	}
	left, _ := in.mem.Read(0, in.mem.Size())
	c.image = newImage(left)
	for _, g := range in.globals {
		c.image.globals = append(c.image.globals, g.Get())
	}
	c.setPages(len(left) / wasmPage)
	r.keepImage(&c.image)
	return nil
}

// keepImage moves an image to where instances can share it, if it can.
func (r *Runtime) keepImage(img *image) {
	if r.images == nil {
		return
	}
	if err := r.images.keep(img); err != nil {
		r.cfg.Logger.Warn("an image stays on the heap", "err", err)
	}
}

// dropImage frees the image of a code without instances.
func (r *Runtime) dropImage(c *code) {
	if c.image.kept() {
		r.images.drop(&c.image)
	}
}

// newMemory makes a memory for an instance of c.
func (r *Runtime) newMemory(c *code) (memory, error) {
	if !c.image.kept() {
		return newPlainMemory(&c.image), nil
	}
	// One page more than the guest can reach lets an instance shrink.
	return r.images.memory(&c.image, (c.maxPages+1)*wasmPage)
}

// fresh makes an instance in the image's state.
func (r *Runtime) fresh(ctx context.Context, c *code) (*instance, error) {
	m, err := r.newMemory(c)
	if err != nil {
		return nil, err
	}
	in, err := r.instantiate(ctx, c, m)
	if err != nil {
		return nil, err
	}
	in.setGlobals()
	return in, nil
}

// take gives an instance in the image's state.
func (r *Runtime) take(ctx context.Context, c *code) (*instance, error) {
	r.mu.Lock()
	var in *instance
	if n := len(c.idle); n > 0 {
		in = c.idle[n-1]
		c.idle[n-1] = nil
		c.idle = c.idle[:n-1]
		r.idleBytes -= in.bytes()
	}
	r.mu.Unlock()
	if in == nil {
		var err error
		if in, err = r.fresh(ctx, c); err != nil {
			return nil, err
		}
	}
	if r.paranoid && !in.clean() {
		panic("BUG: an instance was not set back")
	}
	return in, nil
}

// give returns an instance after a call that wrote nothing at dirty or above,
// and unpins its code.
func (r *Runtime) give(ctx context.Context, in *instance, dirty int) {
	if r.paranoid {
		in.poison(dirty)
	}
	c := in.code
	keep := in.reset(dirty)
	if !keep {
		r.closeInstance(ctx, in)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if keep {
		c.idle = append(c.idle, in)
		r.idleBytes += in.bytes()
		r.evictIdle()
	}
	c.users--
	r.evictCodes()
}

// poison overwrites what reset will set back without looking.
func (in *instance) poison(dirty int) {
	mem, _ := in.mem.Read(0, uint32(min(dirty, straightBytes)))
	for i := range mem {
		mem[i] = 0xa5
	}
	for _, g := range in.globals {
		g.Set(0xa5a5a5a5)
	}
}

// clean says whether the instance is in the image's state.
func (in *instance) clean() bool {
	mem, _ := in.mem.Read(0, in.mem.Size())
	same := in.code.image.equal(mem)
	for i, g := range in.globals {
		same = same && g.Get() == in.code.image.globals[i]
	}
	return same
}

// evictIdle closes idle instances of the least recently used codes while
// idle instances take more than their budget. The caller holds mu.
func (r *Runtime) evictIdle() {
	for r.idleBytes > r.cfg.PoolBytes {
		var oldest *code
		for _, c := range r.codes {
			if len(c.idle) > 0 && (oldest == nil || c.used < oldest.used) {
				oldest = c
			}
		}
		r.dropIdle(oldest)
	}
}

// dropIdle closes an idle instance of c. The caller holds mu.
func (r *Runtime) dropIdle(c *code) {
	last := len(c.idle) - 1
	in := c.idle[last]
	c.idle[last] = nil
	c.idle = c.idle[:last]
	r.idleBytes -= in.bytes()
	r.closeInstance(context.Background(), in)
}

func (r *Runtime) closeInstance(ctx context.Context, in *instance) {
	if err := in.mod.Close(ctx); err != nil {
		r.cfg.Logger.Warn("closing an instance", "code", in.code.hash[:8], "err", err)
	}
}
