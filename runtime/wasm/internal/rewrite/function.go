package rewrite

import (
	"slices"

	"github.com/seed79541315/postern/runtime/wasm/internal/check"
	"github.com/seed79541315/postern/runtime/wasm/internal/module"
)

// function rewrites one body. Its frame looks so, "exit" carrying the
// function's result:
//
//	block $trap
//	  charge, test gas and height
//	  block $exit
//	    the body; return becomes a branch to $exit
//	  end
//	  give height back, store gas
//	  return
//	end
//	store gas
//	unreachable
//
// Labels of the source keep their numbers, since $exit stands where the
// function's own label was.
//
// A basic block here reaches from one label to the next: a br_if does not end
// it, and leaving by one gives nothing of its charge back.
type function struct {
	w      *rewriter
	out    assembler // finished code
	block  assembler // code of the current basic block, before its charge
	cost   uint64    // eighths, of the current basic block
	traps  bool      // the current basic block can trap or call
	head   bool      // the current basic block begins a loop
	opened bool      // the function's first basic block is finished
	start  uint32    // open blocks of the source where the basic block began
	depth  uint32    // open blocks of the source now
	dead   uint32    // open blocks since code became unreachable, 0 if reachable
	gas    uint32    // local that holds the gas
	height uint32    // local that holds the height
	weight int64     // units of height
	result byte      // block type of the function's result
	leaf   bool
	floats uint32 // locals that hold a float result, an f32 and an f64
	track  tracker
}

// function returns locals and expression of the i-th defined function.
func (w *rewriter) function(i int, info *check.Func) []byte {
	c := &w.src.Codes[i]
	t := w.src.FuncType(uint32(len(w.src.Imports) + i))
	f := function{w: w, gas: uint32(info.Locals), height: uint32(info.Locals) + 1, leaf: info.Calls == 0}
	if f.result = module.BlockEmpty; len(t.Results) > 0 {
		f.result = t.Results[0]
	}
	f.weight = 1 + int64((info.Locals+info.Operands)/w.opt.Costs.FrameSlots)
	f.cost = uint64(w.opt.Costs.Entry) + uint64(w.opt.Costs.Local)*uint64(info.Locals-len(t.Params))

	if w.opt.Track && info.Stores > 0 {
		f.track.plan(w.src, c, w.opt.Limits, info.Locals, len(t.Params))
	}
	f.out = make(assembler, 0, 2*(c.End-c.Start)+64)
	f.locals(c, info)
	f.out.block(module.BlockEmpty)
	if f.track.on {
		for p := range t.Params {
			if f.track.bases[p] {
				f.markLocal(uint32(p))
			}
		}
	}
	code := w.src.Instructions(c, w.opt.Limits)
	var in module.Instr
	for code.More() {
		if err := code.Next(&in); err != nil {
			panic("BUG: rewriting a module that was not checked: " + err.Error())
		}
		f.instruction(&in)
	}
	f.epilogue()
	return f.out
}

// locals declares the source's locals, and after them gas, unless the function
// is a leaf height, those for float results and those of the tracker.
func (f *function) locals(c *module.Code, info *check.Func) {
	own := []module.LocalRun{{Count: 2, Type: module.I64}}
	if f.leaf {
		own[0].Count = 1
	}
	next := f.gas + own[0].Count
	if info.NaNs > 0 {
		f.floats, next = next, next+2
		own = append(own, module.LocalRun{Count: 1, Type: module.F32}, module.LocalRun{Count: 1, Type: module.F64})
	}
	if f.track.on {
		own = append(own, f.track.locals(next, f.w.opt.Limits.Floats)...)
	}
	f.out = module.AppendU32(f.out, uint32(len(c.Locals)+len(own)))
	for _, run := range slices.Concat(c.Locals, own) {
		f.out = append(module.AppendU32(f.out, run.Count), run.Type)
	}
}

