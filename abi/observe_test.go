package abi

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi/cbor"
)

func TestLevels(t *testing.T) {
	for l, name := range levelNames {
		if got, ok := LevelByName(name); !ok || got != Level(l) || got.String() != name {
			t.Errorf("level %d is named %q and found as %v, %v", l, name, got, ok)
		}
	}
	if _, ok := LevelByName("calm"); ok || Level(9).String() != "level-9" {
		t.Error("a level that is none has a name")
	}
	if LevelFine != 0 || LevelSuspectedStolen >= LevelQuarantine {
		t.Error("the levels do not ascend")
	}
}

func TestObservationKinds(t *testing.T) {
	for k := range ObservationKind(10) {
		if named := !strings.HasPrefix(k.String(), "kind-"); named != k.Known() || k.Reported() && !k.Known() {
			t.Errorf("kind %d: %s, known %v, reported %v", k, k, k.Known(), k.Reported())
		}
	}
	if ObserveSilence.Reported() || ObserveDenial.Reported() {
		t.Error("a device reports what only its gateway knows")
	}
}

func TestObservationRefused(t *testing.T) {
	good := Observation{Kind: ObserveTelemetry, Device: hash("device"), Time: 1, Payload: []byte{0x80}}
	enc := func(change func(*Observation)) []byte {
		o := good
		change(&o)
		return AppendObservation(nil, &o)
	}
	for name, tt := range map[string]struct {
		in   []byte
		want Code
	}{
		"no kind":       {enc(func(o *Observation) { o.Kind = 0 }), CodeBadArgument},
		"unknown kind":  {enc(func(o *Observation) { o.Kind = ObserveLocation + 1 }), CodeBadArgument},
		"a map":         {enc(func(o *Observation) { o.Payload = []byte{0xa0} }), CodeMalformed},
		"too much":      {enc(func(o *Observation) { o.Payload = cbor.AppendBytes([]byte{0x81}, make([]byte, MaxObservation)) }), CodeTooLarge},
		"one field":     {[]byte{0xa1, 1, 1}, CodeBadArgument},
		"unknown field": {append([]byte{0xa5}, append(enc(func(*Observation) {})[1:], 5, 0)...), CodeMalformed},
		"a wide kind":   {bytes.Replace(enc(func(*Observation) {}), []byte{1, 1, 2}, []byte{1, 0x19, 1, 1, 2}, 1), CodeMalformed},
	} {
		if _, err := ParseObservation(tt.in); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}

// A judgement's texts reach terminals: they are single lines of bounded length.
func TestJudgementRefused(t *testing.T) {
	for name, j := range map[string]Judgement{
		"a level that is none":   {Level: LevelQuarantine + 1},
		"a long reason":          {ReasonID: strings.Repeat("x", MaxFinding+1)},
		"an escape":              {ReasonID: "a\x1b[2Jb"},
		"two lines":              {Findings: []string{"a", "b\nc"}},
		"a C1 control character": {Findings: []string{"\u009b31m"}},
		"a timer past all time":  {Timer: math.MaxInt64 + 1},
	} {
		if _, err := ParseJudgement(AppendJudgement(nil, &j)); !errors.Is(err, CodeBadResult) {
			t.Errorf("%s: %v", name, err)
		}
	}
	most := Judgement{ReasonID: strings.Repeat("x", MaxFinding), Findings: []string{"ä€", ""}, Timer: math.MaxInt64, Score: math.MinInt64}
	if got, err := ParseJudgement(AppendJudgement(nil, &most)); err != nil || got.ReasonID != most.ReasonID || len(got.Findings) != 2 || got.Score != most.Score {
		t.Errorf("%+v, %v", got, err)
	}
}
