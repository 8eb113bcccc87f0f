package declog

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/storage/disk"
)

// A segment is a file of frames. Integers are big-endian. The body of the first frame is the segment's head.
// Every other body holds records, one frame a sync:
//
//	position of the first record (8) | its number (8) | how many (4) |
//	reserved (8) | nonce (12) | AES-256-GCM of the records, one after another
//
// Positions count the records of the log from 0, as its tree does; numbers are
// what decisions are answered with. They run together but at a gap, which has a
// frame to itself: it stands at one position and takes the numbers from its
// first up to its next. No number at or above reserved is given out before the
// next frame is synced. What stands before the ciphertext is authenticated by it.
const (
	batchHead   = 8 + 8 + 4 + 8
	nonceSize   = 12
	tagSize     = 16
	saltSize    = 16
	keyPurpose  = "postern decision log 1"
	segmentName = "%020d.records"
)

// framing bounds a body by twice what may wait for a sync, see maxWaiting.
var framing = disk.Framing{Magic: "pLg1", Limit: 8 << 20}

// errFrame says that no whole frame stands at a place.
var errFrame = errors.New("no whole frame")

// head begins a segment: a map
//
//	1 chain id        4 position of the first record
//	2 account id      5 its number
//	3 salt of the key 6 leaf hashes of the tile that it stands in, up to it (bytes)
//	7 root of the tree below it (bytes)
//	8 reserved, as in a batch
//
// With it a segment can be read, and its records proved, when those before it
// are gone.
type head struct {
	chain, account abi.Hash
	salt           [saltSize]byte
	position       uint64
	number         uint64
	tile           []byte
	root           abi.Hash
	reserved       uint64
}

func (h *head) append(b []byte) []byte {
	b = cbor.AppendMap(b, 8)
	b = cbor.AppendBytes(cbor.AppendUint(b, 1), h.chain[:])
	b = cbor.AppendBytes(cbor.AppendUint(b, 2), h.account[:])
	b = cbor.AppendBytes(cbor.AppendUint(b, 3), h.salt[:])
	b = cbor.AppendUint(cbor.AppendUint(b, 4), h.position)
	b = cbor.AppendUint(cbor.AppendUint(b, 5), h.number)
	b = cbor.AppendBytes(cbor.AppendUint(b, 6), h.tile)
	b = cbor.AppendBytes(cbor.AppendUint(b, 7), h.root[:])
	return cbor.AppendUint(cbor.AppendUint(b, 8), h.reserved)
}

func parseHead(b []byte) (h head, err error) {
	r := cbor.NewReader(b)
	seen := 0
	for f := r.Fields(); f.Next(); seen++ {
		switch f.Key() {
		case 1:
			copy(h.chain[:], r.BytesN(len(h.chain)))
		case 2:
			copy(h.account[:], r.BytesN(len(h.account)))
		case 3:
			copy(h.salt[:], r.BytesN(saltSize))
		case 4:
			h.position = r.Uint()
		case 5:
			h.number = r.Uint()
		case 6:
			h.tile = bytes.Clone(r.Bytes())
		case 7:
			copy(h.root[:], r.BytesN(len(h.root)))
		case 8:
			h.reserved = r.Uint()
		default:
			r.Fail(abi.CodeMalformed)
		}
	}
	if err := r.Done(); err != nil {
		return head{}, abi.Malformed(err)
	}
	if seen != 8 || h.number < h.position || h.reserved < h.number || uint64(len(h.tile)) != h.position%tileWidth*hashSize {
		return head{}, abi.CodeMalformed
	}
	return h, nil
}

func newSalt() (salt [saltSize]byte) {
	rand.Read(salt[:])
	return salt
}

// sealer is the cipher of the segment with a salt. Each segment has a key of
// its own, so that random nonces stay few for a key.
func sealer(master []byte, salt [saltSize]byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, master, salt[:], keyPurpose, KeySize)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// batch is a frame of records.
type batch struct {
	position uint64
	number   uint64
	count    int
	reserved uint64
	records  []byte // one after another; nil where they were not asked for
	next     uint64 // the number after it; of one that was read known with records only
}

