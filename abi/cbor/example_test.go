package cbor_test

import (
	"fmt"

	"github.com/seed79541315/postern/abi/cbor"
)

// A record is a map with integer keys; a parser walks it with Fields and ends
// with Done, which refuses what is left over.
func ExampleReader_Fields() {
	record := cbor.AppendMap(nil, 2)
	record = cbor.AppendText(cbor.AppendUint(record, 1), "door")
	record = cbor.AppendInt(cbor.AppendUint(record, 2), -40)

	var name string
	var level int64
	r := cbor.NewReader(record)
	for f := r.Fields(); f.Next(); {
		switch f.Key() {
		case 1:
			name = r.Text()
		case 2:
			level = r.Int()
		default:
			r.Skip()
		}
	}
	fmt.Println(name, level, r.Done())
	// Output: door -40 <nil>
}

func ExampleAppendJSON() {
	item, err := cbor.AppendJSON(nil, []byte(`{"temperature": 21.50, "ok": true}`))
	fmt.Printf("%x %v\n", item, err)
	_, err = cbor.AppendJSON(nil, []byte(`{"rooms": [{"temperature": 1e-300}]}`))
	fmt.Println(err)
	// Output:
	// a2626f6bf56b74656d7065726174757265c4822018d7 <nil>
	// .rooms[0].temperature: 1e-300: number has no exact 64-bit decimal form
}

func ExampleAppendAsJSON() {
	text, err := cbor.AppendAsJSON(nil, []byte{0xa2, 0x01, 0xc4, 0x82, 0x20, 0x18, 0xd7, 0x02, 0x42, 0xca, 0xfe})
	fmt.Println(string(text), err)
	// Output: {"1":21.5,"2":"yv4"} <nil>
}