func (f *function) instruction(in *module.Instr) {
	if f.dead > 0 && !f.revive(in) {
		return
	}
	f.cost += uint64(f.w.opt.Costs.Classes[in.Info.Class])
	f.traps = f.traps || in.Info.Class.Traps()
	if f.track.on && f.tracked(in) {
		return
	}
	switch in.Op {
	case module.OpLoop:
		f.flush()
		f.out.raw(in)
		f.depth++
		f.start, f.head = f.depth, true
	case module.OpBlock:
		f.block.raw(in)
		f.depth++
	case module.OpIf:
		f.block.raw(in)
		f.depth++
		f.flush()
	case module.OpElse:
		f.block.raw(in)
		f.flush()
	case module.OpEnd:
		f.end(in)
	case module.OpReturn:
		f.block.index(module.OpBr, f.depth)
		f.kill()
	case module.OpBr, module.OpBrTable, module.OpUnreachable:
		f.block.raw(in)
		f.kill()
	default:
		f.lower(in)
	}
}

// end closes a block. What follows may be reached by branches, so it is a
// basic block of its own. The end of the body is left to the epilogue.
func (f *function) end(in *module.Instr) {
	if f.depth > 0 {
		f.block.raw(in)
		f.depth--
	}
	f.flush()
}

// kill drops the code up to the end of the innermost block: nothing reaches it.
func (f *function) kill() {
	f.flush()
	f.dead = 1
}

// revive passes over unreachable code; it says whether in is to be rewritten.
func (f *function) revive(in *module.Instr) bool {
	switch in.Op {
	case module.OpBlock, module.OpLoop, module.OpIf:
		f.dead++
	case module.OpElse:
		if f.dead == 1 {
			f.dead = 0
		}
	case module.OpEnd:
		f.dead--
	}
	return f.dead == 0
}

// flush ends the current basic block: its charge, then its code.
func (f *function) flush() {
	if f.opened {
		f.charge()
	} else {
		f.enter()
	}
	f.out = append(f.out, f.block...)
	f.block = f.block[:0]
	f.cost, f.traps, f.head, f.start = 0, false, false, f.depth
}

// units is the price of the current basic block.
func (f *function) units() int64 {
	units := int64((f.cost + 7) / 8)
	if f.head {
		return max(units, 1) // a loop must never be free
	}
	return units
}

// charge appends the charge of a basic block; that of a loop is tested.
func (f *function) charge() {
	units := f.units()
	if units == 0 {
		return
	}
	f.out.index(module.OpLocalGet, f.gas)
	f.out.i64(units)
	f.out.op(module.OpI64Sub)
	if f.head {
		f.out.index(module.OpLocalTee, f.gas)
		f.out.branchIfNegative(f.start + 1)
	} else {
		f.out.index(module.OpLocalSet, f.gas)
	}
	if f.traps {
		f.storeGas()
	}
}

// enter appends the charge of the first block, which is tested together with
// the height, and opens $exit. Functions that call nothing leave the height
// alone: they add one frame at most.
func (f *function) enter() {
	f.opened = true
	f.out.index(module.OpGlobalGet, f.w.gas)
	f.out.i64(f.units())
	f.out.op(module.OpI64Sub)
	f.out.index(module.OpLocalTee, f.gas)
	if !f.leaf {
		f.out.index(module.OpGlobalGet, f.w.height)
		f.out.i64(f.weight)
		f.out.op(module.OpI64Sub)
		f.out.index(module.OpLocalTee, f.height)
		f.out.index(module.OpGlobalSet, f.w.height)
		f.out.index(module.OpLocalGet, f.height)
		f.out.op(module.OpI64Or)
	}
	f.out.branchIfNegative(0)
	if f.traps {
		f.storeGas()
	}
	f.out.block(f.result)
}

func (f *function) storeGas() {
	f.out.index(module.OpLocalGet, f.gas)
	f.out.index(module.OpGlobalSet, f.w.gas)
}

func (f *function) epilogue() {
	f.out.op(module.OpEnd)
	if !f.leaf {
		f.out.index(module.OpLocalGet, f.height)
		f.out.i64(f.weight)
		f.out.op(module.OpI64Add)
		f.out.index(module.OpGlobalSet, f.w.height)
	}
	if f.track.on || f.track.whole {
		f.raiseMark()
	}
	f.storeGas()
	f.out.op(module.OpReturn)
	f.out.op(module.OpEnd)
	f.storeGas()
	f.out.op(module.OpUnreachable)
	f.out.op(module.OpEnd)
}
