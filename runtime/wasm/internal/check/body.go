package check

import (
	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm/internal/module"
)

// unknown is the type of an operand popped from below unreachable code.
const unknown module.ValType = 0

// control is a block that is open (appendix "Validation Algorithm" of the
// core specification).
type control struct {
	op          module.Op
	result      byte   // a value type or module.BlockEmpty
	height      int    // operands below the block
	edges       int    // branches to the block
	base        int    // addresses known where it began
	known       int    // fewest addresses known on an edge to it so far
	set         locals // those assigned in the block
	unreachable bool
}

// labelType is what a branch to the block must carry.
func (c *control) labelType() byte {
	if c.op == module.OpLoop {
		return module.BlockEmpty
	}
	return c.result
}

// body checks function bodies one after another.
type body struct {
	m      *module.Module
	bits   []module.FuncType // what the rewriter makes of the module's types
	limits *module.Limits

	f      Func
	locals []module.ValType
	vals   []module.ValType
	ctrls  []control
	sets   []locals // by depth, for reuse
	known  int      // addresses that are known to lie in the memory
	err    *module.Refusal
	in     module.Instr
}

// check checks the body of the i-th defined function.
func (b *body) check(i int) (Func, *module.Refusal) {
	c, t := &b.m.Codes[i], b.m.FuncType(uint32(len(b.m.Imports)+i))
	b.begin(c, t)
	code := b.m.Instructions(c, b.limits)
	for code.More() && b.err == nil && len(b.ctrls) > 0 {
		if err := code.Next(&b.in); err != nil {
			return b.f, err
		}
		b.instruction()
	}
	switch {
	case b.err != nil:
		return b.f, b.err
	case len(b.ctrls) > 0:
		return b.f, module.Refuse(abi.CodeModuleMalformed, c.End, "body ends within a block")
	case code.More():
		return b.f, module.Refuse(abi.CodeModuleMalformed, b.in.Offset, "body goes on after its end")
	}
	b.f.weigh(c.End - c.Start)
	return b.f, nil
}

func (b *body) begin(c *module.Code, t *module.FuncType) {
	b.locals = append(b.locals[:0], t.Params...)
	b.vals, b.ctrls, b.known = b.vals[:0], b.ctrls[:0], 0
	b.in = module.Instr{Offset: c.Start}
	for _, run := range c.Locals {
		for range run.Count {
			b.locals = append(b.locals, run.Type)
		}
	}
	b.f = Func{Locals: len(b.locals)}
	if len(b.locals) > b.limits.Locals {
		b.fail(abi.CodeModuleTooManyLocals, "%d locals with parameters, %d are admitted", len(b.locals), b.limits.Locals)
	}
	b.ctrls = append(b.ctrls, control{result: single(t.Results), set: b.noLocals(0)})
}

// single gives a list of at most one type in the form of a block type.
func single(types []module.ValType) byte {
	if len(types) == 0 {
		return module.BlockEmpty
	}
	return types[0]
}

func (b *body) fail(code abi.Code, format string, args ...any) {
	if b.err == nil {
		b.err = module.Refuse(code, b.in.Offset, format, args...)
	}
}

func (b *body) invalid(format string, args ...any) { b.fail(abi.CodeModuleInvalid, format, args...) }

func (b *body) push(t module.ValType) {
	b.vals = append(b.vals, t)
	b.f.Operands = max(b.f.Operands, len(b.vals))
}

// pop takes an operand of any type; unknown stands for one that unreachable
// code may assume.
func (b *body) pop() module.ValType {
	top := &b.ctrls[len(b.ctrls)-1]
	if len(b.vals) == top.height {
		if !top.unreachable {
			b.invalid("operand missing")
		}
		return unknown
	}
	t := b.vals[len(b.vals)-1]
	b.vals = b.vals[:len(b.vals)-1]
	return t
}

func (b *body) popType(want module.ValType) {
	if got := b.pop(); got != want && got != unknown && want != unknown {
		b.invalid("operand of type %#02x where %#02x is needed", got, want)
	}
}

// popBlock and pushBlock move what a block type says: nothing or one value.
func (b *body) popBlock(t byte) {
	if t != module.BlockEmpty {
		b.popType(t)
	}
}

