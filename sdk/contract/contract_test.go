package contract_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/contract"
	"github.com/seed79541315/postern/sdk/contract/fake"
)

// inContract runs f as an execute of a contract whose owner is the caller.
func inContract(t testing.TB, f func(c *contract.Context) error) error {
	t.Helper()
	ch := fake.New()
	owner := ch.Account("owner", abi.RoleDeveloper|abi.RoleOwner)
	run := func(c *contract.Context) ([]byte, error) { return nil, f(c) }
	c, err := ch.Deploy("test", owner, fake.Code{Execute: run}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Execute(owner, nil)
	return err
}

func testKey[K any](t *testing.T, key contract.Key[K], ascending []K) {
	t.Helper()
	var last []byte
	for i, k := range ascending {
		b := key.Append([]byte("x"), k)
		got, rest, ok := key.Read(b[1:])
		if !ok || len(rest) != 0 || fmt.Sprint(got) != fmt.Sprint(k) {
			t.Errorf("%v: read %v, rest %x, %v", k, got, rest, ok)
		}
		if i > 0 && bytes.Compare(last, b) >= 0 {
			t.Errorf("%v is encoded as %x, not above %x", k, b, last)
		}
		if i > 0 && bytes.HasPrefix(b, last) {
			t.Errorf("%x begins with the key before it", b)
		}
		for n := range b[1:] {
			if _, _, ok := key.Read(b[1 : 1+n]); ok {
				t.Errorf("%v: %d bytes of %x are read as a key", k, n, b)
			}
		}
		last = b
	}
}

func TestKeys(t *testing.T) {
	testKey(t, contract.Uint64Key, []uint64{0, 1, 255, 256, 1 << 32, math.MaxUint64})
	testKey(t, contract.Int64Key, []int64{math.MinInt64, -256, -1, 0, 1, 256, math.MaxInt64})
	texts := []string{"", "\x00", "\x00\x00", "\x00\x01", "\x01", "\x01\x00", "\x02", "a", "a\x00", "a\x00b", "a\x01", "aa", "b", "é", "\xff"}
	testKey(t, contract.TextKey, texts)
	var raw [][]byte
	for _, s := range texts {
		raw = append(raw, []byte(s))
	}
	testKey(t, contract.BytesKey, raw)
	testKey(t, contract.HashKey, []contract.Hash{{}, {0, 1}, {1}, {255}})
	type pair = contract.Pair[string, int64]
	testKey(t, contract.PairKey(contract.TextKey, contract.Int64Key), []pair{{"", -1}, {"", 5}, {"a", -5}, {"a\x00", -9}, {"b", 0}})
}

// TestKeysRefuse: bytes that Append never makes are no keys.
func TestKeysRefuse(t *testing.T) {
	for _, b := range []string{"", "a", "\x01", "\x01\x00", "\x01\x03\x00", "a\x01"} {
		if k, _, ok := contract.TextKey.Read([]byte(b)); ok {
			t.Errorf("%x is read as %q", b, k)
		}
	}
}

func FuzzTextKey(f *testing.F) {
	f.Add("a", "b", []byte{1, 2, 0})
	f.Fuzz(func(t *testing.T, a, b string, hostile []byte) {
		x, y := contract.TextKey.Append(nil, a), contract.TextKey.Append(nil, b)
		if bytes.Compare(x, y) != strings.Compare(a, b) {
			t.Errorf("%q and %q are ordered as %x and %x", a, b, x, y)
		}
		if k, rest, ok := contract.TextKey.Read(hostile); ok {
			if again := contract.TextKey.Append(nil, k); !bytes.Equal(again, hostile[:len(hostile)-len(rest)]) {
				t.Errorf("%x is read as %q, which is %x", hostile, k, again)
			}
		}
	})
}

func TestCodecs(t *testing.T) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	must(testCodec(t, contract.Uint64Value, 0, math.MaxUint64))
	must(testCodec(t, contract.Int64Value, math.MinInt64, -1, math.MaxInt64))
	must(testCodec(t, contract.BoolValue, true, false))
	must(testCodec(t, contract.TextValue, "", "é", strings.Repeat("x", 1000)))
	must(testCodec(t, contract.BytesValue, []byte{}, []byte{0, 255}, make([]byte, abi.MaxValue-3)))
	must(testCodec(t, contract.DecimalValue, cbor.Decimal{}, cbor.Decimal{Exponent: -2, Mantissa: 105}, cbor.Decimal{Mantissa: -5}))
	must(testCodec(t, contract.HashValue, contract.Hash{}, contract.Hash{1, 2, 3}))
}

