package ledger

import (
	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// versionDevices is the protocol version that brought proofs of origin,
// blacklists, verdicts and anchors, and the ledger's own events.
const versionDevices = 3

// notify emits an event of the ledger's own. They count among a transaction's
// events, since they are paid for alike.
func (r *running) notify(topic string, n *chain.Notice) error {
	if r.x.header.Protocol < versionDevices {
		return nil
	}
	if len(r.events) >= abi.MaxEvents {
		return abi.CodeTooManyEvents
	}
	r.events = append(r.events, chain.Event{Topic: []byte(topic), Data: n.Append(nil)})
	return nil
}

// clip shortens a text that goes into a record to what records hold.
func clip(s string) string {
	if len(s) <= chain.MaxText {
		return s
	}
	end := chain.MaxText
	for end > 0 && s[end]&0xc0 == 0x80 { // within a UTF-8 sequence
		end--
	}
	return s[:end]
}
