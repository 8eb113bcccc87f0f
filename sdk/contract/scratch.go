package contract

import "github.com/seed79541315/postern/abi/cbor"

// Keys and values are built in buffers that are used again, and values are
// read by a reader that is: a call that reads and writes little allocates
// nothing, so Go's allocator stays cold and the host has less memory to set
// back. Whoever holds one has taken it out, so that a codec which uses the
// state itself finds another. Natively the one call that runs owns them.
var (
	memory    [4][512]byte
	buffers   = [len(memory)][]byte{memory[0][:], memory[1][:], memory[2][:], memory[3][:]}
	buffersIn = len(buffers)

	theReader cbor.Reader
	reader    = &theReader // nil while it is out
)

// borrow is an empty buffer.
func borrow() []byte {
	if buffersIn == 0 {
		return nil
	}
	buffersIn--
	return buffers[buffersIn][:0]
}

// giveBack takes a buffer, or what append made of it, for the next borrow.
func giveBack(b []byte) {
	if buffersIn < len(buffers) {
		buffers[buffersIn] = b
		buffersIn++
	}
}

// borrowReader is a reader of b; texts that it reads alias b.
func borrowReader(b []byte) *cbor.Reader {
	r := reader
	reader = nil
	if r == nil {
		r = new(cbor.Reader)
	}
	*r = cbor.NewBorrowingReader(b)
	return r
}

func giveReaderBack(r *cbor.Reader) { reader = r }
