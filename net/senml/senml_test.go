package senml_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	fx "github.com/fxamacker/cbor/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/net/senml"
)

// now is the time of the resolved examples whose raw form has none.
const now = 1_498_780_179_000

func show(records []senml.Record) string {
	b, err := cbor.AppendAsJSON(nil, senml.AppendPayload(nil, records))
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// The examples of RFC 8428 resolve to what its section 5.1 shows. The resolved
// packs have absolute times; a record that tells none keeps none here, and the
// RFC's stand for it at the time of arrival.
func TestExamplesOfTheRFC(t *testing.T) {
	for _, name := range []string{"ex1", "ex2", "ex3", "ex6"} {
		got, want := parseFile(t, name+".json"), parseFile(t, name+".resolved.json")
		for i := range got {
			if got[i].Time == nil {
				at := int64(now)
				got[i].Time = &at
			}
		}
		if show(got) != show(want) {
			t.Errorf("%s:\n%s\nwant\n%s", name, show(got), show(want))
		}
	}
}

func parseFile(t *testing.T, name string) []senml.Record {
	t.Helper()
	pack, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	records, err := senml.Parse(senml.JSON, pack, now)
	if err != nil {
		t.Fatal(err)
	}
	return records
}

// transcode writes a pack of JSON as CBOR with integer labels and floats of 64
// bits, as a device might.
func transcode(t testing.TB, pack string) []byte {
	t.Helper()
	keys := map[string]int{"bver": -1, "bn": -2, "bt": -3, "bu": -4, "bv": -5, "bs": -6, "n": 0, "u": 1, "v": 2, "vs": 3, "vb": 4, "s": 5, "t": 6, "ut": 7}
	var in []map[string]any
	if err := json.Unmarshal([]byte(pack), &in); err != nil {
		t.Fatal(err)
	}
	out := make([]map[any]any, len(in))
	for i, r := range in {
		out[i] = map[any]any{}
		for k, v := range r {
			if n, ok := keys[k]; ok {
				out[i][n] = v
			} else {
				out[i][k] = v
			}
		}
	}
	b, err := fx.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Both formats mean the same.
func TestCBORMeansWhatJSONDoes(t *testing.T) {
	packs := []string{
		`[{"n":"a","v":20.1},{"n":"b","vs":"on"},{"n":"c","vb":true},{"n":"d","s":3,"v":-0.5}]`,
		`[{"bn":"x:","bt":1276020076.001,"bu":"A","bv":100,"bs":0.25,"n":"a","v":1.5,"s":2},{"n":"b","v":-7,"t":-5,"u":"V"}]`,
	}
	for _, name := range []string{"ex1", "ex2", "ex3", "ex6"} {
		src, err := os.ReadFile(filepath.Join("testdata", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		packs = append(packs, string(src))
	}
	for _, pack := range packs {
		a, err := senml.Parse(senml.JSON, []byte(pack), now)
		if err != nil {
			t.Fatalf("%s: %v", pack, err)
		}
		b, err := senml.Parse(senml.CBOR, transcode(t, pack), now)
		if err != nil || show(a) != show(b) {
			t.Errorf("%v\n%s\n%s", err, show(a), show(b))
		}
	}
}

func TestResolution(t *testing.T) {
	for pack, want := range map[string]string{
		// Base value and base sum are added; what is missing of the two is zero.
		`[{"bn":"m","bv":100,"bs":7,"n":"a","v":0.25,"s":1},{"n":"b","s":2},{"n":"c","vs":"x"}]`: `[{"1":"ma","4":100.25,"8":8},{"1":"mb","4":100,"8":9},{"1":"mc","5":"x","8":7}]`,
		// A record of base fields alone measures nothing, and a later base replaces.
		`[{"bn":"a:","bu":"W"},{"n":"x","v":1},{"bn":"b:","n":"x","v":2,"u":"V"}]`: `[{"1":"a:x","3":"W","4":1},{"1":"b:x","3":"V","4":2}]`,
		// Times below 2^28 s count from now, also through the base.
		`[{"n":"a","v":1,"t":-1.5},{"bt":-10,"n":"a","v":2,"t":0.5}]`:                  `[{"1":"a","2":1498780177500,"4":1},{"1":"a","2":1498780169500,"4":2}]`,
		`[{"n":"a","v":1,"t":268435455},{"n":"a","v":1,"t":268435456}]`:                `[{"1":"a","2":1767215634000,"4":1},{"1":"a","2":268435456000,"4":1}]`,
		`[{"n":"a","v":1,"t":1276020076.0019},{"n":"a","v":1,"t":-0.0001}]`:            `[{"1":"a","2":1276020076001,"4":1},{"1":"a","2":1498780178999,"4":1}]`,
		`[{"n":"a","vd":"AQI"},{"n":"b","vb":false},{"n":"c","v":1,"ut":60,"new":[]}]`: `[{"1":"a","7":"AQI"},{"1":"b","6":false},{"1":"c","4":1}]`,
		`[{"n":"a","v":0.1},{"n":"a","v":0.2e2},{"n":"a","v":-9223372036854775808}]`:   `[{"1":"a","4":0.1},{"1":"a","4":20},{"1":"a","4":-9223372036854775808}]`,
	} {
		records, err := senml.Parse(senml.JSON, []byte(pack), now)
		if got := show(records); err != nil || got != want {
			t.Errorf("%s: %v\n%s\n%s", pack, err, got, want)
		}
	}
}

func TestRefusals(t *testing.T) {
	many := strings.Repeat(`{"n":"a","v":1},`, senml.MaxRecords)
	for pack, want := range map[string]abi.Code{
		`[{"n":"a","v":1e300}]`:                      abi.CodeBadNumber,
		`[{"n":"a","v":1e-19}]`:                      abi.CodeBadNumber,
		`[{"n":"a","v":9223372036854775808}]`:        abi.CodeBadNumber,
		`[{"n":"a","v":9223372036854775807,"bv":1}]`: abi.CodeBadNumber,
		`[{"n":"a","v":1,"t":1e17}]`:                 abi.CodeBadNumber,
		`[{"n":"a","v":1,"v":2}]`:                    abi.CodeMalformed,
		`[{"n":"a","v":1}`:                           abi.CodeMalformed,
		`[{"n":"a","v":1}] []`:                       abi.CodeMalformed,
		`{"n":"a","v":1}`:                            abi.CodeBadArgument,
		`[1]`:                                        abi.CodeBadArgument,
		`[]`:                                         abi.CodeBadArgument,
		`[{}]`:                                       abi.CodeBadArgument,
		`[{"bn":"a"}]`:                               abi.CodeBadArgument,
		`[{"n":"a"}]`:                                abi.CodeBadArgument,
		`[{"v":1}]`:                                  abi.CodeBadArgument,
		`[{"n":":a","v":1}]`:                         abi.CodeBadArgument,
		`[{"n":"a b","v":1}]`:                        abi.CodeBadArgument,
		`[{"n":"ä","v":1}]`:                          abi.CodeBadArgument,
		`[{"n":"a","v":1,"vs":"x"}]`:                 abi.CodeBadArgument,
		`[{"n":"a","v":"1"}]`:                        abi.CodeBadArgument,
		`[{"n":"a","v":null}]`:                       abi.CodeBadArgument,
		`[{"n":1,"v":1}]`:                            abi.CodeBadArgument,
		`[{"n":"a","vb":1}]`:                         abi.CodeBadArgument,
		`[{"n":"a","vd":"AQI="}]`:                    abi.CodeBadArgument,
		`[{"n":"a","vd":"A+/="}]`:                    abi.CodeBadArgument,
		`[{"n":"a","v":1,"need_":1}]`:                abi.CodeBadArgument,
		`[{"bver":11,"n":"a","v":1}]`:                abi.CodeBadArgument,
		`[{"bver":0.5,"n":"a","v":1}]`:               abi.CodeBadArgument,
		"[" + many + `{"n":"a","v":1}]`:              abi.CodeTooLarge,
		`[{"n":"` + strings.Repeat("a", senml.MaxName+1) + `","v":1}]`:    abi.CodeTooLarge,
		`[{"n":"a","vs":"` + strings.Repeat("a", senml.MaxText+1) + `"}]`: abi.CodeTooLarge,
		`[{"n":"a","v":1}]` + strings.Repeat(" ", senml.MaxPack):          abi.CodeTooLarge,
	} {
		records, err := senml.Parse(senml.JSON, []byte(pack), now)
		if !errors.Is(err, want) {
			t.Errorf("%.60s: %v, %s; want %v", pack, err, show(records), want)
		}
	}
	if _, err := senml.Parse(senml.JSON, []byte("["+strings.TrimSuffix(many, ",")+"]"), now); err != nil {
		t.Errorf("%d records: %v", senml.MaxRecords, err)
	}
}

func TestRefusalsOfCBOR(t *testing.T) {
	for pack, want := range map[string]abi.Code{
		"":                                       abi.CodeMalformed,
		"81a20061610201" + "00":                  abi.CodeMalformed, // a byte after the pack
		"81a3006161020102" + "02":                abi.CodeMalformed, // 2 twice
		"81a300616102016176" + "01":              abi.CodeMalformed, // 2 and "v"
		"81a200616102f97e00":                     abi.CodeBadNumber, // NaN
		"81a200616102f97c00":                     abi.CodeBadNumber, // infinity
		"81a200616102fb7fefffffffffffff":         abi.CodeBadNumber,
		"81a200616102c249010000000000000000":     abi.CodeBadNumber, // a bignum of 65 bits
		"81a200616102c48203f5":                   abi.CodeBadNumber,
		"81a200616102c4823903e701":               abi.CodeBadNumber, // 10^-1000
		"81a200616102f5":                         abi.CodeBadArgument,
		"81a2006161026131":                       abi.CodeBadArgument,
		"81a200410102" + "01":                    abi.CodeBadArgument, // a name of bytes
		"81a3006161020165" + "6e6565645f" + "01": abi.CodeBadArgument, // need_
		"81f6":                                   abi.CodeBadArgument,
		"8101":                                   abi.CodeMalformed,
		"9fbf00616102" + "01ffff" + "00":         abi.CodeMalformed,
		"81a200" + "61ff" + "0201":               abi.CodeMalformed, // a name that is not UTF-8
	} {
		b, err := hex.DecodeString(pack)
		if err != nil {
			t.Fatal(pack, err)
		}
		if records, err := senml.Parse(senml.CBOR, b, now); !errors.Is(err, want) {
			t.Errorf("%s: %v, %s; want %v", pack, err, show(records), want)
		}
	}
	deep := append(bytes.Repeat([]byte{0x81}, 64<<10-1), 0x80)
	if _, err := senml.Parse(senml.CBOR, deep, now); !errors.Is(err, abi.CodeMalformed) {
		t.Errorf("deep nesting: %v", err)
	}
}

// Floats of each size stand for the shortest decimal that gives them back.
func TestFloatsBecomeTheShortestDecimal(t *testing.T) {
	for item, want := range map[string]string{
		"f93c00": "1", "f92e66": "0.1", "f97bff": "65500", "f90001": "0.00000006", "f98000": "0", "f9c3c0": "-3.875",
		"fa3dcccccd": "0.1", "fa41bb999a": "23.45", "fb3fb999999999999a": "0.1", "fb4037733333333333": "23.45",
		"fbc0568ccccccccccd": "-90.2", "1864": "100", "3863": "-100", "c48220190f6a": "394.6", "c482011905dc": "15000",
		"1a00000005": "5", "c4822118fa": "2.5",
	} {
		b, err := hex.DecodeString("81a200616102" + item)
		if err != nil {
			t.Fatal(err)
		}
		records, err := senml.Parse(senml.CBOR, b, now)
		if err != nil {
			t.Errorf("%s: %v", item, err)
			continue
		}
		if got := records[0].Value.String(); got != want {
			t.Errorf("%s is %s, want %s", item, got, want)
		}
	}
}

// Every half whose decimal fits is given back by its decimal.
func TestEveryHalf(t *testing.T) {
	for bits := range 0x7c00 {
		b := []byte{0x81, 0xa2, 0, 0x61, 'a', 2, 0xf9, byte(bits >> 8), byte(bits)}
		records, err := senml.Parse(senml.CBOR, b, now)
		if err != nil {
			t.Fatalf("%04x: %v", bits, err)
		}
		var want, got float64
		if err := fx.Unmarshal(b[6:], &want); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Sscan(records[0].Value.String(), &got); err != nil {
			t.Fatal(err)
		}
		// Half the distance to the next half is the most that it may be off.
		next := math.Ldexp(1, -24)
		if bits>>10 > 0 {
			next = math.Ldexp(1, bits>>10-25)
		}
		if math.Abs(got-want) > next/2 {
			t.Fatalf("%04x: %v became %s", bits, want, records[0].Value)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"ex1", "ex2", "ex3", "ex6"} {
		src, err := os.ReadFile(filepath.Join("testdata", name+".json"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(true, src)
		f.Add(false, transcode(f, string(src)))
	}
	f.Add(false, []byte("\x9f\xbf\x00\x61a\x02\xf9\x3c\x00\xff\xff"))
	f.Fuzz(func(t *testing.T, asJSON bool, pack []byte) {
		format := senml.CBOR
		if asJSON {
			format = senml.JSON
		}
		records, err := senml.Parse(format, pack, now)
		if err != nil {
			if _, ok := errors.AsType[abi.Code](err); !ok {
				t.Fatalf("an error without a code: %v", err)
			}
			return
		}
		if err := cbor.Validate(senml.AppendPayload(nil, records)); err != nil {
			t.Fatalf("%v in %s", err, show(records))
		}
		if len(records) > senml.MaxRecords {
			t.Fatalf("%d records", len(records))
		}
	})
}
