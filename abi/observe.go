package abi

import (
	"math"
	"strconv"

	"github.com/seed79541315/postern/abi/cbor"
)

// Level is how a behaviour contract judges what a device did.
type Level uint8

// The levels, each graver than the one before. An alert is told and changes
// nothing; the graver two isolate the device at the gateway that judged, and
// everywhere once enough gateways say so.
const (
	LevelFine Level = iota
	LevelAlert
	LevelSuspectedStolen
	LevelQuarantine
)

var levelNames = [...]string{"fine", "alert", "suspected-stolen", "quarantine"}

func (l Level) String() string {
	if int(l) < len(levelNames) {
		return levelNames[l]
	}
	return "level-" + strconv.Itoa(int(l))
}

// LevelByName finds a level by its name.
func LevelByName(name string) (Level, bool) {
	for i, n := range levelNames {
		if n == name {
			return Level(i), true
		}
	}
	return 0, false
}

// ObservationKind is what an observation holds.
type ObservationKind uint8

// The kinds, with the items of their payload, which is an array. An absent
// field of an item is not known.
//
//	telemetry  resolved SenML records (RFC 8428 section 4.6): {1: name,
//	           2: time ms, 3: unit, 4: value (int or decimal fraction),
//	           5: text, 6: bool, 7: bytes, 8: sum}
//	flows      {1: direction (0 from the device, 1 to it), 2: IP protocol,
//	           3: remote address (4 or 16 bytes), 4: remote port, 5: local
//	           port, 6: bytes, 7: packets, 8: remote name, 9: begun by the
//	           device (bool), 10: ethertype (absent: IP), 11: ICMP type<<8|code}
//	silence    one {1: time ms of the last report}: a timer of the gateway's
//	denial     one {1: domain, 2: code, 3: action, 4: resource}
//	location   resolved SenML records of where the device says it is
const (
	ObserveTelemetry ObservationKind = iota + 1
	ObserveFlows
	ObserveSilence
	ObserveDenial
	ObserveLocation
)

var observationNames = [...]string{ObserveTelemetry: "telemetry", ObserveFlows: "flows", ObserveSilence: "silence",
	ObserveDenial: "denial", ObserveLocation: "location"}

// Known says whether this version knows the kind.
func (k ObservationKind) Known() bool { return k > 0 && int(k) < len(observationNames) }

func (k ObservationKind) String() string {
	if k.Known() {
		return observationNames[k]
	}
	return "kind-" + strconv.Itoa(int(k))
}

// Reported says whether a device itself may bring the kind: silence and
// denials are the gateway's own.
func (k ObservationKind) Reported() bool {
	return k == ObserveTelemetry || k == ObserveFlows || k == ObserveLocation
}

// Limits of observations and judgements.
const (
	MaxObservation = 64 << 10 // bytes of a payload: what a frame holds besides
	MaxEvidence    = 16 << 10 // bytes of a payload that a device signs for the ledger
	MaxFinding     = 256      // bytes of one finding, and of a reason id
)

// Observation is what a gateway saw of a device, the message of a behaviour
// contract's observe: {1: kind, 2: device id (bytes 32), 3: time, ms of the
// gateway's clock, 4: payload (array)}.
type Observation struct {
	Kind    ObservationKind
	Device  Hash
	Time    int64
	Payload []byte // encoded array
}

// AppendObservation appends the encoding of o.
func AppendObservation(b []byte, o *Observation) []byte {
	b = cbor.AppendMap(b, 4)
	b = cbor.AppendUint(cbor.AppendUint(b, 1), uint64(o.Kind))
	b = cbor.AppendBytes(cbor.AppendUint(b, 2), o.Device[:])
	b = cbor.AppendInt(cbor.AppendUint(b, 3), o.Time)
	return append(cbor.AppendUint(b, 4), o.Payload...)
}

