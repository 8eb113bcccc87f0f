package module

import (
	"bytes"
	"slices"
)

// Bits is the integer type that holds the bits of a value of type t: t itself,
// or for a float the integer of its width. BlockEmpty remains.
func Bits(t byte) byte {
	switch t {
	case F32:
		return I32
	case F64:
		return I64
	}
	return t
}

// BitTypes gives for each function type the one of functions that take and
// return the bits of floats. What differed still differs, and so call_indirect
// can tell it apart: where two types would become one, parameters that mean
// nothing follow those of the later one. Of 256 types none needs more than
// eight. Types without floats remain as they are.
func BitTypes(types []FuncType) []FuncType {
	out := slices.Clone(types)
	taken := make(map[string]bool) // types that are in use
	for i := range types {
		if !types[i].floats() {
			taken[types[i].key()] = true
		}
	}
	places := make(map[string]int) // by type of the source: where out has it
	tried := make(map[string]uint) // by type without dummies: how many lists of dummies
	for i := range types {
		t := &types[i]
		if !t.floats() {
			continue
		}
		if at, ok := places[t.key()]; ok {
			out[i] = out[at]
			continue
		}
		places[t.key()] = i
		bare := FuncType{allBits(t.Params), allBits(t.Results)}
		key := bare.key()
		for out[i] = bare; taken[out[i].key()]; {
			tried[key]++
			out[i].Params = appendDummies(slices.Clone(bare.Params), tried[key])
		}
		taken[out[i].key()] = true
	}
	return out
}

// floats says whether a type has a float.
func (t *FuncType) floats() bool {
	isFloat := func(v ValType) bool { return v == F32 || v == F64 }
	return slices.ContainsFunc(t.Params, isFloat) || slices.ContainsFunc(t.Results, isFloat)
}

// key is equal for equal types.
func (t *FuncType) key() string { return string(bytes.Join([][]byte{t.Params, t.Results}, []byte{0})) }

func allBits(types []ValType) []ValType {
	out := make([]ValType, len(types))
	for i, t := range types {
		out[i] = Bits(t)
	}
	return out
}

// appendDummies appends the n-th list of integer types, the shortest first.
func appendDummies(types []ValType, n uint) []ValType {
	for ; n > 0; n = (n - 1) / 2 {
		types = append(types, [2]ValType{I64, I32}[n%2])
	}
	return types
}
