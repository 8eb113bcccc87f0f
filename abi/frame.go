package abi

import (
	"io"
	"strconv"
)

// frameHead is the length prefix of a frame: 4 bytes, big-endian.
const frameHead = 4

// BeginFrame appends room for a frame's length to b; EndFrame fills it in.
//
//	b = abi.BeginFrame(b[:0])
//	b = abi.AppendRequest(b, &q)
//	b = abi.EndFrame(b, 0)
func BeginFrame(b []byte) []byte { return append(b, 0, 0, 0, 0) }

// EndFrame writes the length of the frame that began at offset start.
func EndFrame(b []byte, start int) []byte {
	n := len(b) - start - frameHead
	copy(b[start:], []byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
	return b
}

// firstRead is the room that a frame's length alone makes, in bytes. Beyond it
// the buffer grows with what has arrived, so that a sender of lengths without
// content holds little memory.
const firstRead = 4 << 10

// ReadFrame reads one frame into buf, growing it if need be, and returns its
// content, which may be empty. It refuses a frame above MaxFrame with
// CodeFrameTooLarge before it reads its content. At the end of the stream it
// returns io.EOF, in the middle of a frame io.ErrUnexpectedEOF.
func ReadFrame(r io.Reader, buf []byte) ([]byte, error) {
	if cap(buf) < frameHead {
		buf = make([]byte, 512)
	}
	head := buf[:frameHead]
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	size := uint32(head[0])<<24 | uint32(head[1])<<16 | uint32(head[2])<<8 | uint32(head[3])
	if size > MaxFrame {
		return nil, because(CodeFrameTooLarge, "frame of "+strconv.FormatUint(uint64(size), 10)+" bytes")
	}
	n := int(size)
	buf = buf[:0]
	for len(buf) < n {
		have := len(buf)
		if have == cap(buf) || cap(buf) < min(n, firstRead) {
			grown := make([]byte, have, min(n, max(2*have, firstRead)))
			copy(grown, buf)
			buf = grown
		}
		buf = buf[:min(n, cap(buf))]
		if _, err := io.ReadFull(r, buf[have:]); err == io.EOF {
			return nil, io.ErrUnexpectedEOF
		} else if err != nil {
			return nil, err
		}
	}
	return buf, nil
}
