// Package senml reads Sensor Measurement Lists (RFC 8428) as devices send
// them, in JSON or CBOR, and gives them resolved: each record with its whole
// name, time and unit and with what the base fields add, as the payload of an
// observation.
//
// Numbers stay exact. A JSON number is an integer or a decimal fraction; a
// CBOR float becomes the shortest decimal that reads back as the same float. A
// number that 64 bits do not hold that way is refused with abi.CodeBadNumber.
//
// The caller's duty: Parse trusts nothing in its input, but the names and
// times are the device's own word.
package senml

import (
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// The limits of a pack: a report fits one frame of the device port.
const (
	MaxPack    = 64 << 10 // bytes
	MaxRecords = 256
	MaxName    = 256     // bytes of a resolved name; RFC 8428 has no limit
	MaxText    = 4 << 10 // bytes of a text or data value
)

// version is the highest SenML version that is understood (section 4.4).
const version = 10

// Format is how a pack is encoded.
type Format uint8

// The formats, by their content types.
const (
	JSON Format = iota + 1 // application/senml+json
	CBOR                   // application/senml+cbor
)

// FormatOf is the format of a content type, or of the part behind the slash.
func FormatOf(contentType string) (Format, bool) {
	switch contentType {
	case "application/senml+json", "senml+json":
		return JSON, true
	case "application/senml+cbor", "senml+cbor":
		return CBOR, true
	}
	return 0, false
}

// Record is a resolved record. It has one of Value, Text, Bool and Data, or
// only a Sum.
type Record struct {
	Name  string
	Time  *int64 // ms since 1970; nil where the record tells none: when it arrived
	Unit  string
	Value *cbor.Decimal
	Text  *string
	Bool  *bool
	Data  []byte // nil where there is none
	Sum   *cbor.Decimal
}

// Parse reads a pack and resolves it. now, in ms since 1970, is what relative
// times count from. Errors are, or wrap, abi.CodeTooLarge, CodeBadNumber,
// CodeBadArgument (a rule of RFC 8428 is broken) and CodeMalformed; they name
// the record.
func Parse(format Format, pack []byte, now int64) ([]Record, error) {
	if len(pack) > MaxPack {
		return nil, fmt.Errorf("pack of %d bytes: %w", len(pack), abi.CodeTooLarge)
	}
	var entries []entry
	var err error
	switch format {
	case JSON:
		entries, err = parseJSON(pack)
	case CBOR:
		entries, err = parseCBOR(pack)
	default:
		err = fmt.Errorf("format %d: %w", format, abi.CodeBadArgument)
	}
	if err != nil {
		return nil, err
	}
	return resolve(entries, now)
}

// AppendPayload appends the payload of a telemetry observation: an array of
// maps
//
//	1 name (text)               5 text
//	2 time, ms (int, optional)  6 bool
//	3 unit (text, optional)     7 data (bytes)
//	4 value (int or decimal)    8 sum (int or decimal)
func AppendPayload(b []byte, records []Record) []byte {
	b = cbor.AppendArray(b, len(records))
	for i := range records {
		b = records[i].append(b)
	}
	return b
}

func (r *Record) append(b []byte) []byte {
	n := 1
	for _, present := range []bool{r.Time != nil, r.Unit != "", r.Value != nil, r.Text != nil, r.Bool != nil, r.Data != nil, r.Sum != nil} {
		if present {
			n++
		}
	}
	b = cbor.AppendText(cbor.AppendUint(cbor.AppendMap(b, n), 1), r.Name)
	if r.Time != nil {
		b = cbor.AppendInt(cbor.AppendUint(b, 2), *r.Time)
	}
	if r.Unit != "" {
		b = cbor.AppendText(cbor.AppendUint(b, 3), r.Unit)
	}
	if r.Value != nil {
		b = cbor.AppendDecimal(cbor.AppendUint(b, 4), *r.Value)
	}
	if r.Text != nil {
		b = cbor.AppendText(cbor.AppendUint(b, 5), *r.Text)
	}
	if r.Bool != nil {
		b = cbor.AppendBool(cbor.AppendUint(b, 6), *r.Bool)
	}
	if r.Data != nil {
		b = cbor.AppendBytes(cbor.AppendUint(b, 7), r.Data)
	}
	if r.Sum != nil {
		b = cbor.AppendDecimal(cbor.AppendUint(b, 8), *r.Sum)
	}
	return b
}
