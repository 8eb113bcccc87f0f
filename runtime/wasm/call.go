package wasm

import (
	"context"
	"errors"
	"fmt"

	"github.com/tetratelabs/wazero/api"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm/internal/rewrite"
)

// Call is one call of a contract's entry point.
type Call struct {
	// Protocol is the protocol version whose rules the call runs by; 0 means
	// the newest that the Runtime runs. A nested call has that of the outer.
	Protocol uint64
	Code     abi.Hash
	// Load fetches the code's bytes when it is not compiled: after a restart
	// or an eviction. It may be nil for a code that is surely ready.
	Load  func() ([]byte, error)
	Entry abi.Entry
	Input []byte // an abi.Input as abi.AppendInput encodes it
	Gas   uint64 // at most GasMax counts
	Env   Env
	// Outer is nil at the top level. A nested call passes the Scope that its
	// Env.Call or Env.Query received; it shares the outer call's slot and
	// memory limit.
	Outer *Scope
	// Block is set in block execution, which has a slot of its own.
	Block bool
}

// Result is what a call returned.
type Result struct {
	Output    []byte // nil after a trap
	GasUsed   uint64 // right after traps too, never above Call.Gas
	AbortCode uint16 // the contract's own code, with a Trap of CodeAborted
	Pages     int    // of memory at the end, 64 KiB each; 0 if the call never began
}

// Env is what one call may see and change. One goroutine uses it.
//
// An abi.Code among its errors (found by errors.As) is the contract's doing:
// Call, Query and SetDeviceStatus return it to the guest as minus the code,
// the others trap with it. Any other error is a fault of the host and ends
// the call, and the calls around it, with that error. Slices passed in point
// into the guest's memory and must not be kept.
type Env interface {
	// Get's value is valid until the next call of any method.
	Get(key []byte) (value []byte, ok bool, err error)
	Set(key, value []byte) error
	Delete(key []byte) error
	Scan(prefix, start []byte) (Iterator, error)
	Emit(topic, data []byte) error
	Call(scope *Scope, contract string, msg []byte, gas uint64) (out []byte, gasUsed uint64, err error)
	Query(scope *Scope, contract string, msg []byte, gas uint64) (out []byte, gasUsed uint64, err error)
	Device(id abi.Hash) (record []byte, ok bool, err error)
	SetDeviceStatus(id abi.Hash, status abi.Status, reason []byte) error
	Schedule(due int64, msg []byte) (uint64, error)
	Now() (ms int64, trusted bool)
	Log(msg string)
}

// Local is an Env of observe: it also has the record that this gateway keeps of
// the device for the contract, at most abi.MaxLocal bytes. Without it, and before
// protocol version 3, the guest's functions for it trap.
type Local interface {
	Env
	// Local's record is valid until the next call of any method; false when
	// there is none.
	Local() (record []byte, ok bool, err error)
	SetLocal(record []byte) error
}

// Iterator walks over a scan. Key and Value are valid until the next Next.
type Iterator interface {
	Next() bool
	Key() []byte
	Value() []byte
	Err() error
	Close()
}

// Sparse is an Iterator that also stops at entries which are no more, so that
// the guest pays for each: without that, a scan over what the same block deleted
// would walk as far as one likes for the price of one entry. Gone says that Next
// stopped at such an entry, which has neither key nor value.
type Sparse interface {
	Iterator
	Gone() bool
}

// Scope is the running call around a nested one. It is valid until the
// Env method that received it returns.
type Scope struct {
	ctx      context.Context
	protocol uint64 // version whose rules the outermost call runs by
	depth    int    // calls around the nested one
	pages    int    // that the nested one and those within it may use
	block    bool   // the outermost call is block execution's
}

// Context is the context of the call.
func (s *Scope) Context() context.Context { return s.ctx }

