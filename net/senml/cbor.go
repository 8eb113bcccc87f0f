package senml

import (
	"fmt"
	"math"
	"math/big"
	"strconv"

	fx "github.com/fxamacker/cbor/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// decoding reads what devices send: RFC 8428 section 6 asks for no canonical
// form, so floats, indefinite lengths and long heads are fine here. Repeated
// fields are not.
var decoding = func() fx.DecMode {
	mode, err := fx.DecOptions{
		DupMapKey: fx.DupMapKeyEnforcedAPF, MaxArrayElements: MaxRecords, MaxMapPairs: 64, MaxNestedLevels: 8,
		UTF8: fx.UTF8RejectInvalid,
	}.DecMode()
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return mode
}()

// parseCBOR reads a pack in CBOR.
func parseCBOR(pack []byte) ([]entry, error) {
	var raw []map[any]fx.RawMessage
	if err := decoding.Unmarshal(pack, &raw); err != nil {
		return nil, fmt.Errorf("%w: %w", err, abi.CodeMalformed)
	}
	entries := make([]entry, len(raw))
	for i, fields := range raw {
		e, err := cborEntry(fields)
		if err != nil {
			return nil, fmt.Errorf("record %d: %w", i, err)
		}
		entries[i] = e
	}
	return entries, nil
}

func cborEntry(fields map[any]fx.RawMessage) (entry, error) {
	if fields == nil {
		return nil, fmt.Errorf("a record is a map: %w", abi.CodeBadArgument)
	}
	e := entry{}
	for key, raw := range fields {
		l, known, err := cborLabel(key)
		if err != nil {
			return nil, err
		}
		if !known {
			continue
		}
		if _, twice := e[l]; twice {
			return nil, fmt.Errorf("field %d is repeated: %w", l, abi.CodeMalformed)
		}
		if e[l], err = cborField(raw, l); err != nil {
			return nil, fmt.Errorf("field %d: %w", l, err)
		}
	}
	return e, nil
}

// cborLabel tells the label that a key stands for: section 6 has integers in
// place of the labels of JSON, and texts for those that are not in its table.
func cborLabel(key any) (l label, known bool, err error) {
	switch key := key.(type) {
	case uint64:
		l = label(min(key, math.MaxInt64))
	case int64:
		l = label(key)
	case string:
		if l, known = labels[key]; !known {
			err = foreign(key)
		}
		return l, known, err
	default:
		return 0, false, fmt.Errorf("a key is neither integer nor text: %w", abi.CodeBadArgument)
	}
	_, known = kinds[l]
	return l, known, nil
}

func cborField(raw fx.RawMessage, l label) (f field, err error) {
	var v any
	if err := decoding.Unmarshal(raw, &v); err != nil {
		return f, fmt.Errorf("%w: %w", err, abi.CodeMalformed)
	}
	switch kinds[l] {
	case number:
		f.number, err = cborNumber(v, raw, l)
		return f, err
	case text:
		s, ok := v.(string)
		if !ok {
			return f, wrongKind(l, fmt.Sprintf("%T", v))
		}
		f.text, err = s, checkText(s)
	case boolean:
		b, ok := v.(bool)
		if !ok {
			return f, wrongKind(l, fmt.Sprintf("%T", v))
		}
		f.bool = b
	case data:
		b, ok := v.([]byte)
		if !ok {
			return f, wrongKind(l, fmt.Sprintf("%T", v))
		}
		if len(b) > MaxText {
			return f, fmt.Errorf("%d bytes of data: %w", len(b), abi.CodeTooLarge)
		}
		f.data = b
	}
	return f, err
}

// cborNumber is the exact number that an item holds. A float stands for the
// shortest decimal that is read back as the same float of its size: what the
// device most likely measured.
func cborNumber(v any, raw fx.RawMessage, l label) (cbor.Decimal, error) {
	switch v := v.(type) {
	case uint64:
		return numberOf(strconv.FormatUint(v, 10))
	case int64:
		return cbor.Decimal{Mantissa: v}, nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return cbor.Decimal{}, fmt.Errorf("%v is no number: %w", v, abi.CodeBadNumber)
		}
		return shortest(v, raw[0])
	case fx.Tag:
		return decimalFraction(v)
	case big.Int:
		return numberOf(v.String())
	}
	return cbor.Decimal{}, wrongKind(l, fmt.Sprintf("%T", v))
}

// The first bytes of floats of 16 and 32 bits.
const (
	half   = 0xf9
	single = 0xfa
)

// shortest is the decimal of a float whose encoding begins with a byte.
func shortest(v float64, first byte) (cbor.Decimal, error) {
	switch first {
	case half:
		return shortestHalf(v)
	case single:
		return numberOf(strconv.FormatFloat(v, 'e', -1, 32))
	}
	return numberOf(strconv.FormatFloat(v, 'e', -1, 64))
}

// shortestHalf tries with more and more digits: five tell any two halves
// apart.
func shortestHalf(v float64) (cbor.Decimal, error) {
	for digits := range 5 {
		s := strconv.FormatFloat(v, 'e', digits, 64)
		if got, err := strconv.ParseFloat(s, 64); err == nil && roundHalf(got) == v {
			return numberOf(s)
		}
	}
	panic("BUG: no five digits give the half " + strconv.FormatFloat(v, 'g', -1, 64))
}

// roundHalf rounds to the 11 bits of a half, the lowest worth 2^-24 at least.
func roundHalf(v float64) float64 {
	if v == 0 {
		return 0
	}
	exponent := max(math.Ilogb(v)-10, -24)
	return math.Ldexp(math.RoundToEven(math.Ldexp(v, -exponent)), exponent)
}

// decimalFraction is [exponent, mantissa] under tag 4 (RFC 8949 section
// 3.4.4), in any form.
func decimalFraction(t fx.Tag) (cbor.Decimal, error) {
	parts, ok := t.Content.([]any)
	if t.Number != cbor.TagDecimal || !ok || len(parts) != 2 {
		return cbor.Decimal{}, fmt.Errorf("tag %d: %w", t.Number, abi.CodeBadNumber)
	}
	exponent, ok := integer(parts[0])
	mantissa, fits := integer(parts[1])
	if !ok || !fits {
		return cbor.Decimal{}, fmt.Errorf("a decimal fraction of other than integers: %w", abi.CodeBadNumber)
	}
	return numberOf(strconv.FormatInt(mantissa, 10) + "e" + strconv.FormatInt(exponent, 10))
}

func integer(v any) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case uint64:
		return int64(v), v <= math.MaxInt64
	}
	return 0, false
}
