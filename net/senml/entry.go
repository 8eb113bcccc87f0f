package senml

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// label is a field's label as CBOR has it (section 6, table 4).
type label int64

const (
	baseVersion label = -1
	baseName    label = -2
	baseTime    label = -3
	baseUnit    label = -4
	baseValue   label = -5
	baseSum     label = -6
	name        label = 0
	unit        label = 1
	value       label = 2
	textValue   label = 3
	boolValue   label = 4
	sum         label = 5
	timeOf      label = 6
	updateTime  label = 7
	dataValue   label = 8
)

// labels are the labels of JSON (section 5).
var labels = map[string]label{
	"bver": baseVersion, "bn": baseName, "bt": baseTime, "bu": baseUnit, "bv": baseValue, "bs": baseSum,
	"n": name, "u": unit, "v": value, "vs": textValue, "vb": boolValue, "s": sum, "t": timeOf, "ut": updateTime, "vd": dataValue,
}

// kinds are the types of the fields.
var kinds = map[label]kind{
	baseVersion: number, baseName: text, baseTime: number, baseUnit: text, baseValue: number, baseSum: number,
	name: text, unit: text, value: number, textValue: text, boolValue: boolean, sum: number, timeOf: number, updateTime: number, dataValue: data,
}

type kind uint8

const (
	number kind = iota
	text
	boolean
	data
)

var kindNames = [...]string{"a number", "a text", "a boolean", "data"}

// field is a field's value; which part holds it depends on its label's kind.
type field struct {
	number cbor.Decimal
	text   string
	bool   bool
	data   []byte
}

// entry is a record as it was sent.
type entry map[label]field

// foreign refuses a label that is not among the labels, if RFC 8428 section
// 4.4 asks for that: one that ends in "_" must be understood. Others are to be
// passed over.
func foreign(name string) error {
	if strings.HasSuffix(name, "_") {
		return fmt.Errorf("the field %q must be understood and is not: %w", name, abi.CodeBadArgument)
	}
	return nil
}

func wrongKind(l label, found string) error {
	return fmt.Errorf("field %d is %s, want %s: %w", l, found, kindNames[kinds[l]], abi.CodeBadArgument)
}

// numberOf reads a number in JSON's syntax.
func numberOf(s string) (cbor.Decimal, error) {
	d, err := cbor.ParseDecimal(s)
	if err != nil {
		return d, fmt.Errorf("%.40s: %w", s, abi.CodeBadNumber)
	}
	return d, nil
}

func checkText(s string) error {
	if len(s) > MaxText {
		return fmt.Errorf("a text of %d bytes: %w", len(s), abi.CodeTooLarge)
	}
	if !utf8.ValidString(s) {
		return fmt.Errorf("a text is not UTF-8: %w", abi.CodeMalformed)
	}
	return nil
}
