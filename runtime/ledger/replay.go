package ledger

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
	"github.com/seed79541315/postern/storage"
)

// The guards against replay. Window ids stand in plain records under the
// minute in which they expire, with the place where they were recorded; the
// state holds one running hash a minute, SHA-256(previous | id) in the order of
// those places, the previous of the first being empty. Once the minute is over,
// the time alone refuses its transactions, and both go.

// sweepBatch is how many plain window ids one block removes at most, so that
// a busy minute's end is not felt.
const sweepBatch = 4096

// checkWindow tells whether a window transaction's time is right at now.
func checkWindow(t *chain.Body, now int64) error {
	switch {
	case t.Sequence != 0:
		return nil
	case t.ValidUntil < now:
		return abi.CodeExpired
	case t.ValidUntil-now > abi.MaxWindow:
		return abi.CodeTooFarAhead
	}
	return nil
}

// readLane is the last sequence of an account's lane, 0 for a new lane.
func readLane(r reader, account abi.Hash, lane uint64) (uint64, error) {
	last, _, err := load(r, chain.LaneKey(account, lane), parseUint)
	return last, err
}

func parseUint(b []byte) (uint64, error) {
	r := cbor.NewReader(b)
	n := r.Uint()
	return n, r.Done()
}

// guard refuses a replay and records the transaction against the next one.
// Its writes stay even if the operation fails.
func (x *execution) guard(t *chain.Tx, sender abi.Hash) error {
	if t.Sequence != 0 {
		last, err := readLane(x.state, sender, t.Lane)
		if err != nil {
			return err
		}
		if t.Sequence <= last {
			return abi.CodeOutOfSequence
		}
		return x.state.set(chain.LaneKey(sender, t.Lane), cbor.AppendUint(nil, t.Sequence))
	}
	minute := chain.Minute(t.ValidUntil)
	key := chain.WindowIDKey(minute, t.ID)
	seen, err := x.windowHas(key)
	if err != nil {
		return err
	}
	if seen {
		return abi.CodeReplayed
	}
	x.plain = append(x.plain, storage.Change{Key: key, Value: appendGuardPlace(nil, x.header.Height, uint64(len(x.window)))})
	x.window[string(key)] = struct{}{}
	previous, _, err := x.state.get(chain.WindowKey(minute))
	if err != nil {
		return err
	}
	return x.state.setFree(chain.WindowKey(minute), runningHash(previous, t.ID))
}

// runningHash is that of a minute's window ids with one more.
func runningHash(previous []byte, id abi.Hash) []byte {
	sum := sha256.Sum256(append(append(make([]byte, 0, 64), previous...), id[:]...))
	return sum[:]
}

// appendGuardPlace appends where a window id was recorded: uvarint height |
// uvarint number among the block's window ids.
func appendGuardPlace(b []byte, height, index uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(b, height), index)
}

// parseGuard reads the plain record of a window id.
func parseGuard(key, value []byte) (proof.Guard, error) {
	var g proof.Guard
	height, n := binary.Uvarint(value)
	index, m := binary.Uvarint(value[max(n, 0):])
	if len(key) != len(chain.WindowIDKey(0, g.ID)) || n <= 0 || m <= 0 || n+m != len(value) {
		return g, faultf("plain record %x is no window id", key)
	}
	g.Minute = binary.BigEndian.Uint64(key[1:])
	g.ID, g.Height, g.Index = abi.Hash(key[9:]), height, index
	return g, nil
}

func (x *execution) windowHas(key []byte) (bool, error) {
	if _, ok := x.window[string(key)]; ok {
		return true, nil
	}
	_, ok, err := x.view.Plain(key)
	if err != nil {
		return false, &fault{err}
	}
	return ok, nil
}

// closeMinutes deletes the running hashes of minutes that are over.
func (x *execution) closeMinutes() error {
	now := chain.Minute(x.header.Time)
	if chain.Minute(x.parent.header.Time) == now {
		return nil
	}
	var over [][]byte
	err := each(x.state, []byte{'w'}, func(key, _ []byte) (bool, error) {
		if binary.BigEndian.Uint64(key[1:]) >= now {
			return false, nil
		}
		over = append(over, key)
		return true, nil
	})
	for _, key := range over {
		if err == nil {
			err = x.state.deleteFree(key)
		}
	}
	return err
}

// sweep adds to a commit's plain changes the removal of window ids whose
// minute is over. It is this node's own business: execution does not look at
// them any more. It returns the first minute that may have ids left.
func sweep(v *storage.View, from, now uint64, plain []storage.Change) ([]storage.Change, uint64, error) {
	if from >= now {
		return plain, from, nil
	}
	it := v.ScanPlain([]byte{'w'})
	defer it.Close()
	for n := 0; it.Next(); n++ {
		minute := binary.BigEndian.Uint64(it.Key()[1:])
		if minute >= now {
			break
		}
		if n == sweepBatch {
			return plain, minute, nil
		}
		plain = append(plain, storage.Change{Key: it.Key()})
	}
	return plain, now, it.Err()
}
