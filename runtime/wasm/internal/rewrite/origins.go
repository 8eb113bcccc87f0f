package rewrite

import "github.com/seed79541315/postern/runtime/wasm/internal/module"

// origins follows the operand stack in so far as to know, of an operand, that
// it is a value which a certain local has held. It forgets everything where
// blocks begin and end.
type origins struct{ stack []int32 }

// nowhere is the origin of an operand that was computed, or is not known.
const nowhere = -1

func (o *origins) reset() { o.stack = o.stack[:0] }

func (o *origins) push(local int32, n int) {
	for range n {
		o.stack = append(o.stack, local)
	}
}

func (o *origins) pop(n int) (last int32) {
	last = nowhere
	for ; n > 0; n-- {
		last = nowhere
		if top := len(o.stack) - 1; top >= 0 {
			last, o.stack = o.stack[top], o.stack[:top]
		}
	}
	return last
}

// step follows one instruction. For a store it returns the origin of the
// address, else nowhere.
func (o *origins) step(m *module.Module, in *module.Instr) int32 {
	switch in.Op {
	case module.OpLocalGet:
		o.push(int32(in.Index), 1)
	case module.OpLocalTee:
		o.pop(1)
		o.push(int32(in.Index), 1)
	case module.OpLocalSet, module.OpGlobalSet, module.OpDrop, module.OpBrIf:
		o.pop(1)
	case module.OpGlobalGet:
		o.push(nowhere, 1)
	case module.OpSelect, module.OpSelectTyped:
		o.pop(3)
		o.push(nowhere, 1)
	case module.OpCall:
		o.call(m.FuncType(in.Index))
	case module.OpCallIndirect:
		o.pop(1)
		o.call(&m.Types[in.Index])
	case module.OpBlock, module.OpLoop, module.OpIf, module.OpElse, module.OpEnd,
		module.OpBr, module.OpBrTable, module.OpReturn, module.OpUnreachable:
		o.reset()
	default:
		last := o.pop(len(in.Info.Pop))
		o.push(nowhere, len(in.Info.Push))
		if in.Info.Class == module.ClassStore {
			return last
		}
	}
	return nowhere
}

func (o *origins) call(t *module.FuncType) {
	o.pop(len(t.Params))
	o.push(nowhere, len(t.Results))
}
