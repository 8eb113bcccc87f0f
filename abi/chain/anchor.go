package chain

import (
	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// Limits of anchors.
const (
	// MaxCheckpointNote bounds the signed head of a log in bytes, as package
	// proof does.
	MaxCheckpointNote = 1 << 10
	// MaxConsistency is the longest consistency proof in hashes: two a level of
	// a log of 2^60 records would be more than any log needs.
	MaxConsistency = 64
	// MaxAnchors is how many earlier anchors of a log are kept by their sizes,
	// the newest ones: those of 17 hours at one a minute. A receipt holds the
	// proof of its own anchor and needs none of them.
	MaxAnchors = 1024
)

// Anchor puts the signed head of a gateway's decision log on the ledger.
// {1: checkpoint (bytes, proof.Checkpoint as a signed note), 2: [hash …]:
// consistency proof from the last anchor (absent when there is none, or its
// size was 0 or is the same)}
// The sender has the gateway role, and the log is its own.
type Anchor struct {
	Note []byte
	Path []abi.Hash
}

// Anchored is the record of a log's newest anchor: {1: size, 2: root, 3: height,
// 4: header time ms, 5: checkpoint (bytes), 6: key that signed it, 7: number of
// records under AnchorAtKey}
type Anchored struct {
	Size   uint64
	Root   abi.Hash
	Height uint64
	Time   int64
	Note   []byte
	Key    []byte
	Kept   uint64
}

// AnchoredAt is the record of an anchor by its size: {1: root, 2: height}
type AnchoredAt struct {
	Root   abi.Hash
	Height uint64
}

// Offence shows that a log's holder signed two heads of one size. {1: account
// id, 2: checkpoint (bytes), 3: the other one} Anybody may.
type Offence struct {
	Account abi.Hash
	First   []byte
	Second  []byte
}

// Forked is the record of a log of which two heads of one size are known:
// {1: size, 2: root, 3: the other root, 4: height, 5: account that showed it}
// The first such offence of an account stays.
type Forked struct {
	Size   uint64
	First  abi.Hash
	Second abi.Hash
	Height uint64
	By     abi.Hash
}

// Witness says which head of another gateway's log the sender, a gateway, has
// seen. {1: account id, 2: size, 3: root}
type Witness struct {
	Account abi.Hash
	Size    uint64
	Root    abi.Hash
}

// Witnessed is the record of the last head of a log that one gateway has seen:
// {1: size, 2: root, 3: height, 4: the anchor of that size has another root
// (bool; absent if not)}
type Witnessed struct {
	Size     uint64
	Root     abi.Hash
	Height   uint64
	Conflict bool
}

// Append appends the encoding of a.
func (a *Anchor) Append(b []byte) []byte {
	var f fields
	f.bytes(1, a.Note)
	if len(a.Path) > 0 {
		path := cbor.AppendArray(nil, len(a.Path))
		for i := range a.Path {
			path = cbor.AppendBytes(path, a.Path[i][:])
		}
		f.raw(2, path)
	}
	return f.appendTo(b)
}

// ParseAnchor reads the arguments of OpAnchor; they alias b.
func ParseAnchor(b []byte) (a Anchor, err error) {
	err = parseArgs(b, 1<<1, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			a.Note = checkpointNote(r)
		case 2:
			a.Path = readPath(r)
		default:
			return false
		}
		return true
	})
	return a, err
}

func readPath(r *cbor.Reader) (path []abi.Hash) {
	n := r.Array()
	if n == 0 || n > MaxConsistency {
		r.Fail(abi.CodeBadArgument)
	}
	for ; n > 0 && r.Err() == nil; n-- {
		path = append(path, hashOf(r))
	}
	return path
}

func checkpointNote(r *cbor.Reader) []byte {
	b := someBytes(r)
	if len(b) > MaxCheckpointNote {
		r.Fail(abi.CodeTooLarge)
	}
	return b
}

// Append appends the encoding of a.
func (a *Anchored) Append(b []byte) []byte {
	var f fields
	f.uint(1, a.Size)
	f.bytes(2, a.Root[:])
	f.uint(3, a.Height)
	f.int(4, a.Time)
	f.bytes(5, a.Note)
	f.bytes(6, a.Key)
	f.uint(7, a.Kept)
	return f.appendTo(b)
}

