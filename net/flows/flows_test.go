package flows_test

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/net/flows"
)

var addr = netip.MustParseAddr("fe80::1")

var samples = []flows.Record{
	{ToDevice: true, Ethertype: 0x0806, Bytes: 42, Packets: 1},
	{Remote: addr, Protocol: 58, ICMP: 134 << 8, Packets: 1},
	{Remote: addr, Protocol: 6, Ports: true, RemotePort: 443, LocalPort: 1, Begun: flows.ByOther, Name: "a.example", Bytes: 1 << 40, Packets: 7},
	{Remote: addr, Protocol: 41, Packets: 1},
}

func TestPayloadIsCanonical(t *testing.T) {
	o := abi.Observation{Kind: abi.ObserveFlows, Payload: flows.AppendPayload(nil, samples)}
	if _, err := abi.ParseObservation(abi.AppendObservation(nil, &o)); err != nil {
		t.Fatal(err)
	}
	json, err := cbor.AppendAsJSON(nil, o.Payload)
	want := `[{"1":1,"6":42,"7":1,"10":2054},{"1":0,"2":58,"3":"_oAAAAAAAAAAAAAAAAAAAQ","6":0,"7":1,"11":34304},` +
		`{"1":0,"2":6,"3":"_oAAAAAAAAAAAAAAAAAAAQ","4":443,"5":1,"6":1099511627776,"7":7,"8":"a.example","9":false},` +
		`{"1":0,"2":41,"3":"_oAAAAAAAAAAAAAAAAAAAQ","6":0,"7":1}]`
	if err != nil || string(json) != want {
		t.Errorf("%v\n%s", err, json)
	}
}

// What is written as JSON is read as the same.
func TestJSON(t *testing.T) {
	for _, want := range samples {
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got flows.Record
		if err := json.Unmarshal(text, &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %+v, %v; want %+v", text, got, err, want)
		}
	}
}

func TestJSONRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`{"protocol": 6, "bytes": 1}`:                                 "address or ethertype",
		`{"address": "192.0.2.1", "ethertype": 2054, "protocol": 6}`:  "address or ethertype",
		`{"address": "192.0.2.1", "protocol": 6, "remote_port": 443}`: "both ports",
		`{"address": "192.0.2.1", "protocol": 6, "direction": 2}`:     "direction",
		`{"address": "192.0.2", "protocol": 6}`:                       "address",
		`{"address": "192.0.2.1", "protocol": 6, "port": 443}`:        `"port"`,
		`{"address": "192.0.2.1", "protocol": 600}`:                   "protocol",
		`{"address": "fe80::1%eth0", "protocol": 6}`:                  "zone",
	} {
		var r flows.Record
		if err := json.Unmarshal([]byte(text), &r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %s", text, err, want)
		}
	}
}
