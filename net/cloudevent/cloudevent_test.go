package cloudevent_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/net/cloudevent"
)

func TestAppend(t *testing.T) {
	by := abi.Hash{2}
	status := chain.Notice{Subject: abi.Hash{1}, Level: uint8(abi.StatusQuarantined), Reason: `probing "doors"`, By: &by}
	reading := cbor.AppendInt(cbor.AppendText(cbor.AppendMap(nil, 1), "t"), 21)
	const one = "0100000000000000000000000000000000000000000000000000000000000000"
	const two = "0200000000000000000000000000000000000000000000000000000000000000"
	const source = "/chains/0900000000000000000000000000000000000000000000000000000000000000"
	for _, c := range []struct {
		name string
		e    abi.EventFrame
		want string
	}{
		{"status", abi.EventFrame{Topic: []byte(chain.TopicDeviceStatus), Data: status.Append(nil)},
			`{"specversion":"1.0","id":"7-3","source":"` + source + `","type":"postern.device.status","time":"2023-11-14T22:13:20.005Z",` +
				`"subject":"` + one + `","height":"7","transaction":"` + one + `","datacontenttype":"application/json",` +
				`"data":{"subject":"` + one + `","status":"quarantined","reason":"probing \"doors\"","by":"` + two + `"}}`},
		{"contract", abi.EventFrame{Contract: "weather", Topic: []byte("reading"), Data: reading},
			`{"specversion":"1.0","id":"7-3","source":"` + source + `/contracts/weather","type":"postern.contract","time":"2023-11-14T22:13:20.005Z",` +
				`"topic":"reading","height":"7","transaction":"` + one + `","datacontenttype":"application/json","data":{"t":21}}`},
		{"bytes", abi.EventFrame{Contract: "weather", Topic: []byte{0xff}, Data: []byte{0xff, 0}},
			`{"specversion":"1.0","id":"7-3","source":"` + source + `/contracts/weather","type":"postern.contract","time":"2023-11-14T22:13:20.005Z",` +
				`"height":"7","transaction":"` + one + `","data_base64":"/wA="}`},
	} {
		c.e.Height, c.e.Index, c.e.ID, c.e.Time = 7, 3, abi.Hash{1}, 1_700_000_000_005
		if got := string(cloudevent.Append(nil, abi.Hash{9}, &c.e)); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

func TestParseID(t *testing.T) {
	if h, i, err := cloudevent.ParseID("18446744073709551615-4"); h != 1<<64-1 || i != 4 || err != nil {
		t.Errorf("got %d, %d, %v", h, i, err)
	}
	for _, bad := range []string{"", "7", "7-", "-7", "7-3-1", "07-3", "7-+3", " 7-3", "18446744073709551616-0"} {
		if _, _, err := cloudevent.ParseID(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// FuzzAppend has whatever a contract emits become one line of valid JSON.
func FuzzAppend(f *testing.F) {
	f.Add("", []byte(chain.TopicDeviceStatus), (&chain.Notice{Reason: "x"}).Append(nil))
	f.Add("weather", []byte("a\nb"), []byte{0xa1, 0x61, '"', 0x01})
	f.Fuzz(func(t *testing.T, contract string, topic, data []byte) {
		e := abi.EventFrame{Height: 1, ID: abi.Hash{1}, Contract: contract, Topic: topic, Data: data}
		line := cloudevent.Append(nil, abi.Hash{}, &e)
		if !json.Valid(line) || strings.ContainsAny(string(line), "\r\n") {
			t.Fatalf("%q", line)
		}
	})
}
