package rewrite

import (
	"github.com/seed79541315/postern/runtime/wasm/internal/check"
	"github.com/seed79541315/postern/runtime/wasm/internal/module"
)

// brief is a function that is charged where it is called: it calls nothing,
// has no loop, and everything in it costs no more than Costs.Brief. Its price is
// that of all its instructions, whichever of them run. It has no metering of
// its own, so it must not be reached but by a direct call: it is neither
// exported nor in the table.
type brief struct {
	ok    bool
	traps bool   // something in it can trap
	cost  uint64 // eighths
}

// findBriefs tells the brief functions from the others.
func (w *rewriter) findBriefs(funcs []check.Func) {
	w.briefs = make([]brief, len(funcs))
	for i := range funcs {
		w.briefs[i].ok = funcs[i].Calls == 0 && funcs[i].Loops == 0
	}
	for _, e := range w.out.Exports {
		if e.Kind == module.KindFunc {
			w.reached(e.Index)
		}
	}
	for _, e := range w.src.Elems {
		for _, f := range e.Funcs {
			w.reached(f)
		}
	}
	for i := range w.briefs {
		if b := &w.briefs[i]; b.ok {
			w.price(i, &funcs[i], b)
		}
	}
}

// reached notes that a function is called otherwise than by its index.
func (w *rewriter) reached(f uint32) {
	if i := int(f) - len(w.src.Imports); i >= 0 {
		w.briefs[i].ok = false
	}
}

// price adds up the price of a function's body. A longer one is not brief.
func (w *rewriter) price(i int, info *check.Func, b *brief) {
	c, costs := &w.src.Codes[i], w.opt.Costs
	params := len(w.src.FuncType(uint32(len(w.src.Imports) + i)).Params)
	b.cost = uint64(costs.Local) * uint64(info.Locals-params)
	code := w.src.Instructions(c, w.opt.Limits)
	var in module.Instr
	for code.More() && b.cost <= costs.Brief {
		next(&code, &in)
		b.cost += uint64(costs.Classes[in.Info.Class])
		b.traps = b.traps || in.Info.Class.Traps()
	}
	b.ok = b.cost <= costs.Brief
}

// brief describes function f if it is a brief one.
func (w *rewriter) brief(f uint32) (b brief) {
	if i := int(f) - len(w.src.Imports); i >= 0 {
		b = w.briefs[i]
	}
	return b
}
