package cbor

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"
	"unsafe"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestIntegers holds the encodings of RFC 8949 appendix A and every edge
// between two lengths of head.
func TestIntegers(t *testing.T) {
	tests := map[int64]string{
		0: "00", 1: "01", 10: "0a", 23: "17", 24: "1818", 25: "1819", 100: "1864", 255: "18ff", 256: "190100",
		1000: "1903e8", 65535: "19ffff", 65536: "1a00010000", 1000000: "1a000f4240", math.MaxUint32: "1affffffff",
		math.MaxUint32 + 1: "1b0000000100000000", 1000000000000: "1b000000e8d4a51000", math.MaxInt64: "1b7fffffffffffffff",
		-1: "20", -10: "29", -24: "37", -25: "3818", -100: "3863", -256: "38ff", -257: "390100", -1000: "3903e7",
		math.MinInt64: "3b7fffffffffffffff",
	}
	for v, want := range tests {
		enc := AppendInt(nil, v)
		if hex.EncodeToString(enc) != want {
			t.Errorf("AppendInt(%d) = %x, want %s", v, enc, want)
		}
		r := NewReader(enc)
		if got := r.Int(); got != v || r.Done() != nil {
			t.Errorf("Int(%x) = %d, %v", enc, got, r.Err())
		}
	}
	r := NewReader(AppendUint(nil, math.MaxUint64))
	if got := r.Uint(); got != math.MaxUint64 || r.Done() != nil {
		t.Errorf("Uint of the largest = %d, %v", got, r.Err())
	}
}

// TestIntRefuses64BitOverflow: integers of the protocol are int64 or uint64;
// anything between must not wrap.
func TestIntRefuses64BitOverflow(t *testing.T) {
	for _, in := range []string{"1b8000000000000000", "1bffffffffffffffff", "3b8000000000000000", "3bffffffffffffffff"} {
		r := NewReader(unhex(t, in))
		if v := r.Int(); v != 0 || !errors.Is(r.Err(), ErrMalformed) || r.Offset() != 0 {
			t.Errorf("Int(%s) = %d, %v at %d", in, v, r.Err(), r.Offset())
		}
	}
	r := NewReader(unhex(t, "20"))
	if v := r.Uint(); v != 0 || r.Err() == nil {
		t.Errorf("Uint(-1) = %d, %v", v, r.Err())
	}
}

// TestFirstErrorSticks: after an error every read is a zero value and the
// error stays the first one.
func TestFirstErrorSticks(t *testing.T) {
	r := NewReader(unhex(t, "83 f5 6161 4162"))
	r.ArrayN(2)
	first := r.Err()
	if first == nil {
		t.Fatal("an array of another length was accepted")
	}
	if r.Bool() || r.Text() != "" || r.Bytes() != nil || r.Uint() != 0 || r.Int() != 0 || r.Tag() != 0 || r.Array() != 0 ||
		r.Map() != 0 || r.Raw() != nil || r.RawTextMap() != nil || r.Decimal() != (Decimal{}) || r.Kind() != KindNone {
		t.Error("a read after an error returned something")
	}
	r.Null()
	r.Fail(errors.New("later"))
	for f := r.Fields(); f.Next(); {
		t.Error("Fields went on after an error")
	}
	if r.Done() != first {
		t.Errorf("error became %v, first was %v", r.Done(), first)
	}
}

// TestReaderBorrows: strings alias the input and cannot be appended to beyond
// their end.
func TestReaderBorrows(t *testing.T) {
	in := unhex(t, "82 426162 426364")
	r := NewReader(in)
	r.ArrayN(2)
	a := r.Bytes()
	_ = append(a, 'X')
	if b := r.Bytes(); string(b) != "cd" || &in[2] != &a[0] {
		t.Errorf("second string is %q after an append to the first", b)
	}
	r = NewReader(in)
	r.ArrayN(2)
	raw := r.Raw()
	_ = append(raw, 'X')
	if r.Text(); in[4] != 0x42 {
		t.Error("an append to Raw's result wrote into the input")
	}
}

