package module

import "github.com/seed79541315/postern/abi"

// reader walks over a part of the module's bytes. The first failure sticks:
// later reads return zero values, and err tells it.
type reader struct {
	blob []byte // the whole module: offsets are offsets into it
	pos  int
	end  int
	err  *Refusal
}

func (r *reader) fail(code abi.Code, offset int, format string, args ...any) {
	if r.err == nil {
		r.err = Refuse(code, offset, format, args...)
		r.pos = r.end
	}
}

func (r *reader) malformed(detail string) {
	r.fail(abi.CodeModuleMalformed, r.pos, "%s", detail)
}

// more says whether bytes are left and nothing failed.
func (r *reader) more() bool { return r.err == nil && r.pos < r.end }

func (r *reader) byte() byte {
	if r.pos >= r.end {
		r.malformed("unexpected end")
		return 0
	}
	b := r.blob[r.pos]
	r.pos++
	return b
}

func (r *reader) bytes(n uint32) []byte {
	if uint64(n) > uint64(r.end-r.pos) {
		r.malformed("length out of bounds")
		return nil
	}
	b := r.blob[r.pos : r.pos+int(n) : r.pos+int(n)]
	r.pos += int(n)
	return b
}

func (r *reader) u32() uint32 {
	if r.pos < r.end && r.blob[r.pos] < 0x80 { // as almost all are
		r.pos++
		return uint32(r.blob[r.pos-1])
	}
	return uint32(r.unsigned(32))
}

// unsigned reads an unsigned LEB128 number (WebAssembly core specification,
// 5.2.2): at most ceil(bits/7) bytes, and no bits beyond the width.
func (r *reader) unsigned(bits uint) uint64 {
	var v uint64
	for shift := uint(0); ; shift += 7 {
		at := r.pos
		b := r.byte()
		if shift+7 > bits && (b&0x80 != 0 || b>>(bits-shift) != 0) {
			r.fail(abi.CodeModuleMalformed, at, "integer too large")
		}
		v |= uint64(b&0x7f) << shift
		if b&0x80 == 0 || r.err != nil {
			return v
		}
	}
}

// signed reads a signed LEB128 number; in its last byte the unused bits must
// repeat the sign.
func (r *reader) signed(bits uint) int64 {
	var v int64
	for shift := uint(0); ; shift += 7 {
		at := r.pos
		b := r.byte()
		if shift+7 > bits {
			rest := int8(b<<1) >> (bits - shift) // sign bit and everything above it
			if b&0x80 != 0 || rest != 0 && rest != -1 {
				r.fail(abi.CodeModuleMalformed, at, "integer too large")
			}
		}
		v |= int64(b&0x7f) << shift
		if b&0x80 == 0 || r.err != nil {
			if shift+7 < 64 && b&0x40 != 0 {
				v |= -1 << (shift + 7)
			}
			return v
		}
	}
}

// sub gives a reader over the next n bytes and moves past them.
func (r *reader) sub(n uint32) reader {
	b := r.bytes(n)
	return reader{blob: r.blob, pos: r.pos - len(b), end: r.pos, err: r.err}
}