func testCodec[T any](t *testing.T, codec contract.Codec[T], values ...T) error {
	return inContract(t, func(*contract.Context) error {
		item := contract.NewItem("item", codec)
		if v, ok := item.Get(); ok {
			t.Errorf("found %v", v)
		}
		for _, want := range values {
			item.Set(want)
			if got, ok := item.Get(); !ok || fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("read %v, %v, want %v", got, ok, want)
			}
		}
		item.Delete()
		if _, ok := item.Get(); ok {
			t.Error("deleted, and still there")
		}
		return nil
	})
}

// TestForeignState: a value of another type ends the call with code 1.
func TestForeignState(t *testing.T) {
	for _, value := range []string{"", "\xff", "\x61", "\x01\x01", "\x63abc"} {
		err := inContract(t, func(*contract.Context) error {
			contract.Set([]byte("item"), []byte(value))
			contract.NewItem("item", contract.Uint64Value).Get()
			t.Errorf("%x was read", value)
			return nil
		})
		if f, ok := errors.AsType[*fake.Failure](err); !ok || f.Code != abi.CodeAborted || f.Abort != 1 {
			t.Errorf("%x: %v", value, err)
		}
	}
}

// TestCodecMayUseState: buffers are never handed out twice.
func TestCodecMayUseState(t *testing.T) {
	inner := contract.NewMap("inner/", contract.TextKey, contract.TextValue)
	codec := contract.Codec[string]{
		Append: func(b []byte, v string) []byte {
			for i := range 5 {
				inner.Set(fmt.Sprint(v, i), "inner "+v)
			}
			return cbor.AppendText(b, v)
		},
		Read: func(r *cbor.Reader) string {
			if s, _ := inner.Get("value3"); s != "inner value" {
				t.Errorf("the inner value is %q", s)
			}
			return r.Text()
		},
	}
	err := inContract(t, func(*contract.Context) error {
		outer := contract.NewMap("outer/", contract.TextKey, codec)
		outer.Set("key", "value")
		if v, ok := outer.Get("key"); !ok || v != "value" {
			t.Errorf("the outer value is %q, %v", v, ok)
		}
		for k, v := range outer.All() {
			if k != "key" || v != "value" {
				t.Errorf("listed %q, %q", k, v)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestMap(t *testing.T) {
	err := inContract(t, func(*contract.Context) error {
		m := contract.NewMap("m/", contract.TextKey, contract.Uint64Value)
		others := contract.NewItem("m0", contract.Uint64Value) // sorts right behind the map
		others.Set(7)
		for i, k := range []string{"b", "ab", "a", "", "abc"} {
			m.Set(k, uint64(i))
		}
		list := func(seq func(func(string, uint64) bool)) (keys []string) {
			for k := range seq {
				keys = append(keys, k)
			}
			return keys
		}
		for _, test := range []struct {
			got, want []string
		}{
			{list(m.All()), []string{"", "a", "ab", "abc", "b"}},
			{list(m.From("ab")), []string{"ab", "abc", "b"}},
			{list(m.From("aa")), []string{"ab", "abc", "b"}},
			{list(m.From("c")), nil},
			{list(contract.StartingWith(m, "a")), []string{"a", "ab", "abc"}},
			{list(contract.StartingWith(m, "x")), nil},
		} {
			if !slices.Equal(test.got, test.want) {
				t.Errorf("listed %q, want %q", test.got, test.want)
			}
		}
		for k := range m.All() { // as it was when the loop began
			m.Delete(k)
		}
		if keys := list(m.All()); keys != nil || m.Has("a") {
			t.Errorf("left: %q", keys)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestPairsAndIndex(t *testing.T) {
	type pair = contract.Pair[string, uint64]
	err := inContract(t, func(*contract.Context) error {
		m := contract.NewMap("readings/", contract.PairKey(contract.TextKey, contract.Uint64Key), contract.Int64Value)
		byDay := contract.NewIndex("by-day/", contract.Uint64Key, contract.TextKey)
		for _, sensor := range []string{"roof", "cellar", "roof\x00"} {
			for day := range uint64(3) {
				m.Set(pair{sensor, day}, int64(day)-1)
				byDay.Add(day, sensor)
			}
		}
		byDay.Remove(1, "cellar")
		got := ""
		for day, v := range contract.Under(m, contract.TextKey, "roof") {
			got += fmt.Sprint(day, "=", v, " ")
		}
		for sensor := range byDay.Of(1) {
			got += fmt.Sprintf("%q ", sensor)
		}
		if want := `0=-1 1=0 2=1 "roof" "roof\x00" `; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if byDay.Has(1, "cellar") || !byDay.Has(2, "cellar") {
			t.Error("the index has what it should not, or not what it should")
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestRefusalOf: what errors become in an outcome.
func TestRefusalOf(t *testing.T) {
	own := contract.Refuse(7, "no")
	for _, test := range []struct {
		err  error
		code uint16
		text string
	}{
		{own, 7, "no"},
		{fmt.Errorf("item 3: %w", own), 7, "item 3: no"},
		{contract.NoPolicy, abi.AbortNoPolicy, "there is no active policy"},
		{abi.CodeUnknownDevice, uint16(abi.CodeUnknownDevice), abi.CodeUnknownDevice.Error()},
		{abi.Malformed(cbor.ErrMalformed), 1, abi.Malformed(cbor.ErrMalformed).Error()},
		{cbor.Validate([]byte{0xff}), 1, cbor.Validate([]byte{0xff}).Error()},
		{errors.New("other"), 0, "other"},
	} {
		if r := contract.RefusalOf(test.err); r.Code != test.code || r.Text != test.text {
			t.Errorf("%v: %+v", test.err, r)
		}
	}
}

func TestCallerIs(t *testing.T) {
	owner, other := contract.Hash{1}, contract.Hash{2}
	for _, test := range []struct {
		c    contract.Context
		want bool
	}{
		{contract.Context{Owner: owner, Caller: &owner}, true},
		{contract.Context{Owner: owner, Caller: &other}, false},
		{contract.Context{Owner: owner}, false},
		{contract.Context{Owner: owner, Caller: &owner, Parent: "deputy"}, false},
	} {
		if got := test.c.FromOwner(); got != test.want {
			t.Errorf("%+v: %v", test.c, got)
		}
	}
}

// inputs are all shapes of an input.
func inputs() (list [][]byte) {
	caller, tx := abi.Hash{5}, abi.Hash{8}
	device := chain.Device{Owner: abi.Hash{3}, Manufacturer: "Acme", Model: "M", Serial: "1", Status: abi.StatusActive, Labels: chain.Labels{"floor": "2"}, SetBy: &caller}
	for _, in := range []abi.Input{
		{},
		{Chain: abi.Hash{1}, Height: 7, Time: -1, Contract: "c", Owner: abi.Hash{9}, Message: []byte("hello")},
		{Contract: "c", Caller: &caller, Roles: abi.AllRoles, Device: device.Append(nil), Transaction: &tx, Domain: "default"},
		{Contract: "c", Caller: &caller, ParentContract: "parent"},
		{Contract: "c", Caller: &caller, Evidence: &tx},
	} {
		list = append(list, abi.AppendInput(nil, &in))
	}
	return list
}

// FuzzParseContext: what abi reads as an input is a context that says the
// same, and no other bytes do harm.
func FuzzParseContext(f *testing.F) {
	for _, b := range inputs() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := contract.ParseContext(b)
		in, wantErr := abi.ParseInput(b)
		if wantErr != nil {
			return // a context may be read: the host's texts are not checked again
		}
		same := func(a, b *abi.Hash) bool { return a == b || a != nil && b != nil && *a == *b }
		if err != nil || c.Chain != in.Chain || c.Height != in.Height || c.Time != in.Time || c.Contract != in.Contract || c.Owner != in.Owner ||
			!same(c.Caller, in.Caller) || c.Roles != in.Roles || c.Parent != in.ParentContract || !same(c.Transaction, in.Transaction) ||
			c.Domain != in.Domain || !same(c.Evidence, in.Evidence) || !bytes.Equal(c.Message, in.Message) {
			t.Errorf("%+v, %v, want %+v", c, err, in)
		}
	})
}

// FuzzParseDevice: every record of the ledger is read as the ledger reads it.
func FuzzParseDevice(f *testing.F) {
	by := abi.Hash{7}
	for _, d := range []chain.Device{
		{Status: abi.StatusActive},
		{Owner: abi.Hash{3}, Manufacturer: "Acme", Model: "M", Serial: "1", Status: abi.StatusStolen, Labels: chain.Labels{"floor": "2", "": ""}, Reason: "r", Since: 4, SetBy: &by, Enrolled: 2},
	} {
		f.Add(d.Append(nil), "floor")
	}
	f.Fuzz(func(t *testing.T, b []byte, label string) {
		got, err := contract.ParseDevice(b)
		want, wantErr := chain.ParseDevice(b)
		if wantErr != nil {
			return // the ledger is stricter about texts and labels
		}
		if err != nil || got.Owner != want.Owner || got.Manufacturer != want.Manufacturer || got.Model != want.Model || got.Serial != want.Serial ||
			got.Status != want.Status || got.Reason != want.Reason || got.Since != want.Since || got.Enrolled != want.Enrolled ||
			(got.SetBy == nil) != (want.SetBy == nil) {
			t.Fatalf("%+v, %v, want %+v", got, err, want)
		}
		value, ok := got.Label(label)
		if wantValue, wantOK := want.Labels[label]; ok != wantOK || value != wantValue {
			t.Errorf("label %q is %q, %v", label, value, ok)
		}
	})
}

// FuzzLookup: what Lookup finds in any bytes is what a map of them holds.
func FuzzLookup(f *testing.F) {
	f.Add([]byte("\xa2\x61a\x01\x61b\x80"), "b")
	f.Fuzz(func(t *testing.T, m []byte, key string) {
		r, ok := contract.Lookup(m, key)
		if !ok {
			return
		}
		value := r.Raw()
		if r.Done() != nil || cbor.Validate(value) != nil {
			t.Errorf("%x[%q] = %x", m, key, value)
		}
	})
}

func TestLookup(t *testing.T) {
	m := []byte("\xa2\x61a\x07\x61b\x80")
	if r, ok := contract.Lookup(m, "a"); !ok || r.Uint() != 7 || r.Done() != nil {
		t.Error("a is not found")
	}
	for _, m := range [][]byte{nil, {}, {0xa0}, {0x80}, m, {0xa1, 0x01, 0x02}, {0xff}} {
		if _, ok := contract.Lookup(m, "c"); ok {
			t.Errorf("found in %x", m)
		}
	}
}

func TestParseHash(t *testing.T) {
	want := contract.Hash{0x01, 0xab}
	if h, ok := contract.ParseHash("01ab" + strings.Repeat("0", 60)); !ok || h != want {
		t.Errorf("%x, %v", h, ok)
	}
	for _, s := range []string{"", "01", "01AB" + strings.Repeat("0", 60), "g1ab" + strings.Repeat("0", 60), strings.Repeat("0", 65)} {
		if _, ok := contract.ParseHash(s); ok {
			t.Errorf("%q is a hash", s)
		}
	}
}

// TestOutsideOfCalls: the state is reached from entry points only.
func TestOutsideOfCalls(t *testing.T) {
	defer func() {
		if p := fmt.Sprint(recover()); !strings.Contains(p, "outside a contract's entry point") {
			t.Errorf("panicked with %s", p)
		}
	}()
	contract.Get([]byte("k"))
}
