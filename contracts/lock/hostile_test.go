package lock_test

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
	list := map[abi.Entry][][]byte{abi.EntryDecide: {unlock(guest(0)), unlock(guest(77))}}
	ids := strings.NewReplacer("DOOR", fmt.Sprintf("%x", door), "GUEST", fmt.Sprintf("%x", guest(0)))
	for _, src := range []string{
		`{"set_lock": {"lock": "DOOR", "delegation": true, "retention": "30d", "staleness": "60s", "recipients": ["DOOR"]}}`,
		`{"set_zone": {"lock": "DOOR", "until": 2000000000, "steps": [{"start": 0, "offset": -3600}, {"start": 1774832400, "offset": 7200}]}}`,
		`{"grant": {"lock": "DOOR", "kind": "card", "guest": "GUEST", "terms": {"from": 1, "until": 1767700000000, "windows": [{"days": 127, "from": 0, "to": 1440}], "uses": 3}}}`,
		`{"revoke": {"lock": "DOOR", "kind": "card", "guest": "GUEST"}}`,
		`{"enter": {"lock": "DOOR", "note": "GUESTGUEST"}}`,
		`{"admit": {"kind": "card", "guest": "GUEST", "note": "GUESTGUEST"}}`,
		`{"report": {"how": "code", "guest": "GUEST", "note": "GUESTGUEST"}}`,
		`{"health": {"battery": 20, "tampered": true}}`,
		`"sweep"`,
	} {
		list[abi.EntryExecute] = append(list[abi.EntryExecute], say(tb, ids.Replace(src)))
	}
	s, err := words()
	if err != nil {
		tb.Fatal(err)
	}
	for name := range s.Query {
		list[abi.EntryQuery] = append(list[abi.EntryQuery], append([]byte{0x84, byte(s.Query[name].Op), 0x58, 32}, append(door[:], 0xf6, 9)...))
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
	c := home(t, 10)
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
			c.As([]abi.Hash{wasmtest.Owner, door, {3}}[dice.IntN(3)])
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
		if !slices.Contains([]abi.Entry{abi.EntryExecute, abi.EntryTimer, abi.EntryQuery, abi.EntryDecide}, e) {
			return
		}
		for _, caller := range []abi.Hash{wasmtest.Owner, door} {
			refuses(t, home(t, 2).As(caller), e, message)
		}
	})
}
