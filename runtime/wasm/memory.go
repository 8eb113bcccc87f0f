package wasm

import (
	"bytes"

	"github.com/tetratelabs/wazero/experimental"
)

const (
	wasmPage = 64 << 10
	// imagePage is the grain at which an image tells zero from data.
	imagePage = 4 << 10
	// straightBytes is what is set back without asking which of its pages
	// were written: the question costs a system call.
	straightBytes = 32 << 10
)

// image is the memory and the globals from which every call of a code starts.
// Zero pages take no room in it.
type image struct {
	size    int     // bytes of the memory
	at      []int32 // by page: its place in data, in pages; -1 where it is zero
	data    []byte
	globals []uint64
	file    extent // where data lies in the image file, if it does
}

// newImage copies memory.
func newImage(mem []byte) image {
	img := image{size: len(mem), at: make([]int32, len(mem)/imagePage)}
	zeros := make([]byte, imagePage)
	for i := range img.at {
		page := mem[i*imagePage : (i+1)*imagePage]
		img.at[i] = -1
		if !bytes.Equal(page, zeros) {
			img.at[i] = int32(len(img.data) / imagePage)
			img.data = append(img.data, page...)
		}
	}
	return img
}

// filled is the end of the last page that is not zero.
func (img *image) filled() int {
	n := len(img.at)
	for n > 0 && img.at[n-1] < 0 {
		n--
	}
	return n * imagePage
}

// page gives the bytes of page i, nil where they are zero, as they are beyond
// the image.
func (img *image) page(i int) []byte {
	if i >= len(img.at) || img.at[i] < 0 {
		return nil
	}
	at := int(img.at[i]) * imagePage
	return img.data[at : at+imagePage]
}

// setBack makes mem[from:to] what it is in the image. from is the beginning of
// a page.
func (img *image) setBack(mem []byte, from, to int) {
	for ; from < to; from += imagePage {
		end := min(from+imagePage, to)
		if page := img.page(from / imagePage); page != nil {
			copy(mem[from:end], page)
		} else {
			clear(mem[from:end])
		}
	}
}

// kept says whether the image lies in an image file.
func (img *image) kept() bool { return img.file != extent{} }

// equal compares memory with the image.
func (img *image) equal(mem []byte) bool {
	if len(mem) != img.size {
		return false
	}
	zeros := make([]byte, imagePage)
	for i := range img.at {
		want := img.page(i)
		if want == nil {
			want = zeros
		}
		if !bytes.Equal(mem[i*imagePage:(i+1)*imagePage], want) {
			return false
		}
	}
	return true
}

// memory is the linear memory of one instance. It begins as the image, and
// wazero calls its Reallocate and Free. While shrink is set, Reallocate gives
// the image's size, whatever it is asked for.
//
// There are two: plainMemory works everywhere, and mappedMemory copies a page
// of the image when it is first written to.
type memory interface {
	experimental.LinearMemory
	setShrink(on bool)
	// reset sets back what lies below dirty: nothing above differs from the
	// image.
	reset(dirty int)
	// refused tells why the machine had no memory for a growth since the last
	// call of refused, nil if it had.
	refused() error
	// resident is the memory that this instance has to itself, in bytes.
	resident() int
}

// allocate hands m to wazero, which asks for it by this function.
func allocate(m memory) experimental.MemoryAllocator {
	return experimental.MemoryAllocatorFunc(func(uint64, uint64) experimental.LinearMemory { return m })
}

// plainMemory is a memory on Go's heap.
type plainMemory struct {
	image  *image
	buf    []byte // zero between its length and its capacity
	shrink bool
}

func newPlainMemory(img *image) *plainMemory {
	m := &plainMemory{image: img, buf: make([]byte, img.size)}
	img.setBack(m.buf, 0, img.size)
	return m
}

// Reallocate implements experimental.LinearMemory.
func (m *plainMemory) Reallocate(size uint64) []byte {
	n := max(int(size), m.image.size)
	if m.shrink {
		n = m.image.size
	}
	if n > cap(m.buf) {
		grown := make([]byte, n)
		copy(grown, m.buf)
		m.buf = grown
	}
	m.buf = m.buf[:n]
	return m.buf
}

// Free implements experimental.LinearMemory.
func (m *plainMemory) Free() { m.buf = nil }

func (m *plainMemory) setShrink(on bool) { m.shrink = on }

func (m *plainMemory) reset(dirty int) { m.image.setBack(m.buf, 0, dirty) }

func (m *plainMemory) refused() error { return nil }

func (m *plainMemory) resident() int { return cap(m.buf) }
