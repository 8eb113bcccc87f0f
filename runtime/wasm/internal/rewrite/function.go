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
//	  give height back, store fuel
//	  return
//	end
//	store fuel
//	unreachable
//
// A brief function has $exit alone.
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
	traps  bool      // the current basic block can trap, or call what needs the global
	head   bool      // the current basic block begins a loop
	opened bool      // the function's first basic block is finished
	start  uint32    // open blocks of the source where the basic block began
	depth  uint32    // open blocks of the source now
	dead   uint32    // open blocks since code became unreachable, 0 if reachable
	fuel   uint32    // local that holds the fuel
	weight int64     // units of height
	result byte      // block type of the function's result
	leaf   bool      // it calls nothing but brief functions
	brief  bool
	params uint32 // of the source
	shift  uint32 // dummies that follow them (module.BitTypes)
	callee uint32 // local that holds an index into the table, where functions with dummies are called by it
	track  tracker
}

// function returns locals and expression of the i-th defined function.
func (w *rewriter) function(i int, info *check.Func) []byte {
	c := &w.src.Codes[i]
	t := w.src.FuncType(uint32(len(w.src.Imports) + i))
	dummies := w.numDummies(w.src.Funcs[i])
	f := function{w: w, params: uint32(len(t.Params)), shift: uint32(dummies), leaf: info.Calls == 0, brief: w.briefs[i].ok}
	if f.result = module.BlockEmpty; len(t.Results) > 0 {
		f.result = module.Bits(t.Results[0])
	}
	f.weight = min(1+int64((info.Locals+dummies+info.Operands)/w.opt.Costs.FrameSlots), maxWeight)
	f.cost = uint64(w.opt.Costs.Entry) + uint64(w.opt.Costs.Local)*uint64(info.Locals-len(t.Params))

	if w.opt.Track && info.Stores > 0 {
		f.track.plan(w.src, c, w.opt.Limits, info.Locals, len(t.Params))
	}
	f.out = make(assembler, 0, 2*(c.End-c.Start)+64)
	f.locals(c, info)
	if !f.brief {
		f.out.block(module.BlockEmpty) // $trap
	}
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
		next(&code, &in)
		f.instruction(&in)
	}
	f.epilogue()
	return f.out
}

// locals declares the source's locals, and after them fuel, unless the function
// is brief, the index of a callee and those of the tracker.
func (f *function) locals(c *module.Code, info *check.Func) {
	var own []module.LocalRun
	next := uint32(info.Locals) + f.shift
	if !f.brief {
		f.fuel, next = next, next+1
		own = append(own, module.LocalRun{Count: 1, Type: module.I64})
	}
	if f.w.dummies && info.Indirect > 0 {
		f.callee, next = next, next+1
		own = append(own, module.LocalRun{Count: 1, Type: module.I32})
	}
	if f.track.on {
		own = append(own, f.track.locals(next)...)
	}
	f.out = module.AppendU32(f.out, uint32(len(c.Locals)+len(own)))
	for _, run := range slices.Concat(c.Locals, own) {
		f.out = append(module.AppendU32(f.out, run.Count), module.Bits(run.Type))
	}
}

func (f *function) instruction(in *module.Instr) {
	if f.dead > 0 && !f.revive(in) {
		return
	}
	f.price(in)
	if f.track.on && f.tracked(in) {
		return
	}
	switch in.Op {
	case module.OpLoop:
		f.flush()
		f.out.open(in)
		f.depth++
		f.start, f.head = f.depth, true
	case module.OpBlock:
		f.block.open(in)
		f.depth++
	case module.OpIf:
		f.block.open(in)
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

// price counts an instruction in the current basic block.
func (f *function) price(in *module.Instr) {
	f.cost += uint64(f.w.opt.Costs.Classes[in.Info.Class])
	if in.Op == module.OpCall {
		if b := f.w.brief(in.Index); b.ok {
			f.cost += b.cost
			f.traps = f.traps || b.traps
			return
		}
	}
	f.traps = f.traps || in.Info.Class.Traps()
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
	switch {
	case f.brief:
		if !f.opened {
			f.opened = true
			f.out.block(f.result)
		}
	case f.opened:
		f.charge()
	default:
		f.enter()
	}
	f.out = append(f.out, f.block...)
	f.block = f.block[:0]
	f.cost, f.traps, f.head, f.start = 0, false, false, f.depth
}

// units is the price of the current basic block.
func (f *function) units() int64 {
	cost := f.cost
	switch c := f.w.opt.Costs; {
	case f.head: // charged even if there is nothing in it: no loop is free
		cost += uint64(c.Charge) + uint64(c.Loop)
		return max(int64((cost+7)/8), 1)
	case cost > 0:
		cost += uint64(c.Charge)
	}
	return int64((cost + 7) / 8)
}

// charge appends the charge of a basic block; that of a loop is tested.
func (f *function) charge() {
	units := f.units()
	if units == 0 {
		return
	}
	f.out.index(module.OpLocalGet, f.fuel)
	f.out.i64(units << heightBits)
	f.out.op(module.OpI64Sub)
	if f.head {
		f.out.index(module.OpLocalTee, f.fuel)
		f.out.branchIfNegative(f.start + 1)
	} else {
		f.out.index(module.OpLocalSet, f.fuel)
	}
	if f.traps {
		f.storeFuel()
	}
}

// enter appends the charge of the first block, which is tested together with
// the height, and opens $exit. Functions that call nothing leave the height
// alone: they add one frame at most.
func (f *function) enter() {
	f.opened = true
	taken := f.units() << heightBits
	if !f.leaf {
		taken += f.weight
	}
	f.out.index(module.OpGlobalGet, f.w.fuel)
	f.out.i64(taken)
	f.out.op(module.OpI64Sub)
	f.out.index(module.OpLocalTee, f.fuel)
	if !f.leaf { // the sign of the height, moved to where that of gas is
		f.out.i64(64 - heightBits)
		f.out.op(module.OpI64Shl)
		f.out.index(module.OpLocalGet, f.fuel)
		f.out.op(module.OpI64Or)
	}
	f.out.branchIfNegative(0)
	if f.traps {
		f.storeFuel()
	}
	f.out.block(f.result)
}

func (f *function) storeFuel() {
	f.out.index(module.OpLocalGet, f.fuel)
	f.out.index(module.OpGlobalSet, f.w.fuel)
}

func (f *function) epilogue() {
	f.out.op(module.OpEnd)
	if f.track.on || f.track.whole {
		f.raiseMark()
	}
	if f.brief {
		f.out.op(module.OpEnd)
		return
	}
	f.out.index(module.OpLocalGet, f.fuel)
	if !f.leaf {
		f.out.i64(f.weight)
		f.out.op(module.OpI64Add)
	}
	f.out.index(module.OpGlobalSet, f.w.fuel)
	f.out.op(module.OpReturn)
	f.out.op(module.OpEnd)
	f.storeFuel()
	f.out.op(module.OpUnreachable)
	f.out.op(module.OpEnd)
}
