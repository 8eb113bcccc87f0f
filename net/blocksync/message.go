package blocksync

import (
	"fmt"
	"math"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/proof"
)

// kind is what a request asks for.
type kind uint64

// The requests, arrays that begin with their kind, and the frames of their
// answers.
//
//	blocks    [1, from, count, bytes]     standing, then blocks: at most count of them, none once bytes are full
//	live      [2, from]                   standing, then blocks as they are committed and a standing when there are none; never ends
//	offer     [3]                         one offer, or the end with abi.CodeNotFound
//	manifest  [4, height]                 parts of the Manifest
//	chunk     [5, height, prefix, depth]  one proof.Chunk, or the end with abi.CodeTooLarge
//	guards    [6, height]                 pages of replay guards (proof.ParseGuards)
//
// An answer ends well, or with the abi.Code of what went wrong.
const (
	kindBlocks kind = iota + 1
	kindLive
	kindOffer
	kindManifest
	kindChunk
	kindGuards
)

// request is any of them; what a kind does not have is zero.
type request struct {
	kind   kind
	height uint64 // from, or the snapshot's
	count  uint64
	bytes  uint64
	prefix uint64
	depth  uint8
}

// arguments are the fields behind the kind, in their order.
func (q *request) arguments() []uint64 {
	switch q.kind {
	case kindBlocks:
		return []uint64{q.height, q.count, q.bytes}
	case kindLive, kindManifest, kindGuards:
		return []uint64{q.height}
	case kindChunk:
		return []uint64{q.height, q.prefix, uint64(q.depth)}
	}
	return nil
}

// appendRequest appends the encoding of q.
func appendRequest(b []byte, q *request) []byte {
	arguments := q.arguments()
	b = cbor.AppendUint(cbor.AppendArray(b, 1+len(arguments)), uint64(q.kind))
	for _, a := range arguments {
		b = cbor.AppendUint(b, a)
	}
	return b
}

// parseRequest reads a request. A kind that is not known is abi.CodeUnknownOp.
func parseRequest(b []byte) (request, error) {
	r := cbor.NewReader(b)
	n := r.Array()
	q := request{kind: kind(r.Uint())}
	if r.Err() == nil && (q.kind < kindBlocks || q.kind > kindGuards) {
		return request{}, fmt.Errorf("request of kind %d: %w", q.kind, abi.CodeUnknownOp)
	}
	want := len(q.arguments())
	if r.Err() == nil && n != 1+want {
		return request{}, fmt.Errorf("request of kind %d with %d fields: %w", q.kind, n, abi.CodeMalformed)
	}
	var a [3]uint64
	for i := range want {
		a[i] = r.Uint()
	}
	if err := r.Done(); err != nil {
		return request{}, abi.Malformed(err)
	}
	if want > 0 {
		q.height = a[0]
	}
	switch q.kind {
	case kindBlocks:
		q.count, q.bytes = a[1], a[2]
	case kindChunk:
		q.prefix, q.depth = a[1], uint8(min(a[2], math.MaxUint8))
		if !proof.ValidChunk(q.prefix, q.depth) {
			return request{}, fmt.Errorf("chunk %x of depth %d: %w", a[1], a[2], abi.CodeMalformed)
		}
	}
	return q, nil
}

// standing is where a node says that its chain stands: it has the blocks from
// base to height, and block 0.
type standing struct{ base, height uint64 }

// pair is a block and its certificate as they are stored.
type pair struct{ block, certificate []byte }

// A frame of an answer about blocks is an array [1, base, height], a standing,
// or [2, [[block (bytes), certificate (bytes)] …]], 1 to maxCount pairs.
const (
	frameStanding = 1
	frameBlocks   = 2
)

// maxCount bounds the blocks of one frame and of one request.
const maxCount = 512

func appendStanding(b []byte, s standing) []byte {
	b = cbor.AppendUint(cbor.AppendArray(b, 3), frameStanding)
	return cbor.AppendUint(cbor.AppendUint(b, s.base), s.height)
}

func appendBlocks(b []byte, pairs []pair) []byte {
	b = cbor.AppendUint(cbor.AppendArray(b, 2), frameBlocks)
	b = cbor.AppendArray(b, len(pairs))
	for _, p := range pairs {
		b = cbor.AppendBytes(cbor.AppendBytes(cbor.AppendArray(b, 2), p.block), p.certificate)
	}
	return b
}

// parseBlocksFrame reads a frame about blocks: a standing, or pairs that alias
// b, of which there is at least one.
func parseBlocksFrame(b []byte) (s standing, pairs []pair, err error) {
	r := cbor.NewReader(b)
	n := r.Array()
	switch kind := r.Uint(); {
	case r.Err() != nil:
	case kind == frameStanding && n == 3:
		s = standing{r.Uint(), r.Uint()}
	case kind == frameBlocks && n == 2:
		pairs = readPairs(&r)
	default:
		r.Fail(fmt.Errorf("frame %d with %d fields: %w", kind, n, abi.CodeMalformed))
	}
	if err := r.Done(); err != nil {
		return standing{}, nil, abi.Malformed(err)
	}
	return s, pairs, nil
}

func readPairs(r *cbor.Reader) (pairs []pair) {
	n := r.Array()
	if n == 0 || n > maxCount {
		r.Fail(fmt.Errorf("a frame of %d blocks: %w", n, abi.CodeMalformed))
	}
	for ; n > 0 && r.Err() == nil; n-- {
		r.ArrayN(2)
		pairs = append(pairs, pair{r.Bytes(), r.Bytes()})
	}
	return pairs
}

// offer says which snapshot a node has: an array [height, bytes of the manifest].
type offer struct{ height, bytes uint64 }

func appendOffer(b []byte, o offer) []byte {
	return cbor.AppendUint(cbor.AppendUint(cbor.AppendArray(b, 2), o.height), o.bytes)
}

func parseOffer(b []byte) (offer, error) {
	r := cbor.NewReader(b)
	r.ArrayN(2)
	o := offer{r.Uint(), r.Uint()}
	if err := r.Done(); err != nil {
		return offer{}, abi.Malformed(err)
	}
	return o, nil
}
