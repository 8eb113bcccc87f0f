// Package cloudevent writes the events of committed blocks as CloudEvents 1.0 in
// JSON (https://github.com/cloudevents/spec, spec.md and formats/json-format.md),
// for server-sent events and webhooks alike.
//
//	specversion  "1.0"
//	id           HEIGHT-INDEX: of the block, and of the event within it
//	source       /chains/CHAIN, or /chains/CHAIN/contracts/NAME for a contract's
//	type         "postern." and the topic for the ledger's own, "postern.contract" for a contract's
//	time         the block's header time
//	subject      what the ledger's own is about: an account id in hex; absent for a contract's
//	topic        the contract's topic, where it is text (extension)
//	height       of the block, as text, for the integers of CloudEvents have 32 bits (extension)
//	transaction  id in hex (extension)
//	data         the event's data in JSON, with datacontenttype "application/json", or
//	data_base64  its bytes, where they are no canonical CBOR or have no JSON form
//
// Source and id together name one event for ever, on whichever node they are
// read: a receiver that has seen them may pass over the event.
package cloudevent

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
)

// ContentType is the media type of one event.
const ContentType = "application/cloudevents+json"

// event is the JSON form.
type event struct {
	SpecVersion string          `json:"specversion"`
	ID          string          `json:"id"`
	Source      string          `json:"source"`
	Type        string          `json:"type"`
	Time        string          `json:"time"`
	Subject     string          `json:"subject,omitempty"`
	Topic       string          `json:"topic,omitempty"`
	Height      string          `json:"height"`
	Transaction string          `json:"transaction"`
	ContentType string          `json:"datacontenttype,omitempty"`
	Data        json.RawMessage `json:"data,omitempty"`
	Bytes       string          `json:"data_base64,omitempty"`
}

// notice is the data of an event of the ledger's own.
type notice struct {
	Subject string `json:"subject"`
	Status  string `json:"status,omitempty"`
	Level   uint8  `json:"level,omitempty"`
	Reason  string `json:"reason,omitempty"`
	By      string `json:"by,omitempty"`
	Hash    string `json:"hash,omitempty"`
	Number  uint64 `json:"number,omitempty"`
}

// ID names an event within its chain: HEIGHT-INDEX.
func ID(e *abi.EventFrame) string {
	return strconv.FormatUint(e.Height, 10) + "-" + strconv.FormatUint(e.Index, 10)
}

// ParseID reads an id.
func ParseID(id string) (height, index uint64, err error) {
	first, second, ok := strings.Cut(id, "-")
	height, err1 := strconv.ParseUint(first, 10, 64)
	index, err2 := strconv.ParseUint(second, 10, 64)
	if !ok || err1 != nil || err2 != nil || ID(&abi.EventFrame{Height: height, Index: index}) != id {
		return 0, 0, abi.CodeBadArgument
	}
	return height, index, nil
}

// Append appends the JSON of an event, which is no mark, on one line.
func Append(b []byte, of abi.Hash, e *abi.EventFrame) []byte {
	out := event{
		SpecVersion: "1.0", ID: ID(e), Source: "/chains/" + hex.EncodeToString(of[:]), Type: "postern.contract",
		Time: time.UnixMilli(e.Time).UTC().Format("2006-01-02T15:04:05.000Z07:00"), Height: strconv.FormatUint(e.Height, 10),
		Transaction: hex.EncodeToString(e.ID[:]),
	}
	if e.Contract == "" {
		out.Type = "postern." + string(e.Topic)
		out.setNotice(e)
	} else {
		out.Source += "/contracts/" + e.Contract
		if utf8.Valid(e.Topic) {
			out.Topic = string(e.Topic)
		}
		out.setData(e.Data)
	}
	text, err := json.Marshal(&out)
	if err != nil {
		panic("BUG: an event does not marshal: " + err.Error())
	}
	return append(b, text...)
}

func (out *event) setNotice(e *abi.EventFrame) {
	n, err := chain.ParseNotice(e.Data)
	if err != nil { // of a later version
		out.setData(e.Data)
		return
	}
	out.Subject = hex.EncodeToString(n.Subject[:])
	v := notice{Subject: out.Subject, Reason: n.Reason, By: hexOf(n.By), Hash: hexOf(n.Hash), Number: n.Number}
	if string(e.Topic) == chain.TopicDeviceStatus {
		v.Status = abi.Status(n.Level).String()
	} else {
		v.Level = n.Level
	}
	text, err := json.Marshal(&v)
	if err != nil {
		panic("BUG: a notice does not marshal: " + err.Error())
	}
	out.Data, out.ContentType = text, "application/json"
}

// setData sets what a contract emitted.
func (out *event) setData(data []byte) {
	if len(data) == 0 {
		return
	}
	text, err := cbor.AppendAsJSON(nil, data)
	if err != nil || !json.Valid(text) {
		out.Bytes = base64.StdEncoding.EncodeToString(data)
		return
	}
	out.Data, out.ContentType = text, "application/json"
}

func hexOf(h *abi.Hash) string {
	if h == nil {
		return ""
	}
	return hex.EncodeToString(h[:])
}
