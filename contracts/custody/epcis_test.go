package custody_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/contracts/custody"
	"github.com/seed79541315/postern/runtime/wasm"
)

// The examples of the standard are taken in and given out again equal. One names
// a recipient of a service, and is sealed.
func TestExamplesComeBackEqual(t *testing.T) {
	for _, name := range examples(t) {
		t.Run(name, func(t *testing.T) {
			c, src, key := newChain(t, wasm.EngineAuto), example(t, name), newKey(t)
			if strings.Contains(name, "Transaction") {
				if _, err := custody.Parse(src, nil); err == nil || !strings.Contains(err.Error(), "names a person") {
					t.Fatalf("in clear: %v", err)
				}
			} else {
				key = nil
			}
			d := parse(t, src, key)
			if sent := c.mustImport(d); sent != 1+len(d.Events) {
				t.Errorf("%d transactions", sent)
			}
			got, err := custody.ExportDocument(c.ask, d.ID, key)
			if err != nil {
				t.Fatal(err)
			}
			sameJSON(t, got, src)
			var all [][]byte
			err = custody.Export(c.ask, key, func(text []byte) error { all = append(all, text); return nil })
			if err != nil || len(all) != 1 {
				t.Fatalf("%d documents, %v", len(all), err)
			}
			sameJSON(t, all[0], src)
		})
	}
}

// What is equal is decided by another reader of JSON as well.
func TestExamplesComeBackEqualToEncodingJSON(t *testing.T) {
	for _, name := range examples(t) {
		c, src, key := newChain(t, wasm.EngineAuto), example(t, name), newKey(t)
		d := parse(t, src, key)
		c.mustImport(d)
		got, err := custody.ExportDocument(c.ask, d.ID, key)
		if err != nil {
			t.Fatal(err)
		}
		var a, b any
		if json.Unmarshal(got, &a) != nil || json.Unmarshal(src, &b) != nil || !reflect.DeepEqual(a, b) {
			t.Errorf("%s: got %s", name, got)
		}
	}
}

