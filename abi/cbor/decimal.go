package cbor

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// Decimal is the exact number Mantissa * 10^Exponent. In canonical form the
// mantissa is not divisible by ten and the exponent is negative, or the
// exponent is zero: a whole number is an integer, never a decimal fraction.
type Decimal struct {
	Exponent int64
	Mantissa int64
}

// MaxDecimalPlaces bounds a decimal's exponent to -MaxDecimalPlaces: an int64
// mantissa has at most 19 digits.
const MaxDecimalPlaces = 18

// ErrInexact is returned for a number that no int64 and no canonical decimal
// fraction holds exactly.
var ErrInexact = errors.New("number has no exact 64-bit decimal form")

// AppendDecimal appends d in canonical form: an integer when it is whole. A
// number that has no canonical form cannot come from a Reader or from
// ParseDecimal, so it is the caller's mistake and panics.
func AppendDecimal(b []byte, d Decimal) []byte {
	d = d.Canonical()
	if d.Exponent == 0 {
		return AppendInt(b, d.Mantissa)
	}
	if d.Exponent > 0 || d.Exponent < -MaxDecimalPlaces {
		panic("BUG: decimal without a canonical form: " + d.String())
	}
	b = AppendTag(b, TagDecimal)
	b = AppendArray(b, 2)
	b = AppendInt(b, d.Exponent)
	return AppendInt(b, d.Mantissa)
}

// Canonical is the same number in canonical form, or as near to it as the
// range of the mantissa allows.
func (d Decimal) Canonical() Decimal {
	if d.Mantissa == 0 {
		return Decimal{}
	}
	for d.Exponent < 0 && d.Mantissa%10 == 0 {
		d.Mantissa /= 10
		d.Exponent++
	}
	for d.Exponent > 0 && d.Mantissa >= math.MinInt64/10 && d.Mantissa <= math.MaxInt64/10 {
		d.Mantissa *= 10
		d.Exponent--
	}
	return d
}

// String writes d as a JSON number, without an exponent if d is canonical.
func (d Decimal) String() string {
	if d.Exponent == 0 {
		return strconv.FormatInt(d.Mantissa, 10)
	}
	if d.Exponent > 0 || d.Exponent < -MaxDecimalPlaces {
		return strconv.FormatInt(d.Mantissa, 10) + "e" + strconv.FormatInt(d.Exponent, 10)
	}
	neg := d.Mantissa < 0
	mag := uint64(d.Mantissa)
	if neg {
		mag = -mag
	}
	s := strconv.FormatUint(mag, 10)
	for int64(len(s)) <= -d.Exponent {
		s = "0" + s
	}
	cut := int64(len(s)) + d.Exponent
	s = s[:cut] + "." + s[cut:]
	if neg {
		return "-" + s
	}
	return s
}

// Decimal reads an integer or a decimal fraction in canonical form.
func (r *Reader) Decimal() Decimal {
	if r.Kind() != KindTag {
		return Decimal{Mantissa: r.Int()}
	}
	start := r.off
	if tag := r.Tag(); r.err == nil && tag != TagDecimal {
		r.off = start
		r.failN("tag # is not a decimal fraction", tag)
	}
	r.ArrayN(2)
	d := Decimal{Exponent: r.Int(), Mantissa: r.Int()}
	if r.err == nil && (d.Exponent >= 0 || d.Exponent < -MaxDecimalPlaces || d.Mantissa%10 == 0) {
		r.off = start
		r.fail("decimal fraction is not canonical")
	}
	if r.err != nil {
		return Decimal{}
	}
	return d
}

// ParseDecimal reads a number in JSON's syntax (RFC 8259 section 6) exactly,
// or returns ErrInexact: "1.50" is 15*10^-1, "2e3" is 2000, "-0" is 0. An
// exponent beyond 16 bits is refused even where the number would be 0.
func ParseDecimal(s string) (Decimal, error) {
	body, exp := s, int64(0)
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		e, err := strconv.ParseInt(s[i+1:], 10, 16)
		if err != nil {
			return Decimal{}, ErrInexact
		}
		body, exp = s[:i], e
	}
	body, neg := strings.CutPrefix(body, "-")
	digits, places, ok := splitPoint(body)
	if !ok {
		return Decimal{}, ErrInexact
	}
	short := strings.TrimRight(digits, "0")
	exp += int64(len(digits)-len(short)) - places
	if strings.Trim(short, "0") == "" {
		return Decimal{}, nil
	}
	mag, err := strconv.ParseUint(short, 10, 64)
	if err != nil {
		return Decimal{}, ErrInexact
	}
	return scaleDecimal(mag, exp, neg)
}

// scaleDecimal makes mag * 10^exp canonical; mag is not divisible by ten.
func scaleDecimal(mag uint64, exp int64, neg bool) (Decimal, error) {
	for ; exp > 0; exp-- {
		if mag > math.MaxUint64/10 {
			return Decimal{}, ErrInexact
		}
		mag *= 10
	}
	if exp < -MaxDecimalPlaces || mag > math.MaxInt64 && (!neg || mag > 1<<63) {
		return Decimal{}, ErrInexact
	}
	if neg {
		mag = -mag
	}
	return Decimal{Exponent: exp, Mantissa: int64(mag)}, nil
}

// splitPoint checks digits[.digits] and returns all digits and how many of
// them stand behind the point.
func splitPoint(s string) (digits string, places int64, ok bool) {
	point := -1
	for i := range len(s) {
		switch {
		case s[i] == '.' && point < 0:
			point = i
		case s[i] < '0' || s[i] > '9':
			return "", 0, false
		}
	}
	if point < 0 {
		return s, 0, len(s) > 0 && (len(s) == 1 || s[0] != '0')
	}
	ok = point > 0 && point < len(s)-1 && (point == 1 || s[0] != '0')
	return s[:point] + s[point+1:], int64(len(s) - point - 1), ok
}
