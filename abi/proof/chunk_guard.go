package proof

import (
	"bytes"
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
)

// MaxGuards is the most guards of one page, so that it fits a frame.
const MaxGuards = 4096

// Guard is a window id as a joining node is given it: the id of a transaction
// that would still be accepted again, and where it was first accepted. State
// has only a running hash over the ids of a minute in the order of their
// places, so that a minute's guards prove nothing until they are complete.
type Guard struct {
	Minute        uint64 // in which the id expires
	ID            abi.Hash
	Height, Index uint64 // of the transaction in its block: among those that were guarded
}

// Key is the guard's plain key; pages are in ascending order of it.
func (g *Guard) Key() []byte { return chain.WindowIDKey(g.Minute, g.ID) }

// AppendGuards appends a page of guards: an array of [minute, id, height,
// index].
func AppendGuards(b []byte, page []Guard) []byte {
	b = cbor.AppendArray(b, len(page))
	for i := range page {
		g := &page[i]
		b = cbor.AppendUint(cbor.AppendArray(b, 4), g.Minute)
		b = cbor.AppendUint(cbor.AppendBytes(b, g.ID[:]), g.Height)
		b = cbor.AppendUint(b, g.Index)
	}
	return b
}

// ParseGuards reads a page. Its guards are in strictly ascending order.
func ParseGuards(b []byte) ([]Guard, error) {
	r := cbor.NewReader(b)
	n := r.Array()
	if n > MaxGuards {
		return nil, fmt.Errorf("%w: %d guards in a page, at most %d", abi.CodeTooLarge, n, MaxGuards)
	}
	page := make([]Guard, n)
	for i := range page {
		g := &page[i]
		r.ArrayN(4)
		g.Minute = r.Uint()
		copy(g.ID[:], r.BytesN(len(g.ID)))
		g.Height, g.Index = r.Uint(), r.Uint()
		if i > 0 && r.Err() == nil && bytes.Compare(page[i-1].Key(), g.Key()) >= 0 {
			r.Fail(fmt.Errorf("%w: guards are out of order", abi.CodeMalformed))
		}
	}
	if err := r.Done(); err != nil {
		return nil, asMalformed(err)
	}
	return page, nil
}
