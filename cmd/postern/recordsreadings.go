package main

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/net/senml"
)

// readingsOf takes a text apart: its lines, or the records of a SenML pack.
func readingsOf(text []byte, pack bool) (readings []string, err error) {
	if !pack {
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimRight(line, "\r\n"); line != "" {
				readings = append(readings, line)
			}
		}
		return readings, nil
	}
	list, err := senml.Parse(senml.JSON, text, time.Now().UnixMilli())
	if err != nil {
		return nil, err
	}
	for i := range list {
		line, err := resolvedJSON(&list[i])
		if err != nil {
			return nil, err
		}
		readings = append(readings, line)
	}
	return readings, nil
}

// resolvedJSON is a resolved SenML record as a record of its own (RFC 8428,
// section 4.6). Numbers stay as they were told.
func resolvedJSON(r *senml.Record) (string, error) {
	v := struct {
		Name  string      `json:"n"`
		Time  json.Number `json:"t,omitempty"`
		Unit  string      `json:"u,omitempty"`
		Value json.Number `json:"v,omitempty"`
		Text  *string     `json:"vs,omitempty"`
		Bool  *bool       `json:"vb,omitempty"`
		Data  string      `json:"vd,omitempty"`
		Sum   json.Number `json:"s,omitempty"`
	}{Name: r.Name, Unit: r.Unit, Value: exact(r.Value), Text: r.Text, Bool: r.Bool, Sum: exact(r.Sum)}
	if r.Time != nil {
		seconds := cbor.Decimal{Exponent: -3, Mantissa: *r.Time}.Canonical()
		v.Time = exact(&seconds)
	}
	if r.Data != nil {
		v.Data = base64.RawURLEncoding.EncodeToString(r.Data)
	}
	text, err := json.Marshal(v)
	return string(text), err
}

// exact is a number as JSON has it, "" for none.
func exact(d *cbor.Decimal) json.Number {
	if d == nil {
		return ""
	}
	return json.Number(d.String())
}
