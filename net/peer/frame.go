package peer

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/seed79541315/postern/abi"
)

// Every stream is a sequence of frames: four bytes of length, the highest
// first, and the content. A unidirectional stream has its kind, one byte, in
// front of them.
const frameHead = 4

// firstRead is how much room a frame's length alone makes, in bytes. Beyond it
// the buffer grows with what has arrived, so that a sender of lengths without
// content holds little memory.
const firstRead = 64 << 10

// appendFrame appends a frame to b.
func appendFrame(b, content []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(content))), content...)
}

// readLength reads the length of the next frame and refuses one above limit
// with abi.CodeFrameTooLarge. At the end of the stream it returns io.EOF,
// inside the length io.ErrUnexpectedEOF.
func readLength(r io.Reader, limit int) (int, error) {
	var head [frameHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if int64(n) > int64(limit) {
		return 0, fmt.Errorf("frame of %d bytes, %d are allowed: %w", n, limit, abi.CodeFrameTooLarge)
	}
	return int(n), nil
}

// readContent reads the n bytes of a frame into a slice of their own. If the
// stream ends before, it returns io.ErrUnexpectedEOF.
func readContent(r io.Reader, n int) ([]byte, error) {
	b := make([]byte, min(n, firstRead))
	have := 0
	for {
		m, err := io.ReadFull(r, b[have:])
		if have += m; have == n {
			return b, nil
		}
		if err == io.EOF {
			return nil, io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
		grown := make([]byte, min(n, 2*len(b)))
		copy(grown, b)
		b = grown
	}
}

// readFrame reads one frame of at most limit bytes.
func readFrame(r io.Reader, limit int) ([]byte, error) {
	n, err := readLength(r, limit)
	if err != nil {
		return nil, err
	}
	return readContent(r, n)
}
