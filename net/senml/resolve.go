package senml

import (
	"fmt"
	"math/big"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// base is what base fields set for the records from there on.
type base struct {
	name, unit string
	time       cbor.Decimal
	timed      bool // a base time was given
	value, sum *cbor.Decimal
}

// resolve makes the records whole (section 4.6). A record of base fields alone
// gives none.
func resolve(entries []entry, now int64) ([]Record, error) {
	var b base
	var records []Record
	for i, e := range entries {
		if err := b.update(e); err != nil {
			return nil, fmt.Errorf("record %d: %w", i, err)
		}
		if !e.measures() {
			continue
		}
		r, err := b.apply(e, now)
		if err != nil {
			return nil, fmt.Errorf("record %d: %w", i, err)
		}
		records = append(records, r)
	}
	if len(records) == 0 {
		return nil, fmt.Errorf("a pack without a measurement: %w", abi.CodeBadArgument)
	}
	return records, nil
}

// measures says whether the record has a field that is no base field.
func (e entry) measures() bool {
	for l := range e {
		if l >= 0 {
			return true
		}
	}
	return false
}

func (b *base) update(e entry) error {
	if f, ok := e[baseVersion]; ok && (f.number.Exponent != 0 || f.number.Mantissa < 1 || f.number.Mantissa > version) {
		return fmt.Errorf("version %s is not known, only those up to %d: %w", f.number, version, abi.CodeBadArgument)
	}
	if f, ok := e[baseName]; ok {
		b.name = f.text
	}
	if f, ok := e[baseUnit]; ok {
		b.unit = f.text
	}
	if f, ok := e[baseTime]; ok {
		b.time, b.timed = f.number, true
	}
	if f, ok := e[baseValue]; ok {
		b.value = &f.number
	}
	if f, ok := e[baseSum]; ok {
		b.sum = &f.number
	}
	return nil
}

func (b *base) apply(e entry, now int64) (r Record, err error) {
	r.Name = b.name + e[name].text
	if err := checkName(r.Name); err != nil {
		return r, err
	}
	r.Unit = b.unit
	if f, ok := e[unit]; ok {
		r.Unit = f.text
	}
	if err := r.values(e); err != nil {
		return r, err
	}
	// What is missing of value and base value counts as zero (section 4.3).
	if r.Text == nil && r.Bool == nil && r.Data == nil {
		if r.Value, err = plus(r.Value, b.value); err != nil {
			return r, err
		}
	}
	if r.Sum, err = plus(r.Sum, b.sum); err != nil {
		return r, err
	}
	if r.Value == nil && r.Text == nil && r.Bool == nil && r.Data == nil && r.Sum == nil {
		return r, fmt.Errorf("%s has neither value nor sum: %w", r.Name, abi.CodeBadArgument)
	}
	r.Time, err = b.timeOf(e, now)
	return r, err
}

// values takes over the record's own value and sum.
func (r *Record) values(e entry) error {
	n := 0
	if f, ok := e[value]; ok {
		r.Value = &f.number
		n++
	}
	if f, ok := e[textValue]; ok {
		r.Text = &f.text
		n++
	}
	if f, ok := e[boolValue]; ok {
		r.Bool = &f.bool
		n++
	}
	if f, ok := e[dataValue]; ok {
		r.Data = append([]byte{}, f.data...)
		n++
	}
	if n > 1 {
		return fmt.Errorf("%s has %d values: %w", r.Name, n, abi.CodeBadArgument)
	}
	if f, ok := e[sum]; ok {
		r.Sum = &f.number
	}
	return nil
}

// relative is the time in seconds below which times count from now (section
// 4.5.3).
const relative = 1 << 28

// timeOf is the record's time in ms, rounded down, or nil where it tells none.
func (b *base) timeOf(e entry, now int64) (*int64, error) {
	own, timed := e[timeOf]
	if !timed && !b.timed {
		return nil, nil
	}
	t, err := plus(&own.number, &b.time)
	if err != nil {
		return nil, err
	}
	ms := new(big.Int).Mul(scaled(*t), big.NewInt(1000))
	ms.Div(ms, pow10(cbor.MaxDecimalPlaces)) // Euclidean: down, for a positive divisor
	if !ms.IsInt64() || ms.Int64() < -maxTime || ms.Int64() > maxTime {
		return nil, fmt.Errorf("a time of %s s: %w", t, abi.CodeBadNumber)
	}
	at := ms.Int64()
	if at < relative*1000 {
		at += now
	}
	return &at, nil
}

// maxTime is a bound of times in ms that no clock reaches, so that sums of
// times do not overflow.
const maxTime = 1 << 53

// plus adds what is there; nil where neither is.
func plus(a, b *cbor.Decimal) (*cbor.Decimal, error) {
	if a == nil || b == nil {
		if a == nil {
			a = b
		}
		return a, nil
	}
	total := new(big.Int).Add(scaled(*a), scaled(*b))
	d, err := numberOf(total.String() + "e-18")
	return &d, err
}

// scaled is d in units of 10^-18: whole for every canonical decimal.
func scaled(d cbor.Decimal) *big.Int {
	return new(big.Int).Mul(big.NewInt(d.Mantissa), pow10(cbor.MaxDecimalPlaces+d.Exponent))
}

func pow10(n int64) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(n), nil) }

// checkName holds a resolved name to section 4.5.1: it begins with a letter or
// digit and consists of those and - : . / _ only.
func checkName(s string) error {
	if len(s) > MaxName {
		return fmt.Errorf("a name of %d bytes: %w", len(s), abi.CodeTooLarge)
	}
	for i := range len(s) {
		c := s[i]
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && (i == 0 || c != '-' && c != ':' && c != '.' && c != '/' && c != '_') {
			return fmt.Errorf("%.64q is no name: %w", s, abi.CodeBadArgument)
		}
	}
	if s == "" {
		return fmt.Errorf("a record without a name: %w", abi.CodeBadArgument)
	}
	return nil
}