func (b *body) pushBlock(t byte) {
	if t != module.BlockEmpty {
		b.push(t)
	}
}

func (b *body) unreachable() {
	top := &b.ctrls[len(b.ctrls)-1]
	b.vals = b.vals[:top.height]
	top.unreachable = true
	b.known = nowhere
}

func (b *body) open(op module.Op, result byte) {
	b.ctrls = append(b.ctrls, control{
		op: op, result: result, height: len(b.vals),
		base: b.known, known: nowhere, set: b.noLocals(len(b.ctrls)),
	})
	if op != module.OpBlock {
		b.know(1)
	}
	b.f.Nesting = max(b.f.Nesting, len(b.ctrls)-1)
	if b.f.Blocks++; b.f.Blocks > b.limits.Blocks {
		b.fail(abi.CodeModuleTooManyBlocks, "more than %d blocks", b.limits.Blocks)
	}
	if op == module.OpLoop {
		if b.f.Loops++; b.f.Loops > b.limits.Loops {
			b.fail(abi.CodeModuleTooManyLoops, "more than %d loops", b.limits.Loops)
		}
	}
	if len(b.ctrls)-1 > b.limits.Nesting {
		b.fail(abi.CodeModuleNesting, "blocks nested deeper than %d", b.limits.Nesting)
	}
}

// close pops the innermost block after checking what it leaves.
func (b *body) close() control {
	top := b.ctrls[len(b.ctrls)-1]
	b.popBlock(top.result)
	if len(b.vals) != top.height && b.err == nil {
		b.invalid("operands are left at the end of a block")
	}
	b.ctrls = b.ctrls[:len(b.ctrls)-1]
	return top
}

// label gives the block that a branch names.
func (b *body) label(depth uint32) *control {
	if int64(depth) >= int64(len(b.ctrls)) {
		b.invalid("label %d does not exist", depth)
		return &b.ctrls[0]
	}
	return &b.ctrls[len(b.ctrls)-1-int(depth)]
}

var letters = [256]module.ValType{'i': module.I32, 'l': module.I64, 'f': module.F32, 'd': module.F64}

// instruction checks one instruction. Operands named in the opcode table are
// popped first and its results pushed last.
func (b *body) instruction() {
	info := b.in.Info
	if info.Class.Called() {
		b.compute()
	}
	for i := len(info.Pop) - 1; i >= 0; i-- {
		b.popType(letters[info.Pop[i]])
	}
	b.special()
	for i := range len(info.Push) {
		b.push(letters[info.Push[i]])
	}
}

// special checks what the opcode table does not say.
func (b *body) special() {
	in := &b.in
	switch op := in.Op; op {
	case module.OpUnreachable:
		b.unreachable()
	case module.OpBlock, module.OpLoop, module.OpIf:
		b.open(op, in.Block)
	case module.OpElse:
		b.elseBranch()
	case module.OpEnd:
		b.end()
	case module.OpBr:
		b.popBlock(b.branch(in.Index))
		b.unreachable()
	case module.OpBrIf:
		b.branches(1)
		t := b.branch(in.Index)
		b.popBlock(t)
		b.pushBlock(t)
	case module.OpBrTable:
		b.branches(len(in.Labels))
		b.f.Table = max(b.f.Table, len(in.Labels)-1)
		b.brTable()
	case module.OpReturn:
		b.popBlock(b.ctrls[0].result)
		b.unreachable()
	case module.OpCall:
		b.call()
	case module.OpCallIndirect:
		b.callIndirect()
	case module.OpDrop:
		b.pop()
	case module.OpSelect:
		b.selectAny()
	case module.OpSelectTyped:
		b.popType(module.I32)
		b.popType(in.Block)
		b.popType(in.Block)
		b.push(in.Block)
	case module.OpLocalGet, module.OpLocalSet, module.OpLocalTee:
		b.local()
	case module.OpGlobalGet, module.OpGlobalSet:
		b.global()
	default:
		b.memory()
	}
}

// branches counts n targets of conditional branches.
func (b *body) branches(n int) {
	if b.f.Branches += n; b.f.Branches > b.limits.Branches {
		b.fail(abi.CodeModuleTooManyBranches, "more than %d conditional branches", b.limits.Branches)
	}
}

