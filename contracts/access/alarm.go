package access

import (
	"encoding/binary"
	"encoding/hex"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// AlarmID names an alarm: eight bytes of its subject's digest and its number.
type AlarmID [16]byte

// Number counts the alarms of a contract, from 1; a decision's obligations
// name it.
func (id AlarmID) Number() uint64 { return binary.BigEndian.Uint64(id[8:]) }

func (id AlarmID) String() string { return hex.EncodeToString(id[:]) }

// Alarm says that a glass was broken. It is the data of the event broke-glass.
type Alarm struct {
	ID                AlarmID
	AcknowledgedBy    *abi.Hash // nil: nobody has
	Resource, Subject Ref
	Action            string
	Reason            string
	By                abi.Hash // who sent the transaction
	At, Until         int64    // ms since 1970
	Transaction       abi.Hash
}

// MaxAlarms is how many alarms a contract keeps; MaxAlarmsOfSubject how many of
// them may be about one subject.
const (
	MaxAlarms          = 256
	MaxAlarmsOfSubject = 24
)

// Alarms is the query for at most limit alarms behind one, nil for the first;
// ParseAlarms reads its answer, which is empty behind the last alarm and may be
// shorter than the limit before. They are ordered by subject, not by time.
func Alarms(after *AlarmID, limit uint64) []byte {
	b := cbor.AppendUint(cbor.AppendArray(nil, 3), queryAlarms)
	if after == nil {
		b = cbor.AppendBytes(b, nil)
	} else {
		b = cbor.AppendBytes(b, after[:])
	}
	return cbor.AppendUint(b, limit)
}

// ParseAlarms reads the answer to Alarms.
func ParseAlarms(b []byte) ([]Alarm, error) {
	r := cbor.NewReader(b)
	var list []Alarm
	for n := r.Array(); n > 0 && r.Err() == nil; n-- {
		list = append(list, readAlarm(&r))
	}
	return list, r.Done()
}

// ParseAlarm reads the data of the event broke-glass.
func ParseAlarm(b []byte) (Alarm, error) {
	r := cbor.NewReader(b)
	a := readAlarm(&r)
	return a, r.Done()
}

func readAlarm(r *cbor.Reader) Alarm {
	var a Alarm
	r.ArrayN(12)
	if r.Kind() == cbor.KindNull {
		r.Null()
	} else {
		a.AcknowledgedBy = new(abi.Hash)
		copy(a.AcknowledgedBy[:], r.BytesN(len(abi.Hash{})))
	}
	copy(a.ID[:], r.BytesN(len(a.ID)))
	a.Resource, a.Subject = parseRef(r), parseRef(r)
	a.Action, a.Reason = r.Text(), r.Text()
	copy(a.By[:], r.BytesN(len(a.By)))
	a.At, a.Until = r.Int(), r.Int()
	copy(a.Transaction[:], r.Bytes())
	return a
}
