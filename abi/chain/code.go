package chain

import (
	"math"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// Upload declares code to come. {1: code hash, 2: length in bytes}
type Upload struct {
	Code   abi.Hash
	Length uint64
}

// Append appends the encoding of a.
func (a *Upload) Append(b []byte) []byte {
	var f fields
	f.bytes(1, a.Code[:])
	f.uint(2, a.Length)
	return f.appendTo(b)
}

// ParseUpload reads the arguments of OpUpload.
func ParseUpload(b []byte) (a Upload, err error) {
	err = parseArgs(b, 1<<1|1<<2, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			a.Code = hashOf(r)
		case 2:
			a.Length = r.Uint()
		default:
			return false
		}
		return true
	})
	return a, err
}

// Chunk is one part of an upload: all are abi.MaxChunk long but the last.
// {1: code hash, 2: index, 3: bytes}
type Chunk struct {
	Code  abi.Hash
	Index uint64
	Data  []byte
}

// Append appends the encoding of a.
func (a *Chunk) Append(b []byte) []byte {
	var f fields
	f.bytes(1, a.Code[:])
	f.uint(2, a.Index)
	f.bytes(3, a.Data)
	return f.appendTo(b)
}

// ParseChunk reads the arguments of OpChunk; Data aliases b.
func ParseChunk(b []byte) (a Chunk, err error) {
	err = parseArgs(b, 1<<1|1<<2|1<<3, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			a.Code = hashOf(r)
		case 2:
			a.Index = uintUpTo(r, math.MaxUint32)
		case 3:
			a.Data = r.Bytes()
		default:
			return false
		}
		return true
	})
	if err == nil && (len(a.Data) == 0 || len(a.Data) > abi.MaxChunk) {
		err = abi.CodeTooLarge
	}
	return a, err
}

// PendingUpload is the record of an unfinished upload: {1: length in bytes,
// 2: expiry in ms of header time, 3: chunks that have arrived, a bit each,
// the first being the lowest bit of the first byte}.
type PendingUpload struct {
	Length  uint64
	Expiry  int64
	Arrived []byte
}

// Append appends the encoding of u.
func (u *PendingUpload) Append(b []byte) []byte {
	var f fields
	f.uint(1, u.Length)
	f.int(2, u.Expiry)
	f.bytes(3, u.Arrived)
	return f.appendTo(b)
}

// ParsePendingUpload reads the record of an unfinished upload.
func ParsePendingUpload(b []byte) (u PendingUpload, err error) {
	err = parseRecord(b, func(k uint64, r *cbor.Reader) {
		switch k {
		case 1:
			u.Length = r.Uint()
		case 2:
			u.Expiry = r.Int()
		case 3:
			u.Arrived = r.Bytes()
		default:
			r.Skip()
		}
	})
	return u, err
}

// Code is the record of a code whose upload is complete: {1: length in
// bytes, 2: account that uploaded it, 3: height}. Its bytes are the chunks
// under CodeChunkKey of that account.
type Code struct {
	Length   uint64
	Uploader abi.Hash
	Height   uint64
}

// Append appends the encoding of c.
func (c *Code) Append(b []byte) []byte {
	var f fields
	f.uint(1, c.Length)
	f.bytes(2, c.Uploader[:])
	f.uint(3, c.Height)
	return f.appendTo(b)
}

// ParseCode reads a code's record.
func ParseCode(b []byte) (c Code, err error) {
	err = parseRecord(b, func(k uint64, r *cbor.Reader) {
		switch k {
		case 1:
			c.Length = r.Uint()
		case 2:
			c.Uploader = hashOf(r)
		case 3:
			c.Height = r.Uint()
		default:
			r.Skip()
		}
	})
	return c, err
}
