package access_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/contracts/access"
	"github.com/seed79541315/postern/runtime/wasm"
)

// Whatever a message holds, the contract answers or refuses with a code of its
// own: it does not trap.
func TestTornMessages(t *testing.T) {
	w := ward(t)
	w.at(wardTime)
	read := could("user:dora", "read", "record:7")
	search := func(what abi.Sought) []byte {
		return abi.AppendSearchCall(nil, &abi.SearchCall{What: what, Request: abi.AppendDecisionRequest(nil, read), Cursor: bytes.Repeat([]byte{7}, 20), Limit: 9, Now: wardTime})
	}
	for entry, messages := range map[abi.Entry][][]byte{
		abi.EntrySearch: {search(abi.SoughtSubjects), search(abi.SoughtActions), search(abi.SoughtResources)},
		abi.EntryDecide: {abi.AppendDecisionRequest(nil, read)},
		abi.EntryQuery:  {access.Alarms(&access.AlarmID{1}, 9)},
		abi.EntryExecute: {
			access.BreakGlass(read, "because"), access.Acknowledge(access.AlarmID{1}, true),
			access.PutRoles(1, []access.Role{{Name: "a", Implies: []string{"b"}}}),
			access.PutRule(1, &access.Rule{ID: "r", Permit: true, Actions: []string{"a"}, ResourceType: "t", Relation: "x", Through: access.Through{Subject: "y", Resource: "z"}, BreakGlass: 60_000}),
		},
		abi.EntryTimer: {make([]byte, 16), make([]byte, 4)},
	} {
		d := rand.New(rand.NewPCG(uint64(entry), 3))
		for range 400 {
			for _, message := range messages {
				w.torn(d, entry, message)
			}
		}
	}
}

func (w *watch) torn(d *rand.Rand, entry abi.Entry, message []byte) {
	w.t.Helper()
	torn := bytes.Clone(message)
	for range 1 + d.IntN(4) {
		torn[d.IntN(len(torn))] = byte(d.IntN(256))
	}
	if d.IntN(3) == 0 {
		torn = torn[:d.IntN(len(torn)+1)]
	}
	w.as(owner, abi.RoleEnforcementPoint)
	_, _, err := w.call(entry, torn)
	var trap *wasm.Trap
	if err != nil && (!errors.As(err, &trap) || trap.Code != abi.CodeAborted) {
		w.t.Fatalf("%v %x: %v", entry, torn, err)
	}
}