// Call runs an entry point. The error is nil, a *Trap, or a fault of this
// host. A top-level call waits for a slot, as long as ctx lives.
func (r *Runtime) Call(ctx context.Context, call Call) (Result, error) {
	// The code first: who waits for the compiler holds no slot meanwhile.
	c, err := r.pin(ctx, &call)
	if err != nil {
		return Result{}, err
	}
	if call.Outer == nil {
		slot := r.slots
		if call.Block {
			slot = r.blockSlot
		}
		if err := r.acquire(ctx, slot); err != nil {
			r.unpin(c)
			return Result{}, fmt.Errorf("waiting for a slot: %w", err)
		}
		defer func() { <-slot }()
	}
	pages, trap := r.precheck(c, &call)
	if trap != nil {
		r.unpin(c)
		return Result{GasUsed: min(call.Gas, uint64(c.entryPrice(&call)))}, trap
	}
	in, err := r.take(ctx, c)
	if err != nil {
		r.unpin(c)
		return Result{}, err
	}
	res, err := in.frame.run(ctx, &call, pages)
	if fault := in.memory.refused(); fault != nil {
		res, err = Result{}, fault
	}
	res.Pages = int(in.mem.Size()) / wasmPage
	r.give(ctx, in, in.dirty(in.frame.written, err == nil))
	if r.cfg.Trace != nil {
		r.trace(call, res, err)
	}
	return res, err
}

// trace shows copies: pointers to the originals would put those of every call
// on the heap.
func (r *Runtime) trace(call Call, res Result, err error) { r.cfg.Trace(&call, &res, err) }

// entryPrice is what a call costs before the guest's first instruction.
func (c *code) entryPrice(call *Call) int64 { return c.base + c.rules.callBytes(len(call.Input)) }

// precheck finds what makes a call impossible before it begins. It returns
// the pages that the chain of calls has left for this one.
func (r *Runtime) precheck(c *code, call *Call) (pages int, trap *Trap) {
	pages = c.rules.limits.ChainPages
	if call.Outer != nil {
		pages = call.Outer.pages
		if call.Outer.depth > abi.MaxCallDepth {
			return 0, &Trap{Code: abi.CodeCallDepth}
		}
	}
	switch {
	case c.startTrap != nil:
		return 0, c.startTrap
	case call.Entry >= abi.EntryCount || !c.entries[call.Entry]:
		return 0, &Trap{Code: abi.CodeNoEntryPoint}
	case c.minPages > pages:
		return 0, &Trap{Code: abi.CodeMemoryLimit, Text: "the calls around this one leave too little memory"}
	case call.Gas < uint64(c.entryPrice(call)):
		return 0, &Trap{Code: abi.CodeOutOfGas}
	}
	return pages, nil
}

// frame is a running call. It is the context that wazero hands to the host
// functions, which find their call by it without a lookup.
type frame struct {
	context.Context // never asked: see Value
	instance        *instance
	entry           abi.Entry
	env             Env
	scope           Scope  // handed to nested calls
	chain           int    // pages that the chain had left when the call began
	allowance       int    // pages that the memory may grow, at the beginning
	written         uint32 // end of the memory that the host wrote
	clock           uint64 // what WASI's clocks show, in ns
	words           []byte // what the guest wrote to its log since it ended a line
	lastWords       string // of these, what a program says when it panics
	scans           [maxScans]scan
	numScans        int
	trap            *Trap // set by a host function before it panics
	fault           error // the same for faults of the host
	abortCode       uint16
	stack           [2]uint64
}

// Value is asked by wazero for its experimental switches, none of which is
// in use; passing the question on would walk through the caller's contexts.
func (f *frame) Value(any) any { return nil }

// begin prepares a call with gas units and pages left in the chain.
func (f *frame) begin(ctx context.Context, entry abi.Entry, env Env, outer *Scope, gas int64, pages int) {
	f.Context, f.entry, f.env = ctx, entry, env
	f.scope = Scope{ctx: ctx, protocol: f.instance.code.machine.protocol, depth: 1}
	if outer != nil {
		f.scope.depth, f.scope.block = outer.depth+1, outer.block
	}
	c := f.instance.code
	f.chain = pages
	f.allowance = max(0, min(c.maxPages, pages)-c.minPages)
	f.written = 0
	f.clock, f.lastWords = c.clock, ""
	f.trap, f.fault, f.abortCode = nil, nil, 0
	f.instance.fuel.Set(rewrite.Fuel(gas, int64(c.frames)))
	f.instance.pages.Set(uint64(f.allowance))
}

// end releases what the call holds of its caller's. A panic of an Env in here
// is a fault of the host, as one within a host function is.
func (f *frame) end() (fault error) {
	defer func() {
		if p := recover(); p != nil {
			fault = fmt.Errorf("ending a call: %v", p)
		}
		f.scans, f.numScans, f.words = [maxScans]scan{}, 0, f.words[:0]
		f.Context, f.env, f.scope.ctx = nil, nil, nil
	}()
	for i := range f.numScans {
		f.scans[i].it.Close()
	}
	f.flushWords()
	return nil
}

