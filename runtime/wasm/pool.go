package wasm

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"strconv"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm/internal/module"
	"github.com/seed79541315/postern/runtime/wasm/internal/rewrite"
)

const (
	wasmPage = 64 << 10
	// imagePage is the grain at which an image tells zero from data.
	imagePage = 4 << 10
	// instanceBytes is what an instance takes beside its memory: the stacks
	// of alloc and one entry point (10 KiB each) and wazero's records.
	instanceBytes = 32 << 10
)

// instance is an instance of a code. A call owns it, or the pool.
type instance struct {
	code    *code
	mod     api.Module
	mem     api.Memory
	alloc   api.Function
	entries [abi.EntryCount]api.Function // looked up at first use
	gas     api.MutableGlobal
	height  api.MutableGlobal
	pages   api.MutableGlobal
	mark    api.MutableGlobal // nil unless the code tracks what it writes
	globals []api.MutableGlobal
	// used says that memory and globals are not those of the image; the
	// memory differs below dirty only.
	used  bool
	dirty uint32
	frame frame
}

func (in *instance) bytes() int { return in.code.minPages*wasmPage + instanceBytes }

// image is the state from which every call starts.
type image struct {
	runs    []run
	globals []uint64
}

// run is a stretch of memory; data is nil where it is zero.
type run struct {
	at, end uint32
	data    []byte
}

// newImage copies memory, keeping of zero pages their place only.
func newImage(mem []byte, globals []api.MutableGlobal) image {
	var img image
	zeros := make([]byte, imagePage)
	for at := 0; at < len(mem); at += imagePage {
		page := mem[at : at+imagePage]
		zero := bytes.Equal(page, zeros)
		if n := len(img.runs); n > 0 && (img.runs[n-1].data == nil) == zero {
			last := &img.runs[n-1]
			last.end += imagePage
			if !zero {
				last.data = append(last.data, page...)
			}
			continue
		}
		next := run{at: uint32(at), end: uint32(at) + imagePage}
		if !zero {
			next.data = append([]byte(nil), page...)
		}
		img.runs = append(img.runs, next)
	}
	for _, g := range globals {
		img.globals = append(img.globals, g.Get())
	}
	return img
}

// restore sets memory and globals back to the image.
func (in *instance) restore() {
	mem, _ := in.mem.Read(0, in.dirty)
	for i := range in.code.image.runs {
		r := &in.code.image.runs[i]
		if r.at >= in.dirty {
			break
		}
		if r.data == nil {
			clear(mem[r.at:min(r.end, in.dirty)])
		} else {
			copy(mem[r.at:], r.data)
		}
	}
	for i, g := range in.globals {
		g.Set(in.code.image.globals[i])
	}
	in.used = false
}

// spend notes that a call used the instance, and how much of the memory it
// may have written: all, unless the guest kept the mark to its end. written
// is the end of what the host wrote.
func (in *instance) spend(written uint32, ended bool) {
	in.used, in.dirty = true, in.mem.Size()
	if in.mark == nil {
		return
	}
	if ended {
		reach := max(uint64(written), uint64(api.DecodeU32(in.mark.Get()))+rewrite.MarkReach)
		in.dirty = uint32(min(reach, uint64(in.dirty)))
	}
	in.mark.Set(0)
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

// instantiate makes an instance. Its start function has not run.
func (r *Runtime) instantiate(ctx context.Context, c *code) (*instance, error) {
	cfg := wazero.NewModuleConfig().WithName("").WithStartFunctions()
	mod, err := r.engine.InstantiateModule(ctx, c.compiled, cfg)
	if err != nil {
		return nil, fmt.Errorf("instantiating: %w", err)
	}
	global := func(name string) api.MutableGlobal { return mod.ExportedGlobal(name).(api.MutableGlobal) }
	in := &instance{
		code:   c,
		mod:    mod,
		mem:    mod.Memory(),
		alloc:  mod.ExportedFunction(exportAlloc),
		gas:    global(rewrite.GasExport),
		height: global(rewrite.HeightExport),
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

// initialise runs the start function and takes the image of what it leaves.
// A trap in it is the code's, found by every later call; an error is ours.
func (r *Runtime) initialise(ctx context.Context, c *code) error {
	in, err := r.instantiate(ctx, c)
	if err != nil {
		return err
	}
	defer in.mod.Close(ctx)
	if c.start {
		f := &in.frame
		f.begin(ctx, abi.EntryCount, nil, nil, GasStart, c.maxPages)
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
	mem, _ := in.mem.Read(0, in.mem.Size())
	c.image = newImage(mem, in.globals)
	c.setPages(len(mem) / wasmPage)
	return nil
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
		if in, err = r.instantiate(ctx, c); err != nil {
			return nil, err
		}
		if c.start {
			in.mem.Grow(uint32(c.minPages) - in.mem.Size()/wasmPage)
			in.spend(0, false)
		}
	}
	if in.used {
		in.restore()
		if r.paranoid {
			in.compare()
		}
	}
	return in, nil
}

// give returns an instance after a call, and unpins its code. One whose
// memory grew is not kept: wazero cannot shrink it again.
func (r *Runtime) give(ctx context.Context, in *instance) {
	c := in.code
	keep := int(in.mem.Size()) == c.minPages*wasmPage
	if keep && r.paranoid {
		in.poison()
	}
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

// poison overwrites what restore will set back.
func (in *instance) poison() {
	mem, _ := in.mem.Read(0, in.dirty)
	for i := range mem {
		mem[i] = 0xa5
	}
	for _, g := range in.globals {
		g.Set(0xa5a5a5a5)
	}
}

// compare panics unless the instance is in the image's state.
func (in *instance) compare() {
	mem, _ := in.mem.Read(0, in.mem.Size())
	now := newImage(mem, in.globals)
	if !reflect.DeepEqual(now, in.code.image) {
		panic("BUG: an instance was not set back")
	}
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