// ParseObservation reads an observation; the payload aliases b, is canonical
// and at most MaxObservation long. What stands in it is the contract's to read.
func ParseObservation(b []byte) (Observation, error) {
	var o Observation
	r := cbor.NewReader(b)
	seen := 0
	for f := r.Fields(); f.Next(); {
		seen++
		switch f.Key() {
		case 1:
			o.Kind = ObservationKind(uintUpTo(&r, math.MaxUint8))
		case 2:
			o.Device = hashOf(&r)
		case 3:
			o.Time = r.Int()
		case 4:
			o.Payload = rawArray(&r)
		default:
			r.Fail(CodeMalformed)
		}
	}
	if err := r.Done(); err != nil {
		return Observation{}, Malformed(err)
	}
	if seen != 4 || !o.Kind.Known() {
		return Observation{}, CodeBadArgument
	}
	if len(o.Payload) > MaxObservation {
		return Observation{}, CodeTooLarge
	}
	return o, nil
}

// Judgement is what a behaviour contract's observe returns: a map
//
//	1 Level
//	2 score (int): the contract's own measure, for statistics
//	3 reason (uint): the contract's own code, 0 when it has none
//	4 reason id (text): such as the name of the rule that was broken
//	5 timer, ms from now (uint): when observe is to be told of silence; absent:
//	  the timer that runs stays
//	6 findings [text …]: one for each record that is worth a word
//
// Zero fields are left out; a fine judgement of nothing is the empty map.
type Judgement struct {
	Level    Level
	Score    int64
	Reason   uint64
	ReasonID string
	Timer    uint64
	Findings []string
}

// AppendJudgement appends the encoding of j.
func AppendJudgement(b []byte, j *Judgement) []byte {
	n := 0
	for _, present := range []bool{j.Level != 0, j.Score != 0, j.Reason != 0, j.ReasonID != "", j.Timer != 0, len(j.Findings) > 0} {
		if present {
			n++
		}
	}
	b = cbor.AppendMap(b, n)
	if j.Level != 0 {
		b = cbor.AppendUint(cbor.AppendUint(b, 1), uint64(j.Level))
	}
	if j.Score != 0 {
		b = cbor.AppendInt(cbor.AppendUint(b, 2), j.Score)
	}
	if j.Reason != 0 {
		b = cbor.AppendUint(cbor.AppendUint(b, 3), j.Reason)
	}
	if j.ReasonID != "" {
		b = cbor.AppendText(cbor.AppendUint(b, 4), j.ReasonID)
	}
	if j.Timer != 0 {
		b = cbor.AppendUint(cbor.AppendUint(b, 5), j.Timer)
	}
	if len(j.Findings) > 0 {
		b = cbor.AppendArray(cbor.AppendUint(b, 6), len(j.Findings))
		for _, f := range j.Findings {
			b = cbor.AppendText(b, f)
		}
	}
	return b
}

// ParseJudgement reads the output of an observe entry. Texts are one line of at
// most MaxFinding bytes: they reach operators' terminals. As in a Verdict, a
// zero may stand where it could be absent. Every error wraps CodeBadResult.
func ParseJudgement(b []byte) (Judgement, error) {
	var j Judgement
	r := cbor.NewReader(b)
	for f := r.Fields(); f.Next(); {
		switch f.Key() {
		case 1:
			j.Level = Level(uintUpTo(&r, uint64(LevelQuarantine)))
		case 2:
			j.Score = r.Int()
		case 3:
			j.Reason = r.Uint()
		case 4:
			j.ReasonID = line(&r)
		case 5:
			j.Timer = uintUpTo(&r, math.MaxInt64)
		case 6:
			for n := r.Array(); n > 0 && r.Err() == nil; n-- {
				j.Findings = append(j.Findings, line(&r))
			}
		default:
			r.Fail(because(CodeMalformed, "field "+strconv.FormatUint(f.Key(), 10)+" is not known"))
		}
	}
	if err := r.Done(); err != nil {
		return Judgement{}, &caused{CodeBadResult, err}
	}
	return j, nil
}

// line reads a text of at most MaxFinding bytes without control characters
// (Unicode category Cc).
func line(r *cbor.Reader) string {
	s := r.Text()
	if len(s) > MaxFinding {
		r.Fail(because(CodeMalformed, "text of "+strconv.Itoa(len(s))+" bytes"))
	}
	for _, c := range s {
		if c < 0x20 || c >= 0x7f && c < 0xa0 {
			r.Fail(because(CodeMalformed, "text with a control character"))
		}
	}
	return s
}