// Nothing of a sealed document can be read, or guessed and recognised, without the
// key; persons have pseudonyms.
func TestSealedDocumentsTellNothing(t *testing.T) {
	c, src, key := newChain(t, wasm.EngineAuto), example(t, "Example-TransactionEvents-2020_07_03y.jsonld"), newKey(t)
	d := parse(t, src, key)
	whole, err := cbor.AppendJSON(nil, src)
	if err != nil {
		t.Fatal(err)
	}
	if d.ID == sha256.Sum256(whole) {
		t.Error("the id of a sealed document can be guessed")
	}
	for i := range d.Events {
		if m := d.Take(i); bytes.Contains(m, []byte("gsrn")) || bytes.Contains(m, []byte("summarising_discharge")) {
			t.Errorf("event %d is readable", i)
		}
	}
	if again := parse(t, src, key); !reflect.DeepEqual(d, again) {
		t.Error("sealed again it is another document")
	}
	c.mustImport(d)
	for name, wrong := range map[string]*custody.Key{"no key": nil, "another key": newKey(t)} {
		if _, err := custody.ExportDocument(c.ask, d.ID, wrong); !errors.Is(err, custody.ErrSealed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An import that was broken off goes on where it was, and one that is done does
// nothing.
func TestImportGoesOn(t *testing.T) {
	c := newChain(t, wasm.EngineAuto)
	d := parse(t, example(t, "Example_9.6.1-ObjectEvent.jsonld"), nil)
	broken := errors.New("the line is down")
	sent := 0
	err := custody.Import(d, c.ask, func(m []byte) error {
		if sent++; sent == 3 {
			return broken
		}
		return c.execute(m)
	}, func(int, int) {})
	if !errors.Is(err, broken) {
		t.Fatal(err)
	}
	if _, err := custody.ExportDocument(c.ask, d.ID, nil); !errors.Is(err, custody.ErrIncomplete) {
		t.Errorf("half a document: %v", err)
	}
	if again := c.mustImport(d); again != 1 {
		t.Errorf("%d transactions for the rest", again)
	}
	if again := c.mustImport(d); again != 0 {
		t.Errorf("%d transactions for nothing", again)
	}
}

// Documents of many events go through all pages.
func TestLongDocuments(t *testing.T) {
	var events []string
	for i := range 150 {
		events = append(events, fmt.Sprintf(`{"@context":{"own":"http://own.example/"},"type":"ObjectEvent","action":"OBSERVE","epcList":["urn:x:1"],"own:n":%d,
			"eventTime":"2026-01-05T08:00:00.000Z","eventTimeZoneOffset":"+01:00"}`, i))
	}
	src := []byte(`{"@context":"https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld","type":"EPCISQueryDocument","schemaVersion":"2.0",
		"epcisBody":{"queryResults":{"queryName":"q","resultsBody":{"eventList":[` + strings.Join(events, ",") + `]}}}}`)
	c := newChain(t, wasm.EngineAuto)
	d := parse(t, src, nil)
	if sent := c.mustImport(d); sent != 151 {
		t.Errorf("%d transactions", sent)
	}
	if again := c.mustImport(d); again != 0 {
		t.Errorf("%d transactions for nothing", again)
	}
	got, err := custody.ExportDocument(c.ask, d.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	sameJSON(t, got, src)
	text, err := custody.ExportItem(c.ask, "urn:x:1", nil)
	if err != nil {
		t.Fatal(err)
	}
	if back := parse(t, text, nil); len(back.Events) != 150 {
		t.Errorf("%d events of the item", len(back.Events))
	}
}

// An event that stands in two documents is done once.
func TestEventsInTwoDocuments(t *testing.T) {
	c := newChain(t, wasm.EngineAuto)
	src := example(t, "Example_9.6.1-ObjectEvent.jsonld")
	c.mustImport(parse(t, src, nil))
	other := bytes.Replace(src, []byte("document1"), []byte("document2"), 1)
	d := parse(t, other, nil)
	c.mustImport(d)
	got, err := custody.ExportDocument(c.ask, d.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	sameJSON(t, got, other)
	text, err := custody.ExportItem(c.ask, "urn:epc:id:sgtin:0614141.107346.2018", nil)
	if err != nil {
		t.Fatal(err)
	}
	back := parse(t, text, nil)
	if len(back.Events) != 2 || !bytes.Contains(text, []byte("http://ns.example.com/epcis/")) {
		t.Errorf("%s", text)
	}
}

// event is a document of one event, whose fields stand in a template.
func event(fields string) []byte {
	return fmt.Appendf(nil, `{"@context":["https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld",{"ex":"http://ex.example/"}],
"eventTime":"2026-01-05T08:00:00.000Z","eventTimeZoneOffset":"+01:00",%s}`, fields)
}

// The life of goods, told by EPCIS alone: made, packed, observed, unpacked, baked
// into something else, destroyed.
func TestEventsDoWhatTheySay(t *testing.T) {
	c := newChain(t, wasm.EngineAuto)
	for _, step := range []struct {
		fields string
		effect custody.Effect
		topics string
	}{
		{`"type":"ObjectEvent","action":"ADD","epcList":["urn:epc:id:sgtin:4012345.011122.1","urn:epc:id:sscc:4012345.0000000001"],"ilmd":{"cbvmda:lotNumber":"L1"}`, custody.Make, "made taken-in"},
		{`"type":"ObjectEvent","action":"ADD","quantityList":[{"epcClass":"urn:epc:class:lgtin:4012345.012345.998877","quantity":200.5,"uom":"KGM"}]`, custody.Make, "made taken-in"},
		{`"type":"AggregationEvent","action":"ADD","parentID":"urn:epc:id:sscc:4012345.0000000001","childEPCs":["urn:epc:id:sgtin:4012345.011122.1"]`, custody.Pack, "packed taken-in"},
		{`"type":"ObjectEvent","action":"OBSERVE","epcList":["urn:epc:id:sscc:4012345.0000000001"],"ex:note":[1.50,{"a":null}]`, custody.Observe, "taken-in"},
		{`"type":"AssociationEvent","action":"DELETE","parentID":"urn:epc:id:sscc:4012345.0000000001"`, custody.Unpack, "unpacked taken-in"},
		{`"type":"TransformationEvent","inputQuantityList":[{"epcClass":"urn:epc:class:lgtin:4012345.012345.998877","quantity":0.5,"uom":"KGM"}],"outputEPCList":["urn:epc:id:sgtin:4012345.077889.25"]`, custody.Transform, "ended made taken-in"},
		{`"type":"TransactionEvent","action":"ADD","bizTransactionList":[{"bizTransaction":"urn:x:1"}],"epcList":["urn:epc:id:sgtin:4012345.077889.25"]`, custody.Observe, "taken-in"},
		{`"type":"ObjectEvent","action":"DELETE","epcList":["urn:epc:id:sgtin:4012345.077889.25"],"quantityList":[{"epcClass":"urn:epc:class:lgtin:4012345.012345.998877","quantity":200,"uom":"KGM"}]`, custody.Destroy, "ended ended taken-in"},
		{`"type":"ObjectEvent","action":"ADD","epcList":["urn:epc:id:sgtin:4012345.077889.25"],"errorDeclaration":{"declarationTime":"2026-01-05T09:00:00Z"}`, custody.Observe, "taken-in"},
	} {
		d := parse(t, event(step.fields), nil)
		if d.Events[0].Effect != step.effect {
			t.Errorf("%s: %v", step.fields, d.Events[0].Effect)
		}
		before := len(c.Events)
		c.mustImport(d)
		var topics []string
		for _, e := range c.Events[before:] {
			topics = append(topics, e.Topic)
		}
		if got := strings.Join(topics, " "); got != step.topics {
			t.Errorf("%s: %s", step.fields, got)
		}
		if again := c.mustImport(d); again != 0 {
			t.Errorf("%s: taken in twice", step.fields)
		}
	}
	n := 0
	err := custody.Export(c.ask, nil, func(text []byte) error {
		n++
		return nil
	})
	if err != nil || n != 9 {
		t.Errorf("%d events alone, %v", n, err)
	}
}

// Who does not hold an item, or may not bring one in, has nothing taken in.
func TestStrangersImportNothing(t *testing.T) {
	c := newChain(t, wasm.EngineAuto)
	src := example(t, "Example_9.6.1-ObjectEvent.jsonld")
	d := parse(t, src, nil)
	c.As(thief)
	for i, m := range [][]byte{d.Begin(), d.Take(0)} {
		if err := c.execute(m); err == nil {
			t.Errorf("message %d of a stranger is taken", i)
		}
	}
	c.As(maker)
	c.mustImport(d)
	c.As(thief)
	alone := parse(t, event(`"type":"ObjectEvent","action":"OBSERVE","epcList":["urn:epc:id:sgtin:0614141.107346.2018"]`), nil)
	if err := c.execute(alone.Take(0)); !errors.Is(err, refusal(6)) {
		t.Errorf("an event about another's item: %v", err)
	}
}

// Whoever tells the contract something else than an event says, or what is no
// event at all, is found out, and does not stand in the way of others.
func TestUnfaithfulEventsAreFoundOut(t *testing.T) {
	observed := func(item string) *custody.Document {
		return parse(t, event(`"type":"ObjectEvent","action":"OBSERVE","epcList":["`+item+`"]`), nil)
	}
	lie := observed("urn:x:1")
	lie.Events[0].Lists.Items = []string{"urn:x:2"}
	effect := observed("urn:x:3")
	effect.Events[0].Effect, effect.Events[0].Lists = custody.Make, custody.Lists{Outputs: []custody.New{{ID: "urn:x:3"}}}
	for name, d := range map[string]*custody.Document{
		"another item": lie, "another effect": effect,
		"no event":      {Events: []custody.Event{{Content: []byte{1}}}},
		"no CBOR":       {Events: []custody.Event{{Content: []byte{0xff}}}},
		"no JSON":       {Events: []custody.Event{{Content: []byte{0x41, 0}}}},
		"not canonical": {Events: []custody.Event{{Content: []byte{0xa1, 0x18, 1, 1}}}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newChain(t, wasm.EngineAuto)
			c.mustImport(d)
			c.mustImport(observed("urn:x:4"))
			n := 0
			err := custody.Export(c.ask, nil, func([]byte) error { n++; return nil })
			if !errors.Is(err, custody.ErrUnfaithful) || n != 1 {
				t.Errorf("%d events, %v", n, err)
			}
		})
	}
}

func TestMistakes(t *testing.T) {
	many := `"` + strings.Repeat(`urn:x:1","`, 1)
	for i := range 61 {
		many += fmt.Sprintf(`urn:x:i%d","`, i)
	}
	many = strings.TrimSuffix(many, `,"`)
	object := `"type":"ObjectEvent","action":"ADD",`
	for _, m := range []struct{ src, want string }{
		{``, "line 1: the document ends too early"},
		{`[]`, "line 1: found an array, want an EPCIS document or event"},
		{`{"type":"Thing"}`, `type: "Thing" is neither`},
		{`{"type":"EPCISDocument","schemaVersion":"2.0","@context":"x"}`, "epcisBody: the field is missing"},
		{`{"type":"EPCISDocument","schemaVersion":"1.2","@context":"x","epcisBody":{"eventList":[]}}`, `schemaVersion: want "2.0"`},
		{`{"type":"EPCISDocument","schemaVersion":"2.0","epcisBody":{"eventList":[{}]}}`, "@context: the field is missing"},
		{"{\n\"type\":\n1,\"type\":2}", "line 3: type: the field is repeated"},
		{"{\n\"type\":\n1} 2", "line 3: something follows"},
		{"{\"type\":\"\xff\"}", "not valid UTF-8"},
		{`{"type":1e400}`, "has no exact form"},
		{strings.Repeat("[", 50), "nested too deeply"},
		{string(event(`"type":"ObjectEvent","epcList":["a"]`)), "action: want ADD, OBSERVE or DELETE"},
		{string(event(`"type":"ObjectEvent","action":"add","epcList":["a"]`)), `found "add"`},
		{string(event(`"type":"ObjectEvent","action":"ADD"`)), "neither epcList nor quantityList"},
		{string(event(object + `"epcLits":["a"]`)), "epcLits: no such field"},
		{string(event(object + `"epcList":["a"],"parentID":"b"`)), "parentID: no such field"},
		{string(event(object + `"epcList":["a"],"unknown:x":1`)), "does not declare the prefix unknown"},
		{string(event(object + `"epcList":"a"`)), "epcList: found text, want an array"},
		{string(event(object + `"epcList":[5]`)), "epcList[0]: found a number, want an item's id"},
		{string(event(object + `"epcList":["` + strings.Repeat("x", 161) + `"]`)), "at most 160 bytes"},
		{string(event(object + `"epcList":["a","a"]`)), "a is listed twice"},
		{string(event(object + `"epcList":[` + many + `]`)), "62 items"},
		{string(event(object + `"epcList":["a"],"readPoint":"b"`)), "readPoint: found text, want an object"},
		{string(event(object + `"quantityList":[{"quantity":1}]`)), "quantityList[0].epcClass: the field is missing"},
		{string(event(object + `"quantityList":[{"epcClass":"c","quantity":-1}]`)), "want a number above 0"},
		{string(event(object + `"quantityList":[{"epcClass":"c","quantity":"1"}]`)), "want a number above 0"},
		{string(event(object + `"quantityList":[{"epcClass":"c","quantity":1,"uom":"KILOGRAMS"}]`)), "want the unit"},
		{string(event(object + `"epcList":["a"],"ex:long":"` + strings.Repeat("x", 15000) + `"`)), "at most 15000 have room"},
		{string(event(object + `"epcList":["a"],"ex:who":["urn:epc:id:gsrnp:0614141.0123456789"]`)), "names a person"},
		{string(event(object + `"epcList":["https://id.gs1.org/8018/401234500000000002"]`)), "names a person"},
		{string(event(`"type":"AggregationEvent","action":"ADD","childEPCs":["a"]`)), "parentID: the field is missing"},
		{string(event(`"type":"TransformationEvent"`)), "neither inputs nor outputs"},
		{`{"type":"ObjectEvent","action":"ADD","epcList":["a"]}`, "eventTime: the field is missing"},
		{strings.Replace(string(event(object+`"epcList":["a"]`)), "08:00:00", "8 o'clock", 1), "is no time"},
		{strings.Replace(string(event(object+`"epcList":["a"]`)), "+01:00", "CET", 1), "is no offset"},
	} {
		_, err := custody.Parse([]byte(m.src), nil)
		var mistake *custody.Mistake
		if !errors.As(err, &mistake) || !strings.Contains(err.Error(), m.want) {
			t.Errorf("%.120s: %v, want %s", m.src, err, m.want)
		}
	}
}

// What is as long as it may be is taken, in clear and sealed; a byte more is
// refused before anything is sent.
func TestLongestEvents(t *testing.T) {
	c := newChain(t, wasm.EngineAuto)
	long := func(n int) []byte {
		return event(`"type":"ObjectEvent","action":"OBSERVE","epcList":["urn:x:1"],"ex:long":"` + strings.Repeat("x", n) + `"`)
	}
	for _, key := range []*custody.Key{nil, newKey(t)} {
		most := custody.MaxContent - len(parse(t, long(1000), key).Events[0].Content) + 1000
		d := parse(t, long(most), key)
		if n := len(d.Events[0].Content); n != custody.MaxContent {
			t.Fatalf("%d bytes", n)
		}
		c.mustImport(d)
		if _, err := custody.Parse(long(most+1), key); err == nil {
			t.Error("a byte too many")
		}
	}
}

func TestClassesAndLots(t *testing.T) {
	for _, m := range []struct{ id, class, lot string }{
		{"urn:epc:id:sgtin:0614141.107346.2017", "urn:epc:idpat:sgtin:0614141.107346.*", "L9"},
		{"https://id.gs1.org/01/09506000134352/21/12345", "https://id.gs1.org/01/09506000134352", "L9"},
		{"urn:epc:id:sscc:0614141.1234567890", "", ""},
		{"pallet 7", "", ""},
	} {
		d := parse(t, event(`"type":"ObjectEvent","action":"ADD","ilmd":{"cbvmda:lotNumber":"L9"},"epcList":["`+m.id+`"]`), nil)
		if n := d.Events[0].Lists.Outputs[0]; n.Class != m.class || n.Lot != m.lot {
			t.Errorf("%s: %+v", m.id, n)
		}
	}
	d := parse(t, event(`"type":"ObjectEvent","action":"ADD","quantityList":[{"epcClass":"urn:epc:class:lgtin:4012345.012345.A.1","quantity":7},{"epcClass":"https://example.com/x/01/09506000134352/10/AB-1"}]`), nil)
	out := d.Events[0].Lists.Outputs
	if out[0].Class != "urn:epc:idpat:sgtin:4012345.012345.*" || out[0].Lot != "A.1" || out[1].Class != "https://example.com/x/01/09506000134352" || out[1].Lot != "AB-1" {
		t.Errorf("%+v", out)
	}
}

func TestKeys(t *testing.T) {
	if _, err := custody.OpenKey(make([]byte, 31)); err == nil {
		t.Error("a key of 31 bytes")
	}
	if bytes.Equal(custody.NewKey(), custody.NewKey()) {
		t.Error("two keys are the same")
	}
}