// TestCountsAreBounded: a count never exceeds what the bytes that are left can
// hold, so parsers may allocate by it.
func TestCountsAreBounded(t *testing.T) {
	for _, in := range []string{"9b7fffffffffffffff", "bb7fffffffffffffff", "9bffffffffffffffff", "82 00", "a2 00 00 01",
		"5bffffffffffffffff", "7b7fffffffffffffff", "9a00010000 00"} {
		r := NewReader(unhex(t, in))
		if n := r.Array() + r.Map() + len(r.Bytes()) + len(r.Text()); n != 0 || r.Err() == nil {
			t.Errorf("%s: count %d, %v", in, n, r.Err())
		}
		if allocs := testing.AllocsPerRun(10, func() { _ = Validate(unhex(t, in)) }); allocs > 20 {
			t.Errorf("%s: %v allocations", in, allocs)
		}
	}
}

func TestFields(t *testing.T) {
	r := NewReader(unhex(t, "a3 01 05 0a 6161 1818 f5"))
	var keys []uint64
	for f := r.Fields(); f.Next(); {
		keys = append(keys, f.Key())
		r.Skip()
	}
	if err := r.Done(); err != nil || len(keys) != 3 || keys[2] != 24 {
		t.Errorf("keys %v, %v", keys, err)
	}
	for _, bad := range []string{"a2 01 00 01 00", "a2 02 00 01 00", "a1 6161 00", "a1 20 00", "a1 1bffffffffffffffff 00", "a1 01", "80"} {
		r := NewReader(unhex(t, bad))
		for f := r.Fields(); f.Next(); {
			r.Skip()
		}
		if !errors.Is(r.Done(), ErrMalformed) {
			t.Errorf("%s: %v", bad, r.Done())
		}
	}
}

func TestRawTextMap(t *testing.T) {
	good := unhex(t, "a2 6161 a1 01 02 6162 80")
	r := NewReader(good)
	if raw := r.RawTextMap(); !bytes.Equal(raw, good) || r.Done() != nil {
		t.Errorf("%x, %v", raw, r.Err())
	}
	for _, bad := range []string{"80", "00", "", "a1 01 02", "a2 01 02 6161 00", "a2 6162 00 6161 00", "a1 4161 00", "a1 6161"} {
		r := NewReader(unhex(t, bad))
		if raw := r.RawTextMap(); raw != nil || !errors.Is(r.Err(), ErrMalformed) {
			t.Errorf("%s: %x, %v", bad, raw, r.Err())
		}
	}
}

// nested returns depth arrays around one integer.
func nested(depth int) []byte { return append(bytes.Repeat([]byte{0x81}, depth), 0) }

func TestDepthAndItemCaps(t *testing.T) {
	if err := Validate(nested(MaxDepth)); err != nil {
		t.Errorf("depth %d: %v", MaxDepth, err)
	}
	if err := Validate(nested(MaxDepth + 1)); err == nil {
		t.Errorf("depth %d was accepted", MaxDepth+1)
	}
	if err := Validate(nested(1 << 20)); err == nil {
		t.Error("a million levels were accepted")
	}
	full := append(AppendArray(nil, MaxItems-1), make([]byte, MaxItems-1)...)
	if err := Validate(full); err != nil {
		t.Errorf("%d items: %v", MaxItems, err)
	}
	over := append(AppendArray(nil, MaxItems), make([]byte, MaxItems)...)
	if err := Validate(over); err == nil {
		t.Errorf("%d items were accepted", MaxItems+1)
	}
	r := NewReader(append(AppendText(AppendMap(nil, 1), "k"), over...))
	if r.RawTextMap(); r.Err() == nil {
		t.Error("RawTextMap has no cap on items")
	}
}

