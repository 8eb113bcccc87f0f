package abi

import (
	"math"

	"github.com/seed79541315/postern/abi/cbor"
)

// Report is the body of a report, what was seen of a device: a map
//
//	1 ObservationKind: one that devices may bring (Reported)
//	2 payload (array), as the kind has it
//	3 device id (bytes 32): whom it is about; absent: the sender. Only network
//	  monitors (RoleEnforcementPoint) and the device's owner speak of another
//	4 format of 5 (text): "senml+json" or "senml+cbor", with telemetry and
//	  location
//	5 SenML pack (bytes), which the gateway resolves
//	6 statement (bytes): chain.StatementReport, signed by the device's key, which
//	  may serve as evidence on the ledger
//
// Exactly one of 2, 5 and 6 says what was seen; 4 is there with 5.
type Report struct {
	Kind      ObservationKind
	Payload   []byte // encoded array
	Device    *Hash
	Format    string
	Pack      []byte
	Statement []byte
}

// AppendReport appends the encoding of p.
func AppendReport(b []byte, p *Report) []byte {
	n := 1
	for _, present := range []bool{p.Payload != nil, p.Device != nil, p.Format != "", p.Pack != nil, p.Statement != nil} {
		if present {
			n++
		}
	}
	b = cbor.AppendMap(b, n)
	b = cbor.AppendUint(cbor.AppendUint(b, 1), uint64(p.Kind))
	if p.Payload != nil {
		b = append(cbor.AppendUint(b, 2), p.Payload...)
	}
	if p.Device != nil {
		b = cbor.AppendBytes(cbor.AppendUint(b, 3), p.Device[:])
	}
	if p.Format != "" {
		b = cbor.AppendText(cbor.AppendUint(b, 4), p.Format)
	}
	if p.Pack != nil {
		b = cbor.AppendBytes(cbor.AppendUint(b, 5), p.Pack)
	}
	if p.Statement != nil {
		b = cbor.AppendBytes(cbor.AppendUint(b, 6), p.Statement)
	}
	return b
}

// ParseReport reads a report; it aliases b. The payload is canonical CBOR.
func ParseReport(b []byte) (Report, error) {
	var p Report
	r := cbor.NewReader(b)
	for f := r.Fields(); f.Next(); {
		switch f.Key() {
		case 1:
			p.Kind = ObservationKind(uintUpTo(&r, math.MaxUint8))
		case 2:
			p.Payload = rawArray(&r)
		case 3:
			h := hashOf(&r)
			p.Device = &h
		case 4:
			if p.Format = r.Text(); p.Format == "" {
				r.Fail(CodeBadArgument)
			}
		case 5:
			p.Pack = r.Bytes()
		case 6:
			p.Statement = r.Bytes()
		default:
			r.Fail(CodeMalformed)
		}
	}
	if err := r.Done(); err != nil {
		return Report{}, Malformed(err)
	}
	return p, p.check()
}

// check holds the fields of a report against each other.
func (p *Report) check() error {
	sources := 0
	for _, source := range [][]byte{p.Payload, p.Pack, p.Statement} {
		if source != nil {
			sources++
		}
	}
	switch {
	case !p.Kind.Reported():
		return because(CodeBadArgument, "reports bring no "+p.Kind.String())
	case sources != 1:
		return because(CodeBadArgument, "a report has one payload, pack or statement")
	case (p.Format != "") != (p.Pack != nil):
		return because(CodeBadArgument, "a pack and its format go together")
	case p.Pack != nil && p.Kind == ObserveFlows:
		return because(CodeBadArgument, "flows are not told in SenML")
	case len(p.Payload) > MaxObservation || len(p.Pack) > MaxObservation:
		return CodeTooLarge
	}
	return nil
}
