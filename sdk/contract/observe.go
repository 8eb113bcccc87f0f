package contract

import (
	"math"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// Observation is what an observe entry gets: what a gateway saw of a device.
// Measurements and Flows read its payload. An execute entry gets one, signed by
// the device, as its message where Context.Evidence is set.
type Observation = abi.Observation

// Judgement is what an observe entry answers. Its texts are one line of at most
// abi.MaxFinding bytes each.
type Judgement = abi.Judgement

// ObserveHandler is an observe entry. An error tells that this contract gave no
// judgement, which is an alert.
type ObserveHandler func(c *Context, o *Observation) (Judgement, error)

// EnterObserve is Enter for an observe entry.
func EnterObserve(ptr, size uint32, handler ObserveHandler) uint64 {
	return Enter(ptr, size, observing(handler))
}

// RunObserve is Run for an observe entry.
func RunObserve(input []byte, handler ObserveHandler) ([]byte, error) {
	return Run(input, observing(handler))
}

func observing(handler ObserveHandler) Handler {
	return func(c *Context) ([]byte, error) {
		o, err := abi.ParseObservation(c.Message)
		if err != nil {
			return nil, err
		}
		j, err := handler(c, &o)
		if err != nil {
			return nil, err
		}
		return abi.AppendJudgement(borrow(), &j), nil
	}
}

// Measurement is a resolved SenML record (RFC 8428): an item of telemetry and
// of location. What the device did not tell is nil or empty.
type Measurement struct {
	Name  string
	Time  *int64 // ms since 1970
	Unit  string
	Value *cbor.Decimal
	Text  *string
	Bool  *bool
	Data  []byte
	Sum   *cbor.Decimal
}

// Measurements reads the payload of telemetry or location. Texts borrow from
// it. Errors wrap abi.CodeMalformed.
func Measurements(o *Observation) ([]Measurement, error) {
	return items(o, (*Measurement).readField, func(m *Measurement) bool { return m.Name != "" })
}

func (m *Measurement) readField(key uint64, r *cbor.Reader) {
	switch key {
	case 1:
		m.Name = r.Text()
	case 2:
		m.Time = at(r.Int())
	case 3:
		m.Unit = r.Text()
	case 4:
		m.Value = at(r.Decimal())
	case 5:
		m.Text = at(r.Text())
	case 6:
		m.Bool = at(r.Bool())
	case 7:
		m.Data = r.Bytes()
	case 8:
		m.Sum = at(r.Decimal())
	default:
		r.Fail(abi.CodeMalformed)
	}
}

// Flow is the packets between the device and another party that belong
// together. What nobody saw is nil or empty.
type Flow struct {
	ToDevice      bool
	Protocol      *uint8
	Remote        []byte // 4 or 16 bytes; nil where it is no IP
	RemotePort    *uint16
	LocalPort     *uint16
	Bytes         uint64
	Packets       uint64
	Name          string // the other party's, as DNS told it
	BegunByDevice *bool
	Ethertype     *uint16 // nil for IP
	ICMP          *uint16 // type << 8 | code
}

// Flows reads the payload of flows. Texts borrow from it. Errors wrap
// abi.CodeMalformed.
func Flows(o *Observation) ([]Flow, error) {
	return items(o, (*Flow).readField, func(f *Flow) bool { return f.Remote != nil || f.Ethertype != nil })
}

func (f *Flow) readField(key uint64, r *cbor.Reader) {
	switch key {
	case 1:
		f.ToDevice = upTo(r, 1) == 1
	case 2:
		f.Protocol = at(uint8(upTo(r, math.MaxUint8)))
	case 3:
		if f.Remote = r.Bytes(); len(f.Remote) != 4 && len(f.Remote) != 16 {
			r.Fail(abi.CodeMalformed)
		}
	case 4:
		f.RemotePort = at(uint16(upTo(r, math.MaxUint16)))
	case 5:
		f.LocalPort = at(uint16(upTo(r, math.MaxUint16)))
	case 6:
		f.Bytes = r.Uint()
	case 7:
		f.Packets = r.Uint()
	case 8:
		f.Name = r.Text()
	case 9:
		f.BegunByDevice = at(r.Bool())
	case 10:
		f.Ethertype = at(uint16(upTo(r, math.MaxUint16)))
	case 11:
		f.ICMP = at(uint16(upTo(r, math.MaxUint16)))
	default:
		r.Fail(abi.CodeMalformed)
	}
}

// items reads a payload's items, which are maps and must be whole: what may be
// empty could be so many that the guest has no memory for them.
func items[T any](o *Observation, field func(*T, uint64, *cbor.Reader), whole func(*T) bool) (list []T, err error) {
	r := cbor.NewBorrowingReader(o.Payload)
	for n := r.Array(); n > 0 && r.Err() == nil; n-- {
		var item T
		for f := r.Fields(); f.Next(); {
			field(&item, f.Key(), &r)
		}
		if !whole(&item) {
			r.Fail(abi.CodeMalformed)
		}
		list = append(list, item)
	}
	if err := r.Done(); err != nil {
		return nil, abi.Malformed(err)
	}
	return list, nil
}

func at[T any](v T) *T { return &v }

func upTo(r *cbor.Reader, limit uint64) uint64 {
	v := r.Uint()
	if v > limit {
		r.Fail(abi.CodeMalformed)
		return 0
	}
	return v
}