// run allocates the input, calls the entry point and copies the output.
func (f *frame) run(ctx context.Context, call *Call, pages int) (Result, error) {
	gas := int64(min(call.Gas, GasMax))
	f.begin(ctx, call.Entry, call.Env, call.Outer, gas, pages)
	f.scope.block = f.scope.block || call.Block
	f.setGas(gas - f.instance.code.entryPrice(call))
	out, err := f.exchange(call.Input)
	left := max(0, f.gasLeft())
	res := Result{Output: out, GasUsed: uint64(gas - left), AbortCode: f.abortCode}
	if fault := f.end(); fault != nil {
		res.Output, err = nil, fault
	}
	return res, err
}

// exchange is the call's conversation with the guest.
func (f *frame) exchange(input []byte) ([]byte, error) {
	in := f.instance
	f.stack[0] = uint64(len(input))
	if err := f.invoke(in.alloc, f.stack[:1]); err != nil {
		return nil, err
	}
	ptr := api.DecodeU32(f.stack[0])
	if !in.mem.Write(ptr, input) {
		return nil, &Trap{Code: abi.CodeBadPointer, Text: "alloc returned memory outside the module's"}
	}
	f.wrote(ptr, len(input))
	entry := in.entries[f.entry]
	if entry == nil {
		entry = in.mod.ExportedFunction(f.entry.String())
		in.entries[f.entry] = entry
	}
	f.stack[0], f.stack[1] = uint64(ptr), uint64(len(input))
	if err := f.invoke(entry, f.stack[:]); err != nil {
		return nil, err
	}
	return f.output(f.stack[0])
}

// wrote notes that the host wrote n bytes at ptr, which lie in the memory.
func (f *frame) wrote(ptr uint32, n int) {
	f.written = max(f.written, ptr+uint32(n))
}

// output copies the result that packed points to.
func (f *frame) output(packed uint64) ([]byte, error) {
	ptr, n := uint32(packed>>32), uint32(packed)
	if n > abi.MaxResult {
		return nil, &Trap{Code: abi.CodeResultTooLong}
	}
	view, ok := f.instance.mem.Read(ptr, n)
	if !ok {
		return nil, &Trap{Code: abi.CodeBadPointer, Text: "result outside the module's memory"}
	}
	left := f.gasLeft() - f.instance.code.rules.callBytes(len(view))
	if f.setGas(left); left < 0 {
		return nil, &Trap{Code: abi.CodeOutOfGas}
	}
	return append(make([]byte, 0, n), view...), nil
}

// invoke calls a function of the guest.
func (f *frame) invoke(fn api.Function, stack []uint64) error {
	err := fn.CallWithStack(f, stack)
	if err == nil {
		if f.gasLeft() < 0 {
			return &Trap{Code: abi.CodeOutOfGas}
		}
		return nil
	}
	return f.failure(err)
}

// failure tells what ended a call: a fault of the host, a trap in a host
// function, a limit of the metered code, or a trap of the engine.
func (f *frame) failure(err error) error {
	if f.fault != nil {
		return f.fault
	}
	if f.trap != nil {
		f.trap.Func = trapFunc(err, f.instance.code)
		return f.trap
	}
	trap, ok := engineTrap(err)
	if !ok {
		// Not wrapped: what an Env panicked with is a fault even if it is a code.
		return fmt.Errorf("executing a contract: %v", err)
	}
	t := &Trap{Code: trap, Func: trapFunc(err, f.instance.code), Text: f.lastWords}
	switch gas, height := f.fuel(); {
	case gas < 0:
		t.Code = abi.CodeOutOfGas
	case trap == abi.CodeUnreachable && height < 0:
		t.Code = abi.CodeStackLimit
	case trap == abi.CodeUnreachable && int64(f.instance.pages.Get()) < 0:
		t.Code = abi.CodeMemoryLimit
	}
	return t
}

func (f *frame) gasLeft() int64 {
	gas, _ := f.fuel()
	return gas
}

func (f *frame) fuel() (gas, height int64) { return rewrite.Split(f.instance.fuel.Get()) }

func (f *frame) setGas(left int64) {
	_, height := f.fuel()
	f.instance.fuel.Set(rewrite.Fuel(left, height))
}

// asCode finds the abi.Code in an error of an Env.
func asCode(err error) (abi.Code, bool) {
	var code abi.Code
	return code, errors.As(err, &code)
}
