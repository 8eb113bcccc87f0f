package check

import (
	"math"
	"math/bits"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm/internal/module"
)

// Needs are bytes that a compiler takes while it works on one function, by
// kind of table. It keeps each table for the next function, so of a module's
// functions the most of each kind counts.
type Needs [needKinds]int64

const (
	needCode    = iota // instructions and what each becomes
	needCarried        // moves on edges between blocks
	needLive           // lists of live values
	needKnown          // lists of addresses known to be good
	needKinds
)

// Max gives the most of each kind.
func (n Needs) Max(m Needs) Needs {
	for i := range n {
		n[i] = max(n[i], m[i])
	}
	return n
}

// Sum is all kinds together.
func (n Needs) Sum() int64 {
	sum := int64(0)
	for _, b := range n {
		sum += b
	}
	return sum
}

// Cost estimates what compiling takes: Memory in bytes at its peak, Work in
// units of which the slowest code found takes a nanosecond and most code a
// quarter.
type Cost struct{ Memory, Work int64 }

// Compile estimates the cost of a module of such functions. The estimate is
// an upper bound over everything that a search for bad cases found with
// wazero v1.12.0; DESIGN.md of the contract host tells how.
func Compile(funcs []Func) Cost {
	var t total
	for i := range funcs {
		t.add(&funcs[i])
	}
	return t.cost()
}

// total sums up functions.
type total struct {
	most       Needs
	kept, work int64
}

func (t *total) add(f *Func) {
	t.most = t.most.Max(f.Needs)
	t.kept += f.Kept
	t.work += f.Work
}

func (t *total) cost() Cost { return Cost{Memory: t.most.Sum() + t.kept, Work: t.work} }

// check refuses what is above the limits; offset is the last function's.
func (t *total) check(l *module.Limits, offset int) *module.Refusal {
	c := t.cost()
	if c.Memory > l.CompileMemory {
		return module.Refuse(abi.CodeModuleCompileMemory, offset, "up to here compiling takes %d bytes, %d are admitted", c.Memory, l.CompileMemory)
	}
	if c.Work > l.CompileWork {
		return module.Refuse(abi.CodeModuleCompileWork, offset, "up to here compiling takes %d units, %d are admitted", c.Work, l.CompileWork)
	}
	return nil
}

// price is what one piece of code makes the compiler take, in bytes: need for
// its function, kept until the module is compiled.
type price struct{ need, kept int64 }

var (
	priceFunc     = price{0, 600}
	priceByte     = price{160, 6} // of code
	priceLocal    = price{200, 4}
	priceBlock    = price{9000, 60}
	priceLoop     = price{12000, 250}
	priceBranch   = price{1500, 60}
	priceAccess   = price{2500, 120}
	priceMark     = price{8000, 60} // a store, up to MarkSites of them
	priceCall     = price{5000, 200}
	priceIndirect = price{10000, 350} // beyond a call
	priceArgument = price{400, 20}
	priceDivide   = price{4500, 200}
	priceCarried  = price{450, 28} // a value on an edge
	priceLive     = price{60, 0}   // a value that may live across an edge
	priceKnown    = price{44, 0}   // an address known at the end of a block
)

// MarkSites is the number of places in one function beyond which the rewriter
// marks none of its stores: each is a branch, which costs the compiler all
// live locals.
const MarkSites = 256

func (f *Func) pay(kind, n int, p price) {
	f.Needs[kind] += int64(n) * p.need
	f.Kept += int64(n) * p.kept
}

// weigh prices a function of a size in bytes.
func (f *Func) weigh(size int) {
	edges := f.Blocks + f.Branches
	f.pay(needCode, 1, priceFunc)
	f.pay(needCode, size, priceByte)
	f.pay(needCode, f.Locals, priceLocal)
	f.pay(needCode, f.Blocks, priceBlock)
	f.pay(needCode, f.Loops, priceLoop)
	f.pay(needCode, f.Branches, priceBranch)
	f.pay(needCode, f.Accesses, priceAccess)
	f.pay(needCode, min(f.Stores, MarkSites), priceMark)
	f.pay(needCode, f.Calls+f.FloatOps, priceCall)
	f.pay(needCode, f.Indirect, priceIndirect)
	f.pay(needCode, f.Arguments, priceArgument)
	f.pay(needCode, f.Divides, priceDivide)
	f.pay(needCarried, f.Carried, priceCarried)
	f.pay(needLive, (edges+3*f.Loops)*(f.Locals+f.Operands), priceLive)
	f.pay(needKnown, f.Known, priceKnown)
	// The compiler looks for each local's value behind each branch, block by
	// block back to where it was assigned.
	f.Work = f.Needs.Sum() + 2*int64(f.Locals)*int64(f.Branches)*int64(edges)
}

// locals is a set of locals.
type locals []uint64

func (s locals) add(i uint32) { s[i/64] |= 1 << (i % 64) }

func (s locals) addAll(t locals) {
	for i, w := range t {
		s[i] |= w
	}
}

func (s locals) size() int {
	n := 0
	for _, w := range s {
		n += bits.OnesCount64(w)
	}
	return n
}

// noLocals is an empty set for the block at a depth.
func (b *body) noLocals(depth int) locals {
	words := (len(b.locals) + 63) / 64
	for len(b.sets) <= depth {
		b.sets = append(b.sets, nil)
	}
	if cap(b.sets[depth]) < words {
		b.sets[depth] = make(locals, words)
	}
	s := b.sets[depth][:words]
	clear(s)
	return s
}

// nowhere is the number of addresses known in unreachable code: any.
const nowhere = math.MaxInt

// know counts the list of known addresses that the compiler makes at the end
// of a block of its own.
func (b *body) know(times int) {
	if b.known != nowhere {
		b.f.Known += times * b.known
	}
}

// branch counts a branch and gives the type of what it must carry.
func (b *body) branch(depth uint32) byte {
	l := b.label(depth)
	l.edges++
	l.known = min(l.known, b.known)
	b.know(1)
	return l.labelType()
}

// access counts a load or store. Its address is known from then on. The
// rewriter makes blocks around a store that it marks.
func (b *body) access() {
	if b.in.Info.Class == module.ClassStore {
		if b.f.Stores++; b.f.Stores <= MarkSites {
			b.know(3)
		}
	}
	if b.known != nowhere {
		b.known++
	}
}

// compute counts an instruction that becomes a call because of its floats.
func (b *body) compute() {
	if b.f.FloatOps++; b.f.FloatOps > b.limits.FloatOps {
		b.fail(abi.CodeModuleTooManyFloats, "more than %d float operations", b.limits.FloatOps)
	}
}

// join counts what the edges that meet at a block's end, or at a loop's head,
// carry, and what is known behind the block: what is on each edge.
func (b *body) join(c *control) {
	if len(b.ctrls) == 0 {
		return
	}
	edges := c.edges + 1
	if c.op == module.OpIf || c.op == module.OpElse {
		edges++
	}
	b.f.Carried += edges * (c.set.size() + 2) // gas and mark change as well
	b.ctrls[len(b.ctrls)-1].set.addAll(c.set)
	b.know(1)
	switch c.op {
	case module.OpLoop:
	case module.OpIf:
		b.known = min(c.base, c.known, b.known)
	default:
		b.known = min(c.known, b.known)
	}
}
