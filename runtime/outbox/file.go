package outbox

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
)

// The file is a row of frames:
//
//	magic (4) | length of body (4) | CRC-32C of length and body (4) | body
//
// Integers are big-endian. The body of the first frame is the owner: a map
// {1: chain id, 2: account id, 3: lane, 4: last sequence given out}. Every
// other body is an array of transactions (bytes), one frame a sync. Sequences
// ascend over the whole file; they need not be contiguous, and those of
// entries may lie below the owner's, which compaction writes.
const (
	magic      = "pOb1"
	frameHead  = len(magic) + 8
	maxBody    = 4 << 20 // bytes; what a full outbox rewritten as one frame fits in
	maxPerBody = 1 << 16 // transactions; as above
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// owner says whose transactions a file holds.
type owner struct {
	chain, account abi.Hash
	lane           uint64
}

// entry is a signed transaction of the lane.
type entry struct {
	sequence uint64
	id       abi.Hash
	key      []byte
	raw      []byte
}

// contents is what a file holds.
type contents struct {
	owner   owner
	last    uint64 // the last sequence that was given out, as far as the file knows
	entries []*entry
	torn    int // bytes at the end that a crash left unfinished
}

func appendFrame(b, body []byte) []byte {
	start := len(b) + len(magic)
	b = binary.BigEndian.AppendUint32(append(b, magic...), uint32(len(body)))
	sum := crc32.Update(crc32.Checksum(b[start:], castagnoli), castagnoli, body)
	return append(binary.BigEndian.AppendUint32(b, sum), body...)
}

// readFrame returns the body of the frame at the start of b.
func readFrame(b []byte) (body []byte, ok bool) {
	if len(b) < frameHead || string(b[:len(magic)]) != magic {
		return nil, false
	}
	length := b[len(magic) : len(magic)+4]
	n := uint64(binary.BigEndian.Uint32(length))
	if n > maxBody || uint64(len(b)-frameHead) < n {
		return nil, false
	}
	body = b[frameHead : frameHead+int(n)]
	sum := crc32.Update(crc32.Checksum(length, castagnoli), castagnoli, body)
	return body, sum == binary.BigEndian.Uint32(b[len(magic)+4:frameHead])
}

func appendOwner(b []byte, o *owner, last uint64) []byte {
	b = cbor.AppendMap(b, 4)
	b = cbor.AppendBytes(cbor.AppendUint(b, 1), o.chain[:])
	b = cbor.AppendBytes(cbor.AppendUint(b, 2), o.account[:])
	b = cbor.AppendUint(cbor.AppendUint(b, 3), o.lane)
	return cbor.AppendUint(cbor.AppendUint(b, 4), last)
}

func parseOwner(b []byte) (o owner, last uint64, err error) {
	r := cbor.NewReader(b)
	seen := 0
	for f := r.Fields(); f.Next(); seen++ {
		switch f.Key() {
		case 1:
			copy(o.chain[:], r.BytesN(len(o.chain)))
		case 2:
			copy(o.account[:], r.BytesN(len(o.account)))
		case 3:
			o.lane = r.Uint()
		case 4:
			last = r.Uint()
		default:
			r.Fail(abi.CodeMalformed)
		}
	}
	if err := r.Done(); err != nil {
		return owner{}, 0, abi.Malformed(err)
	}
	if seen != 4 {
		return owner{}, 0, abi.CodeMalformed
	}
	return o, last, nil
}

func appendEntries(b []byte, list []*entry) []byte {
	b = cbor.AppendArray(b, len(list))
	for _, e := range list {
		b = cbor.AppendBytes(b, e.raw)
	}
	return b
}

// appendFile appends a whole file.
func appendFile(b []byte, o *owner, last uint64, list []*entry) []byte {
	b = appendFrame(b, appendOwner(nil, o, last))
	if len(list) > 0 {
		b = appendFrame(b, appendEntries(nil, list))
	}
	return b
}

// parseFile reads a file and keeps nothing of b. What no frame comes after may
// be the unfinished work of a crash and is told in torn; anything else that
// is not right is an error.
func parseFile(b []byte) (*contents, error) {
	body, ok := readFrame(b)
	if !ok {
		return nil, errors.New("its beginning is damaged") // it is renamed into place when it is whole
	}
	c := &contents{}
	var err error
	if c.owner, c.last, err = parseOwner(body); err != nil {
		return nil, fmt.Errorf("its beginning: %w", err)
	}
	for at := frameHead + len(body); at < len(b); at += frameHead + len(body) {
		if body, ok = readFrame(b[at:]); !ok {
			if next := findFrame(b[at+1:]); next >= 0 {
				return nil, fmt.Errorf("it is damaged at byte %d, and byte %d goes on", at, at+1+next)
			}
			c.torn = len(b) - at
			break
		}
		if err := c.addEntries(body); err != nil {
			return nil, fmt.Errorf("the frame at byte %d: %w", at, err)
		}
	}
	return c, nil
}

// findFrame is where the next whole frame begins, -1 if there is none. A frame
// is written only after the one before it was synced, so one that stands
// behind damage says that the damage is no crash's.
func findFrame(b []byte) int {
	for at := 0; ; at++ {
		i := bytes.Index(b[at:], []byte(magic))
		if i < 0 {
			return -1
		}
		at += i
		if _, ok := readFrame(b[at:]); ok {
			return at
		}
	}
}

func (c *contents) addEntries(body []byte) error {
	r := cbor.NewReader(body)
	n := r.Array()
	if n > maxPerBody {
		r.Fail(abi.CodeTooLarge)
	}
	for range n {
		raw := r.Bytes()
		if r.Err() != nil {
			break
		}
		e, err := c.parseEntry(raw)
		if err != nil {
			return err
		}
		c.entries = append(c.entries, e)
	}
	return r.Done()
}

func (c *contents) parseEntry(raw []byte) (*entry, error) {
	raw = bytes.Clone(raw)
	t, err := chain.ParseTx(raw)
	if err != nil {
		return nil, err
	}
	previous := uint64(0)
	if n := len(c.entries); n > 0 {
		previous = c.entries[n-1].sequence
	}
	if t.Chain != c.owner.chain || t.Lane != c.owner.lane || t.Sequence <= previous {
		return nil, fmt.Errorf("transaction %x is not the next of the lane: %w", t.ID[:8], abi.CodeMalformed)
	}
	c.last = max(c.last, t.Sequence)
	return &entry{sequence: t.Sequence, id: t.ID, key: t.Key(), raw: raw}, nil
}
