package module

import (
	"encoding/binary"
	"slices"
)

// AppendU32 appends an unsigned LEB128 number.
func AppendU32(b []byte, v uint32) []byte { return binary.AppendUvarint(b, uint64(v)) }

// AppendInt appends a signed LEB128 number.
func AppendInt(b []byte, v int64) []byte {
	for {
		low := byte(v & 0x7f)
		v >>= 7
		if v == 0 && low&0x40 == 0 || v == -1 && low&0x40 != 0 {
			return append(b, low)
		}
		b = append(b, low|0x80)
	}
}

// AppendName appends a byte string with its length.
func AppendName(b []byte, s string) []byte { return append(AppendU32(b, uint32(len(s))), s...) }

// AppendTo appends the module's encoding: all sections but custom ones, with
// the given bodies (locals and expression, without length) in place of the
// parsed ones.
func (m *Module) AppendTo(b []byte, bodies [][]byte) []byte {
	b = append(b, magic...)
	b = appendVector(b, 1, m.Types, appendFuncType)
	b = appendVector(b, 2, m.Imports, func(b []byte, im Import) []byte {
		b = AppendName(AppendName(b, im.Module), im.Name)
		return AppendU32(append(b, KindFunc), im.Type)
	})
	b = appendVector(b, 3, m.Funcs, AppendU32)
	if m.Table != nil {
		b = appendVector(b, 4, []*Size{m.Table}, func(b []byte, s *Size) []byte {
			return appendSize(append(b, FuncRef), s)
		})
	}
	if m.Memory != nil {
		b = appendVector(b, 5, []*Size{m.Memory}, appendSize)
	}
	b = appendVector(b, 6, m.Globals, appendGlobal)
	b = appendVector(b, 7, m.Exports, func(b []byte, e Export) []byte {
		return AppendU32(append(AppendName(b, e.Name), e.Kind), e.Index)
	})
	if m.Start != nil {
		b = appendBytes(append(b, 8), AppendU32(nil, *m.Start))
	}
	b = appendVector(b, 9, m.Elems, func(b []byte, e Elem) []byte {
		b = appendOffset(b, e.At)
		b = AppendU32(b, uint32(len(e.Funcs)))
		for _, f := range e.Funcs {
			b = AppendU32(b, f)
		}
		return b
	})
	b = appendVector(b, 10, bodies, appendBytes)
	return appendVector(b, 11, m.Datas, func(b []byte, d Data) []byte {
		return appendBytes(appendOffset(b, d.At), d.Bytes)
	})
}

// appendVector appends a section that is a vector, unless it is empty. Its
// length is known at the end only: then it is put in front.
func appendVector[T any](b []byte, id byte, items []T, item func([]byte, T) []byte) []byte {
	if len(items) == 0 {
		return b
	}
	b = append(b, id)
	at := len(b)
	b = AppendU32(b, uint32(len(items)))
	for _, it := range items {
		b = item(b, it)
	}
	return slices.Insert(b, at, AppendU32(nil, uint32(len(b)-at))...)
}

func appendBytes(b, s []byte) []byte { return append(AppendU32(b, uint32(len(s))), s...) }

func appendFuncType(b []byte, t FuncType) []byte {
	return appendBytes(appendBytes(append(b, 0x60), t.Params), t.Results)
}

func appendSize(b []byte, s *Size) []byte {
	if !s.HasMax {
		return AppendU32(append(b, 0), s.Min)
	}
	return AppendU32(AppendU32(append(b, 1), s.Min), s.Max)
}

func appendGlobal(b []byte, g Global) []byte {
	mutable := byte(0)
	if g.Mutable {
		mutable = 1
	}
	return append(append(b, g.Type, mutable), g.Init...)
}

// appendOffset appends the head of an active segment.
func appendOffset(b []byte, at uint32) []byte {
	b = AppendInt(append(b, 0, byte(OpI32Const)), int64(int32(at)))
	return append(b, byte(OpEnd))
}
