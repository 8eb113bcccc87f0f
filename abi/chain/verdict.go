package chain

import (
	"math"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// Limits of verdicts.
const (
	// MaxVerdicts is how many gateways' last verdicts a device's record keeps.
	MaxVerdicts = 8
	// VerdictWindow is how long a verdict counts towards a quarantine, in ms of
	// header time: as long as it isolates at the gateway that gave it.
	VerdictWindow = 10 * 60 * 1000
)

// Verdict says how a gateway's behaviour contract judged a device. {1: device
// id, 2: contract, 3: abi.Level (1 to 3), 4: score (int; absent 0), 5: reason id
// (absent: none), 6: evidence hash: SHA-256 of the encoded abi.Observation}
// The sender has the gateway role; the contract is bound to the device.
type Verdict struct {
	Device   abi.Hash
	Contract string
	Level    abi.Level
	Score    int64
	ReasonID string
	Evidence abi.Hash
}

// Verdicts is the record of the last verdicts on a device, at most one a gateway
// and MaxVerdicts together, oldest first, none older than VerdictWindow when it
// was written: {1: [GatewayVerdict …]}
type Verdicts struct{ List []GatewayVerdict }

// GatewayVerdict is an array [gateway's account id, contract, level, score,
// reason id, evidence hash, header time ms, height].
type GatewayVerdict struct {
	Gateway  abi.Hash
	Contract string
	Level    abi.Level
	Score    int64
	ReasonID string
	Evidence abi.Hash
	Time     int64
	Height   uint64
}

// Evidence has validators judge what a device has signed, by a contract that is
// bound to it. {1: device id, 2: contract, 3: statement (StatementReport by the
// device's key, with the body of Report)} Anybody may; the contract's execute
// gets the encoded abi.Observation, and abi.Input names the device.
type Evidence struct {
	Device    abi.Hash
	Contract  string
	Statement []byte
}

// Report is what a device signs of what it observed: {1: time ms of its own
// clock, 2: abi.ObservationKind, 3: payload (array), at most abi.MaxEvidence}
// Towards one contract the times of a device's reports ascend strictly.
type Report struct {
	Time    int64
	Kind    abi.ObservationKind
	Payload []byte // encoded array
}

// Append appends the encoding of a.
func (a *Verdict) Append(b []byte) []byte {
	var f fields
	f.bytes(1, a.Device[:])
	f.text(2, a.Contract)
	f.uint(3, uint64(a.Level))
	if a.Score != 0 {
		f.int(4, a.Score)
	}
	f.optText(5, a.ReasonID)
	f.bytes(6, a.Evidence[:])
	return f.appendTo(b)
}

// ParseVerdict reads the arguments of OpVerdict.
func ParseVerdict(b []byte) (a Verdict, err error) {
	err = parseArgs(b, 1<<1|1<<2|1<<3|1<<6, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			a.Device = hashOf(r)
		case 2:
			a.Contract = name(r)
		case 3:
			a.Level = abi.Level(uintUpTo(r, uint64(abi.LevelQuarantine)))
		case 4:
			if a.Score = r.Int(); a.Score == 0 {
				r.Fail(abi.CodeMalformed)
			}
		case 5:
			a.ReasonID = shortText(r)
		case 6:
			a.Evidence = hashOf(r)
		default:
			return false
		}
		return true
	})
	if err == nil && a.Level == abi.LevelFine {
		err = abi.CodeBadArgument
	}
	return a, err
}

// Append appends the encoding of v.
func (v *Verdicts) Append(b []byte) []byte {
	var f fields
	list := cbor.AppendArray(nil, len(v.List))
	for i := range v.List {
		list = v.List[i].append(list)
	}
	f.raw(1, list)
	return f.appendTo(b)
}

func (v *GatewayVerdict) append(b []byte) []byte {
	b = cbor.AppendBytes(cbor.AppendArray(b, 8), v.Gateway[:])
	b = cbor.AppendUint(cbor.AppendText(b, v.Contract), uint64(v.Level))
	b = cbor.AppendText(cbor.AppendInt(b, v.Score), v.ReasonID)
	b = cbor.AppendInt(cbor.AppendBytes(b, v.Evidence[:]), v.Time)
	return cbor.AppendUint(b, v.Height)
}

// ParseVerdicts reads the record of a device's last verdicts.
func ParseVerdicts(b []byte) (v Verdicts, err error) {
	err = parseRecord(b, func(k uint64, r *cbor.Reader) {
		if k != 1 {
			r.Skip()
			return
		}
		for n := r.Array(); n > 0 && r.Err() == nil; n-- {
			r.ArrayN(8)
			v.List = append(v.List, GatewayVerdict{Gateway: hashOf(r), Contract: r.Text(), Level: abi.Level(uintUpTo(r, math.MaxUint8)),
				Score: r.Int(), ReasonID: r.Text(), Evidence: hashOf(r), Time: r.Int(), Height: r.Uint()})
		}
	})
	return v, err
}

// Append appends the encoding of a.
func (a *Evidence) Append(b []byte) []byte {
	var f fields
	f.bytes(1, a.Device[:])
	f.text(2, a.Contract)
	f.bytes(3, a.Statement)
	return f.appendTo(b)
}

// ParseEvidence reads the arguments of OpEvidence; they alias b.
func ParseEvidence(b []byte) (a Evidence, err error) {
	err = parseArgs(b, 1<<1|1<<2|1<<3, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			a.Device = hashOf(r)
		case 2:
			a.Contract = name(r)
		case 3:
			a.Statement = someBytes(r)
		default:
			return false
		}
		return true
	})
	return a, err
}

// Append appends the encoding of a.
func (a *Report) Append(b []byte) []byte {
	var f fields
	f.int(1, a.Time)
	f.uint(2, uint64(a.Kind))
	f.raw(3, a.Payload)
	return f.appendTo(b)
}

// ParseReport reads the body of a StatementReport; it aliases b.
func ParseReport(b []byte) (a Report, err error) {
	err = parseArgs(b, 1<<1|1<<2|1<<3, func(k uint64, r *cbor.Reader) bool {
		switch k {
		case 1:
			a.Time = r.Int()
		case 2:
			a.Kind = abi.ObservationKind(uintUpTo(r, math.MaxUint8))
		case 3:
			a.Payload = rawArray(r)
		default:
			return false
		}
		return true
	})
	switch {
	case err != nil:
	case a.Time <= 0 || !a.Kind.Reported():
		err = abi.CodeBadArgument
	case len(a.Payload) > abi.MaxEvidence:
		err = abi.CodeTooLarge
	}
	return a, err
}
