package behaviour

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
)

// recordsMagic begins the file of local records: that line, an array of watches
// from the one that was quiet longest, and the SHA-256 of all before. A watch is
// [device id, last report ms, [judge …]], a judge is [contract, local record or
// null, ms until its alarm of silence or 0 where none runs].
//
// The rest of an alarm's time is kept rather than the time when it goes off:
// while this gateway is down it hears nobody, and that is no device's silence.
const recordsMagic = "postern behaviour 1\n"

// kept is a watch in the file.
type kept struct {
	device     abi.Hash
	lastReport int64
	judges     []keptJudge
}

type keptJudge struct {
	contract string
	local    []byte
	known    bool
	alarm    time.Duration // 0: none
}

// appendRecords appends the file of all watches.
func (t *watches) appendRecords(b []byte, now moment) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	start := len(b)
	b = append(b, recordsMagic...)
	b = cbor.AppendArray(b, len(t.table))
	for w := t.oldest; w != nil; w = w.newer {
		b = cbor.AppendBytes(cbor.AppendArray(b, 3), w.device[:])
		b = cbor.AppendInt(b, w.lastReport)
		b = cbor.AppendArray(b, len(w.judges))
		for i := range w.judges {
			b = t.appendJudge(b, &w.judges[i], now)
		}
	}
	t.changed = false
	sum := sha256.Sum256(b[start:])
	return append(b, sum[:]...)
}

func (t *watches) appendJudge(b []byte, j *judge, now moment) []byte {
	b = cbor.AppendText(cbor.AppendArray(b, 3), j.contract)
	if j.known {
		b = cbor.AppendBytes(b, j.local)
	} else {
		b = cbor.AppendNull(b)
	}
	if j.alarm == nil {
		return cbor.AppendUint(b, 0)
	}
	return cbor.AppendUint(b, uint64(t.alarms.remaining(j.alarm, now)/time.Millisecond))
}

// errDamaged is a file that is not as it was written.
var errDamaged = errors.New("the file is damaged")

// parseRecords reads a file of watches; they alias nothing of b.
func parseRecords(b []byte) ([]kept, error) {
	n := len(b) - sha256.Size
	if n < 0 || sha256.Sum256(b[:n]) != [sha256.Size]byte(b[n:]) || !bytes.HasPrefix(b, []byte(recordsMagic)) {
		return nil, errDamaged
	}
	r := cbor.NewReader(b[len(recordsMagic):n])
	var list []kept
	for n := r.Array(); n > 0 && r.Err() == nil; n-- {
		r.ArrayN(3)
		k := kept{device: abi.Hash(readHash(&r)), lastReport: r.Int()}
		judges := r.Array()
		if judges > chain.MaxBound {
			r.Fail(errDamaged)
		}
		for ; judges > 0 && r.Err() == nil; judges-- {
			k.judges = append(k.judges, readJudge(&r))
		}
		list = append(list, k)
	}
	if err := r.Done(); err != nil {
		return nil, errors.Join(errDamaged, err)
	}
	return list, nil
}

func readHash(r *cbor.Reader) (h abi.Hash) {
	copy(h[:], r.BytesN(len(h)))
	return h
}

func readJudge(r *cbor.Reader) (j keptJudge) {
	r.ArrayN(3)
	j.contract = r.Text()
	if r.Kind() == cbor.KindNull {
		r.Null()
	} else {
		j.local, j.known = bytes.Clone(r.Bytes()), true
	}
	ms := r.Uint()
	if len(j.local) > abi.MaxLocal || ms > uint64(maxSilence/time.Millisecond) {
		r.Fail(errDamaged)
	}
	j.alarm = time.Duration(ms) * time.Millisecond
	return j
}

// restore takes up what a file held, as far as it fits.
func (t *watches) restore(list []kept, now moment) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range list {
		if t.table[k.device] != nil {
			continue
		}
		w := t.add(k.device)
		t.bytes -= w.bytes()
		w.lastReport = k.lastReport
		w.judges = make([]judge, len(k.judges))
		for i, j := range k.judges {
			w.judges[i] = judge{contract: j.contract, local: j.local, known: j.known}
			if j.alarm > 0 {
				w.judges[i].alarm = t.alarms.set(nil, now+j.alarm, k.device, j.contract)
			}
		}
		t.bytes += w.bytes()
	}
	t.shrink()
}

// isChanged says whether there is anything that no file has.
func (t *watches) isChanged() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.changed
}

// unsaved notes that writing failed.
func (t *watches) unsaved() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.changed = true
}