func (b *body) elseBranch() {
	top := b.close()
	if top.op != module.OpIf {
		b.fail(abi.CodeModuleMalformed, "else without if")
	}
	b.know(1)
	top.known = min(top.known, b.known)
	b.known = top.base
	top.op, top.unreachable = module.OpElse, false
	b.ctrls = append(b.ctrls, top)
}

func (b *body) end() {
	top := b.close()
	b.join(&top)
	if top.op == module.OpIf && top.result != module.BlockEmpty {
		b.invalid("if with a result but no else")
	}
	if len(b.ctrls) > 0 {
		b.pushBlock(top.result)
	}
}

// brTable requires targets of one type, unreachable or not: the rule of
// version 1 of the specification, stricter than that of version 2.
func (b *body) brTable() {
	labels := b.in.Labels
	want := b.label(labels[len(labels)-1]).labelType()
	for _, l := range labels {
		if b.branch(l) != want {
			b.invalid("targets of br_table differ in type")
		}
	}
	b.popBlock(want)
	b.unreachable()
}

// apply calls a function of the i-th type.
func (b *body) apply(i uint32) {
	t := &b.m.Types[i]
	b.f.Arguments += len(b.bits[i].Params)
	for i := len(t.Params) - 1; i >= 0; i-- {
		b.popType(t.Params[i])
	}
	for _, r := range t.Results {
		b.push(r)
	}
}

func (b *body) countCall() {
	if b.f.Calls++; b.f.Calls > b.limits.Calls {
		b.fail(abi.CodeModuleTooManyCalls, "more than %d calls", b.limits.Calls)
	}
}

func (b *body) call() {
	b.countCall()
	if int64(b.in.Index) >= int64(b.m.NumFuncs()) {
		b.invalid("function %d does not exist", b.in.Index)
		return
	}
	b.apply(b.m.TypeIndex(b.in.Index))
}

func (b *body) callIndirect() {
	b.countCall()
	b.f.Indirect++
	if b.m.Table == nil {
		b.invalid("call_indirect without a table")
	} else if int64(b.in.Index) >= int64(len(b.m.Types)) {
		b.invalid("type %d does not exist", b.in.Index)
	} else {
		b.apply(b.in.Index)
	}
}

func (b *body) selectAny() {
	b.popType(module.I32)
	x, y := b.pop(), b.pop()
	if x == unknown {
		x = y
	} else if y != unknown && x != y {
		b.invalid("select between two types")
	}
	b.push(x)
}

func (b *body) local() {
	if int64(b.in.Index) >= int64(len(b.locals)) {
		b.invalid("local %d does not exist", b.in.Index)
		return
	}
	t := b.locals[b.in.Index]
	if b.in.Op != module.OpLocalGet {
		b.ctrls[len(b.ctrls)-1].set.add(b.in.Index)
		b.popType(t)
	}
	if b.in.Op != module.OpLocalSet {
		b.push(t)
	}
}

func (b *body) global() {
	if int64(b.in.Index) >= int64(len(b.m.Globals)) {
		b.invalid("global %d does not exist", b.in.Index)
		return
	}
	g := &b.m.Globals[b.in.Index]
	if b.in.Op == module.OpGlobalGet {
		b.push(g.Type)
		return
	}
	b.popType(g.Type)
	if !g.Mutable {
		b.invalid("global %d is constant", b.in.Index)
	}
}

// memory checks the instructions on memory; others pass.
func (b *body) memory() {
	switch b.in.Info.Class {
	case module.ClassLoad, module.ClassStore:
		if b.in.Index > b.in.Info.Align {
			b.invalid("alignment above natural")
		}
		b.access()
		if b.f.Accesses++; b.f.Accesses > b.limits.Accesses {
			b.fail(abi.CodeModuleTooManyAccesses, "more than %d loads and stores", b.limits.Accesses)
		}
	case module.ClassBulk:
		b.countCall() // which it becomes
	case module.ClassDivide:
		b.f.Divides++
		return
	default:
		if b.in.Op != module.OpMemorySize {
			return
		}
	}
	if b.m.Memory == nil {
		b.invalid("no memory")
	}
}
