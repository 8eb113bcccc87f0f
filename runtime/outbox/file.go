package outbox

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/storage/disk"
)

// The file is a row of frames. The body of the first is the owner: a map
// {1: chain id, 2: account id, 3: lane, 4: last sequence given out}. Every
// other body is an array of transactions (bytes), one frame a sync. Sequences
// ascend over the whole file; they need not be contiguous, and those of
// entries may lie below the owner's, which compaction writes.
// maxPerBody is how many transactions a frame has at most: what a full outbox that
// is rewritten as one frame fits in, as its bytes do.
const maxPerBody = 1 << 16

var framing = disk.Framing{Magic: "pOb1", Limit: 4 << 20}

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
	b = framing.Append(b, appendOwner(nil, o, last))
	if len(list) > 0 {
		b = framing.Append(b, appendEntries(nil, list))
	}
	return b
}

// parseFile reads a file and keeps nothing of b. What no frame comes after may
// be the unfinished work of a crash and is told in torn; anything else that
// is not right is an error.
func parseFile(b []byte) (*contents, error) {
	body, ok := framing.Read(b)
	if !ok {
		return nil, errors.New("its beginning is damaged") // it is renamed into place when it is whole
	}
	c := &contents{}
	var err error
	if c.owner, c.last, err = parseOwner(body); err != nil {
		return nil, fmt.Errorf("its beginning: %w", err)
	}
	for at := disk.FrameHead + len(body); at < len(b); at += disk.FrameHead + len(body) {
		if body, ok = framing.Read(b[at:]); !ok {
			if next := framing.Find(b[at+1:]); next >= 0 {
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
