package guardian_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm"
	"github.com/seed79541315/postern/runtime/wasm/wasmtest"
)

// messages are good ones of every entry point, to be spoilt.
func messages(tb testing.TB) map[abi.Entry][][]byte {
	list := map[abi.Entry][][]byte{abi.EntryInit: {rules(tb)}}
	ids := strings.NewReplacer("DEVICE", fmt.Sprintf("%x", bike), "ID", fmt.Sprintf("%x", mark(0)))
	for _, src := range []string{
		`{"set_circle": {"members": ["ID", "DEVICE"], "threshold": 2}}`,
		`{"freeze": {"owner": "ID"}}`,
		`{"thaw": {"owner": "ID"}}`,
		`{"register": {"device": "DEVICE", "marks": ["ID"]}}`,
		`{"open": {"device": "DEVICE", "kind": "lost", "reason": "ID"}}`,
		`{"second": {"case": 1}}`,
		`{"evidence": {"case": 1, "kind": "sighting", "digest": "ID", "sealed": "00ff"}}`,
		`{"found": {"case": 1, "digest": "ID", "sealed": "00ff"}}`,
		`{"confirm": {"case": 1}}`,
		`{"object": {"case": 1}}`,
		`{"contest": {"case": 1, "reason": "ID"}}`,
		`{"rule": {"case": 1, "outcome": "uphold", "reason": "ID"}}`,
		`{"list_mark": {"mark": "ID", "reason": "ID"}}`,
		`{"strike_mark": {"mark": "ID"}}`,
		`"sweep"`,
	} {
		list[abi.EntryExecute] = append(list[abi.EntryExecute], say(tb, ids.Replace(src)))
	}
	s := named(tb)
	for name := range s.Query {
		list[abi.EntryQuery] = append(list[abi.EntryQuery], append([]byte{0x84, byte(s.Query[name].Op), 0x58, 32}, append(bike[:], 0xf6, 9)...))
	}
	slices.SortFunc(list[abi.EntryQuery], slices.Compare)
	return list
}

// Whatever a message holds, the contract answers or refuses; it never traps.
func refuses(tb testing.TB, c *wasmtest.Chain, entry abi.Entry, message []byte) {
	tb.Helper()
	_, _, err := c.Call(entry, message)
	var trap *wasm.Trap
	if errors.As(err, &trap) && trap.Code != abi.CodeAborted {
		tb.Fatalf("%v %x: %v", entry, message, err)
	}
}

func TestSpoiltMessagesAreRefused(t *testing.T) {
	c := platform(t, 10)
	dice := rand.New(rand.NewPCG(1, 2))
	for entry, list := range messages(t) {
		for range 3000 {
			b := slices.Clone(list[dice.IntN(len(list))])
			for range 1 + dice.IntN(3) {
				switch at := dice.IntN(len(b)); dice.IntN(4) {
				case 0:
					b[at] = byte(dice.Uint32())
				case 1:
					b = slices.Insert(b, at, byte(dice.Uint32()))
				case 2:
					b = append(b[:at], append([]byte{0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, b[at:]...)...)
				default:
					b = b[:max(1, at)]
				}
			}
			c.Input.Roles = abi.Role(dice.Uint32())
			c.As([]abi.Hash{wasmtest.Owner, bike, {3}}[dice.IntN(3)])
			refuses(t, c, entry, b)
		}
	}
}

func FuzzMessages(f *testing.F) {
	for entry, list := range messages(f) {
		for _, m := range list {
			f.Add(byte(entry), m)
		}
	}
	f.Fuzz(func(t *testing.T, entry byte, message []byte) {
		e := abi.Entry(entry % byte(abi.EntryCount))
		if !slices.Contains([]abi.Entry{abi.EntryInit, abi.EntryExecute, abi.EntryTimer, abi.EntryQuery}, e) {
			return
		}
		for _, caller := range []abi.Hash{wasmtest.Owner, bike} {
			refuses(t, platform(t, 2).As(caller), e, message)
		}
	})
}
