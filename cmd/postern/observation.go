package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// observationOutput is an observation as programs see it: the items of its
// payload with the names that package abi gives their fields.
type observationOutput struct {
	Kind  string                       `json:"kind"`
	Time  time.Time                    `json:"time"`
	Items []map[string]json.RawMessage `json:"items"`
}

// The names of the fields in a payload's items, by their keys from 1 on.
var (
	recordFields  = []string{"name", "time_ms", "unit", "value", "text", "bool", "bytes", "sum"}
	payloadFields = map[abi.ObservationKind][]string{
		abi.ObserveTelemetry: recordFields,
		abi.ObserveLocation:  recordFields,
		abi.ObserveFlows: {"direction", "protocol", "address", "remote_port", "local_port", "bytes", "packets", "remote_name",
			"begun_by_device", "ethertype", "icmp"},
		abi.ObserveSilence: {"last_report_ms"},
		abi.ObserveDenial:  {"domain", "code", "action", "resource"},
	}
)

func observationOf(o *abi.Observation) *observationOutput {
	v := &observationOutput{Kind: o.Kind.String(), Time: time.UnixMilli(o.Time).UTC(), Items: []map[string]json.RawMessage{}}
	r := cbor.NewReader(o.Payload)
	for n := r.Array(); n > 0 && r.Err() == nil; n-- {
		if raw := r.Raw(); r.Err() == nil {
			v.Items = append(v.Items, itemOf(o.Kind, raw))
		}
	}
	return v
}

// itemOf names the fields of an item. One that is not what the kind's items are
// was made by a device: it is shown as it is.
func itemOf(kind abi.ObservationKind, raw []byte) map[string]json.RawMessage {
	names, item := payloadFields[kind], map[string]json.RawMessage{}
	r := cbor.NewReader(raw)
	for f := r.Fields(); f.Next(); {
		name := fmt.Sprint(f.Key())
		if k := f.Key(); k >= 1 && k <= uint64(len(names)) {
			name = names[k-1]
		}
		value := r.Raw()
		if name == "address" {
			item[name] = addressJSON(value)
		} else if r.Err() == nil {
			item[name] = cborJSON(value)
		}
	}
	if r.Done() != nil {
		return map[string]json.RawMessage{"item": cborJSON(raw)}
	}
	return item
}

func addressJSON(raw []byte) json.RawMessage {
	r := cbor.NewReader(raw)
	addr, ok := netip.AddrFromSlice(r.Bytes())
	if !ok || r.Done() != nil {
		return cborJSON(raw)
	}
	text, _ := json.Marshal(addr)
	return text
}

// text is the observation on one line.
func (v *observationOutput) text() string {
	items, _ := json.Marshal(v.Items)
	return fmt.Sprintf("%s of %s: %s", v.Kind, v.Time.Format(time.RFC3339), items)
}
