package disk

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

// Framing is how a file's bodies are told apart from what a crash left of one. A
// frame is
//
//	magic (4) | length of body (4) | CRC-32C of length and body (4) | body
//
// with big-endian integers. A frame that is written only after the one before it
// was synced, and stands behind damage, says that the damage is no crash's.
type Framing struct {
	Magic string // four bytes that begin each frame
	Limit int    // bytes of the longest body
}

// FrameHead is the length of what stands before a body.
const FrameHead = 12

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Append appends a frame.
func (f Framing) Append(b, body []byte) []byte {
	start := len(b)
	b = append(append(b, make([]byte, FrameHead)...), body...)
	f.Fill(b[start:])
	return b
}

// Fill fills in the head of a frame, whose body stands behind it already.
func (f Framing) Fill(b []byte) {
	copy(b, f.Magic)
	length, body := b[4:8], b[FrameHead:]
	binary.BigEndian.PutUint32(length, uint32(len(body)))
	binary.BigEndian.PutUint32(b[8:], sum(length, body))
}

func sum(length, body []byte) uint32 {
	return crc32.Update(crc32.Checksum(length, castagnoli), castagnoli, body)
}

// Length is how long the body is that a frame's head announces; false where no
// head stands there.
func (f Framing) Length(head []byte) (int, bool) {
	if len(head) < FrameHead || string(head[:4]) != f.Magic {
		return 0, false
	}
	n := binary.BigEndian.Uint32(head[4:8])
	return int(min(n, 1<<30)), uint64(n) <= uint64(f.Limit)
}

// Read is the body of the frame at the start of b; false where none is whole.
func (f Framing) Read(b []byte) (body []byte, ok bool) {
	n, ok := f.Length(b)
	if !ok || len(b)-FrameHead < n {
		return nil, false
	}
	body = b[FrameHead : FrameHead+n]
	return body, sum(b[4:8], body) == binary.BigEndian.Uint32(b[8:FrameHead])
}

// Find is where the next whole frame begins, -1 if there is none.
func (f Framing) Find(b []byte) int {
	for at := 0; ; at++ {
		i := bytes.Index(b[at:], []byte(f.Magic))
		if i < 0 {
			return -1
		}
		at += i
		if _, ok := f.Read(b[at:]); ok {
			return at
		}
	}
}