// ParseAnchored reads the record of a log's newest anchor; it aliases b.
func ParseAnchored(b []byte) (a Anchored, err error) {
	err = parseRecord(b, func(k uint64, r *cbor.Reader) {
		switch k {
		case 1:
			a.Size = r.Uint()
		case 2:
			a.Root = hashOf(r)
		case 3:
			a.Height = r.Uint()
		case 4:
			a.Time = r.Int()
		case 5:
			a.Note = r.Bytes()
		case 6:
			a.Key = r.Bytes()
		case 7:
			a.Kept = r.Uint()
		default:
			r.Skip()
		}
	})
	return a, err
}

// Append appends the encoding of a.
func (a *AnchoredAt) Append(b []byte) []byte {
	var f fields
	f.bytes(1, a.Root[:])
	f.uint(2, a.Height)
	return f.appendTo(b)
}

// ParseAnchoredAt reads the record of an anchor by its size.
func ParseAnchoredAt(b []byte) (a AnchoredAt, err error) {
	err = parseRecord(b, func(k uint64, r *cbor.Reader) {
		switch k {
		case 1:
			a.Root = hashOf(r)
		case 2:
			a.Height = r.Uint()
		default:
			r.Skip()
		}
	})
	return a, err
}

// Append appends the encoding of a.
func (a *Offence) Append(b []byte) []byte {
	var f fields
	f.bytes(1, a.Account[:])
	f.bytes(2, a.First)
	f.bytes(3, a.Second)
	return f.appendTo(b)
}

// ParseOffence reads the arguments of OpOffence; they alias b.
func ParseOffence(b []byte) (a Offence, err error) {
	err = parseArgs(b, 1<<1|1<<2|1<<3, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			a.Account = hashOf(r)
		case 2:
			a.First = checkpointNote(r)
		case 3:
			a.Second = checkpointNote(r)
		default:
			return false
		}
		return true
	})
	return a, err
}

// Append appends the encoding of k.
func (k *Forked) Append(b []byte) []byte {
	var f fields
	f.uint(1, k.Size)
	f.bytes(2, k.First[:])
	f.bytes(3, k.Second[:])
	f.uint(4, k.Height)
	f.bytes(5, k.By[:])
	return f.appendTo(b)
}

// ParseForked reads the record of a log of which two heads are known.
func ParseForked(b []byte) (k Forked, err error) {
	err = parseRecord(b, func(key uint64, r *cbor.Reader) {
		switch key {
		case 1:
			k.Size = r.Uint()
		case 2:
			k.First = hashOf(r)
		case 3:
			k.Second = hashOf(r)
		case 4:
			k.Height = r.Uint()
		case 5:
			k.By = hashOf(r)
		default:
			r.Skip()
		}
	})
	return k, err
}

// Append appends the encoding of a.
func (a *Witness) Append(b []byte) []byte {
	var f fields
	f.bytes(1, a.Account[:])
	f.uint(2, a.Size)
	f.bytes(3, a.Root[:])
	return f.appendTo(b)
}

// ParseWitness reads the arguments of OpWitness.
func ParseWitness(b []byte) (a Witness, err error) {
	err = parseArgs(b, 1<<1|1<<2|1<<3, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			a.Account = hashOf(r)
		case 2:
			a.Size = r.Uint()
		case 3:
			a.Root = hashOf(r)
		default:
			return false
		}
		return true
	})
	return a, err
}

// Append appends the encoding of w.
func (w *Witnessed) Append(b []byte) []byte {
	var f fields
	f.uint(1, w.Size)
	f.bytes(2, w.Root[:])
	f.uint(3, w.Height)
	if w.Conflict {
		f.raw(4, cbor.AppendBool(nil, true))
	}
	return f.appendTo(b)
}

// ParseWitnessed reads the record of what a gateway has seen of a log.
func ParseWitnessed(b []byte) (w Witnessed, err error) {
	err = parseRecord(b, func(k uint64, r *cbor.Reader) {
		switch k {
		case 1:
			w.Size = r.Uint()
		case 2:
			w.Root = hashOf(r)
		case 3:
			w.Height = r.Uint()
		case 4:
			w.Conflict = r.Bool()
		default:
			r.Skip()
		}
	})
	return w, err
}