func (b *batch) appendHead(to []byte) []byte {
	to = binary.BigEndian.AppendUint64(to, b.position)
	to = binary.BigEndian.AppendUint64(to, b.number)
	to = binary.BigEndian.AppendUint32(to, uint32(b.count))
	return binary.BigEndian.AppendUint64(to, b.reserved)
}

// seal makes the frame of a batch in the room of another one.
func (b *batch) seal(room []byte, c cipher.AEAD) []byte {
	const nonceAt, sealedAt = disk.FrameHead + batchHead, disk.FrameHead + batchHead + nonceSize
	out := slices.Grow(room[:0], sealedAt+len(b.records)+tagSize)[:disk.FrameHead]
	out = b.appendHead(out)[:sealedAt]
	rand.Read(out[nonceAt:])
	out = c.Seal(out, out[nonceAt:], b.records, out[disk.FrameHead:nonceAt])
	framing.Fill(out)
	return out
}

// parseBatch reads a batch's body, and with a cipher its records as well.
func parseBatch(body []byte, c cipher.AEAD) (*batch, error) {
	if len(body) < batchHead+nonceSize+tagSize {
		return nil, abi.CodeMalformed
	}
	b := &batch{
		position: binary.BigEndian.Uint64(body), number: binary.BigEndian.Uint64(body[8:]),
		count: int(binary.BigEndian.Uint32(body[16:])), reserved: binary.BigEndian.Uint64(body[20:]),
	}
	if c == nil {
		return b, nil
	}
	sealed := body[batchHead+nonceSize:]
	var err error
	if b.records, err = c.Open(nil, body[batchHead:batchHead+nonceSize], sealed, body[:batchHead]); err != nil {
		return nil, fmt.Errorf("records %d to %d cannot be decrypted: they were changed, or the key is another: %w", b.number, b.number+uint64(b.count)-1, abi.CodeBadProof)
	}
	return b, b.check()
}

// check reads all records and finds out what they are.
func (b *batch) check() error {
	n, number := 0, b.number
	err := b.each(func(it *Item) error {
		if it.Gap != nil && b.count != 1 {
			return fmt.Errorf("a gap beside decisions: %w", abi.CodeMalformed)
		}
		if it.number() != number {
			return fmt.Errorf("record %d says that it is %d: %w", number, it.number(), abi.CodeMalformed)
		}
		n++
		number = it.next()
		return nil
	})
	if err == nil && n != b.count {
		err = fmt.Errorf("%d records where %d should be: %w", n, b.count, abi.CodeMalformed)
	}
	b.next = number
	return err
}

// each hands on the records of a batch in their order.
func (b *batch) each(do func(*Item) error) error {
	position := b.position
	for rest := b.records; len(rest) > 0; position++ {
		r := cbor.NewReader(rest)
		r.Skip()
		if err := r.Err(); err != nil {
			return fmt.Errorf("the record at position %d: %w", position, abi.Malformed(err))
		}
		it, err := parseItem(position, rest[:r.Offset()])
		if err != nil {
			return fmt.Errorf("the record at position %d: %w", position, err)
		}
		rest = rest[r.Offset():]
		if err := do(it); err != nil {
			return err
		}
	}
	return nil
}

// Item is what stands at a position of the log: a decision or a gap.
type Item struct {
	Position uint64
	Decision *proof.Record // nil for a gap
	Gap      *proof.Gap    // nil for a decision
}

func parseItem(position uint64, raw []byte) (*Item, error) {
	it := &Item{Position: position}
	if raw[0] == cbor.AppendArray(nil, 3)[0] {
		g, err := proof.ParseGap(raw)
		it.Gap = &g
		return it, err
	}
	d, err := proof.ParseRecord(raw)
	it.Decision = &d
	return it, err
}

// Leaf is the item's leaf hash.
func (it *Item) Leaf() abi.Hash {
	if it.Gap != nil {
		return it.Gap.Leaf()
	}
	return it.Decision.Leaf()
}

func (it *Item) number() uint64 {
	if it.Gap != nil {
		return it.Gap.First
	}
	return it.Decision.Number
}

// next is the number of what follows.
func (it *Item) next() uint64 {
	if it.Gap != nil {
		return it.Gap.Next
	}
	return it.Decision.Number + 1
}