func TestDecimalEncoding(t *testing.T) {
	tests := []struct {
		d    Decimal
		want string
		text string
	}{
		{Decimal{-2, 27315}, "c4 82 21 196ab3", "273.15"}, // RFC 8949 section 3.4.4
		{Decimal{-1, 15}, "c4 82 20 0f", "1.5"},
		{Decimal{-1, -5}, "c4 82 20 24", "-0.5"},
		{Decimal{-18, 1}, "c4 82 31 01", "0.000000000000000001"},
		{Decimal{-18, math.MinInt64}, "c4 82 31 3b7fffffffffffffff", "-9.223372036854775808"},
		{Decimal{-3, 1500}, "c4 82 20 0f", "1.5"},
		{Decimal{-3, 2000}, "02", "2"},
		{Decimal{2, 3}, "19012c", "300"},
		{Decimal{-9, 0}, "00", "0"},
		{Decimal{math.MinInt64, 0}, "00", "0"},
		{Decimal{math.MaxInt64, 0}, "00", "0"},
	}
	for _, tt := range tests {
		enc := AppendDecimal(nil, tt.d)
		if !bytes.Equal(enc, unhex(t, tt.want)) {
			t.Errorf("AppendDecimal(%v) = %x, want %s", tt.d, enc, tt.want)
		}
		r := NewReader(enc)
		if got := r.Decimal(); got != tt.d.Canonical() || r.Done() != nil || got.String() != tt.text {
			t.Errorf("%x reads as %v = %s, %v", enc, got, got, r.Err())
		}
	}
	for _, d := range []Decimal{{-19, 1}, {19, 1}, {1, math.MaxInt64}, {math.MinInt64, 7}, {math.MaxInt64, 7}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("AppendDecimal(%v) wrote a number that no reader accepts", d)
				}
			}()
			AppendDecimal(nil, d)
		}()
	}
}

func TestParseDecimal(t *testing.T) {
	good := map[string]Decimal{
		"0": {}, "-0": {}, "0.000": {}, "-0.0e5": {}, "1": {0, 1}, "1.50": {-1, 15}, "2e3": {0, 2000}, "2E+3": {0, 2000},
		"1.5e-1": {-2, 15}, "100e-2": {0, 1}, "1000e-4": {-1, 1}, "0.1e1": {0, 1}, "-12.340": {-2, -1234},
		"9223372036854775807": {0, math.MaxInt64}, "-9223372036854775808": {0, math.MinInt64},
		"-9.223372036854775808": {-18, math.MinInt64}, "1e18": {0, 1e18}, "1e-18": {-18, 1},
		"1.000000000000000000000000": {0, 1}, "10000000000000000000000e-22": {0, 1},
	}
	for in, want := range good {
		if got, err := ParseDecimal(in); err != nil || got != want {
			t.Errorf("ParseDecimal(%q) = %v, %v, want %v", in, got, err, want)
		}
	}
	bad := []string{"", "-", "+1", ".5", "5.", "1..2", "1.2.3", "01", "-01", "00", "00.5", "1e", "e1", "1e+", "1e1.5", "1e1e1", "--1",
		"0x10", "1_0", "NaN", "Infinity", " 1", "1 ", "9223372036854775808", "-9223372036854775809", "1e19", "1e-19", "1e99999", "1e-99999",
		"0.1234567890123456789", "12345678901234567890.1", "1,5", "١"}
	for _, in := range bad {
		if got, err := ParseDecimal(in); err != ErrInexact {
			t.Errorf("ParseDecimal(%q) = %v, %v", in, got, err)
		}
	}
}

// TestBorrowingReader: texts lie in the input, and are checked as ever.
func TestBorrowingReader(t *testing.T) {
	b := AppendText(nil, "door")
	r := NewBorrowingReader(b)
	text := r.Text()
	if err := r.Done(); err != nil || text != "door" {
		t.Fatalf("%q, %v", text, err)
	}
	if unsafe.StringData(text) != &b[1] {
		t.Error("the text was copied")
	}
	r = NewBorrowingReader([]byte{0x61, 0xff})
	if text := r.Text(); text != "" || r.Err() == nil {
		t.Errorf("%q is no UTF-8, %v", text, r.Err())
	}
}

// FuzzCheckedReader: it reads what Validate accepts as every reader does, and
// never leaves the buffer.
func FuzzCheckedReader(f *testing.F) {
	for _, b := range []string{"\xa2\x61a\x01\x61b\x82\xc4\x82\x20\x05\xf6", "\x9b\xff\xff\xff\xff\xff\xff\xff\xff", "\xbb\x7f\xff\xff\xff\xff\xff\xff\xff", "\x82\x01", "\x78\x20", "\xff"} {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewCheckedReader(b)
		raw := r.Raw()
		err := r.Done()
		if Validate(b) == nil && (err != nil || !bytes.Equal(raw, b)) {
			t.Errorf("%x is read as %x, %v", b, raw, err)
		}
		if raw != nil && !bytes.HasPrefix(b, raw) || r.Offset() > len(b) {
			t.Errorf("%x is read as %x, up to %d", b, raw, r.Offset())
		}
	})
}
