package main

import (
	"encoding/json"
	"strings"
)

// messageText is a message to a contract, in its schema's names, as people read
// it: the operation and its fields. Any other message stays as it is.
func messageText(contract, message string) string {
	raw := strings.TrimSpace(message + " of " + contract)
	list, ok := fieldsOf([]byte(message))
	if !ok || len(list) != 1 {
		return raw
	}
	if _, ok := fieldsOf(list[0].value); !ok {
		return raw
	}
	return labelled(list[0].name+" of "+contract, string(list[0].value))
}

// labelled is a label and a value: of an object its fields, but for those that
// are not there.
func labelled(label, value string) string {
	list, ok := fieldsOf([]byte(value))
	if !ok {
		return strings.TrimSpace(label + " " + value)
	}
	var words []string
	for _, f := range list {
		if string(f.value) != "null" {
			words = append(words, f.name+" "+plainJSON(f.value))
		}
	}
	if len(words) == 0 {
		return label
	}
	return label + ": " + strings.Join(words, ", ")
}

// jsonField is a member of an object.
type jsonField struct {
	name  string
	value json.RawMessage
}

// fieldsOf are an object's members, in their order.
func fieldsOf(text []byte) (list []jsonField, ok bool) {
	d := json.NewDecoder(strings.NewReader(string(text)))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return nil, false
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, false
		}
		m := jsonField{name: name.(string)} // a key, or the decoder would have refused it
		if err := d.Decode(&m.value); err != nil {
			return nil, false
		}
		list = append(list, m)
	}
	_, err := d.Token()
	return list, err == nil
}

// plainJSON is a text without its quotes, and other values as they are.
func plainJSON(value json.RawMessage) string {
	var text string
	if json.Unmarshal(value, &text) == nil {
		return text
	}
	return string(value)
}
