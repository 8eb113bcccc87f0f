package chain

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// arrayOf is an array of n times an item.
func arrayOf(n int, item []byte) []byte {
	return append(cbor.AppendArray(nil, n), bytes.Repeat(item, n)...)
}

func TestDeviceArgumentsRefused(t *testing.T) {
	h, text, some := encHash("x"), encText("x"), encBytes([]byte{1})
	key := encBytes(newEd("alice").Public())
	long := encText(strings.Repeat("x", MaxText+1))
	yes := []byte{0xf5}
	entry := func(hardware, reason []byte) []byte {
		return bytes.Join([][]byte{{0x85}, text, text, hardware, yes, reason}, nil)
	}
	list := func(entries []byte) []byte { return pairs(1, text, 2, encUint(1), 3, encUint(1), 4, entries) }
	verdict := func(level uint64) []byte { return pairs(1, h, 2, text, 3, encUint(level), 6, h) }
	for _, tt := range []struct {
		kind string
		in   []byte
		code abi.Code
	}{
		{"register-manufacturer", pairs(1, text, 2, h, 3, []byte{0x80}), abi.CodeBadArgument},
		{"register-manufacturer", pairs(1, text, 2, h, 3, arrayOf(1, some)), abi.CodeBadKey},
		{"register-manufacturer", pairs(1, text, 2, h, 3, arrayOf(2, key)), abi.CodeBadArgument},
		{"register-manufacturer", pairs(1, text, 2, h, 3, arrayOf(MaxVouchingKeys+1, key)), abi.CodeTooLarge},
		{"register-manufacturer", pairs(1, encText("a\x00b"), 2, h, 3, arrayOf(1, key)), abi.CodeBadArgument},
		{"prove-origin", pairs(1, h, 2, encBytes(nil)), abi.CodeMalformed},
		{"device-origin", pairs(1, text, 2, text, 3, text, 4, some), abi.CodeBadKey},
		{"device-origin", pairs(1, text, 2, text, 3, encText("a\x00b"), 4, key), abi.CodeBadArgument},
		{"device-origin", pairs(1, text, 2, text, 3, text, 4, key, 5, encBytes(nil)), abi.CodeMalformed},
		{"device-origin", pairs(1, text, 2, text, 3, text, 4, key, 5, encBytes(make([]byte, MaxHardwareID+1))), abi.CodeTooLarge},
		{"transfer", pairs(1, h), abi.CodeBadArgument},
		{"acceptance", pairs(1, h, 2, h, 3, encUint(0)), abi.CodeMalformed},
		{"bind-device", pairs(1, h, 2, arrayOf(MaxBound+1, text)), abi.CodeTooLarge},
		{"bind-device", pairs(1, h, 2, arrayOf(2, text)), abi.CodeBadArgument},
		{"bind-device", pairs(1, h, 2, arrayOf(1, encText("A"))), abi.CodeBadArgument},
		{"blacklist", pairs(1, text, 2, text, 4, yes), abi.CodeBadArgument},
		{"blacklist", pairs(1, text, 2, text, 4, yes, 5, long), abi.CodeBadArgument},
		{"blacklist", pairs(1, text, 2, text, 3, encBytes(make([]byte, MaxHardwareID+1)), 4, yes, 5, text), abi.CodeTooLarge},
		{"register-platform", pairs(1, encText("A"), 2, []byte{0x80}, 3, text), abi.CodeBadArgument},
		{"platform-list", list([]byte{0x80}), abi.CodeTooLarge},
		{"platform-list", list(arrayOf(MaxListEntries+1, entry(h, text))), abi.CodeTooLarge},
		{"platform-list", list(arrayOf(1, entry(some, text))), abi.CodeBadArgument},
		{"platform-list", list(arrayOf(1, entry(h, long))), abi.CodeBadArgument},
		{"platform-list", pairs(1, text, 2, encUint(0), 3, encUint(1), 4, arrayOf(1, entry(h, text))), abi.CodeMalformed},
		{"anchor", pairs(1, encBytes(make([]byte, MaxCheckpointNote+1))), abi.CodeTooLarge},
		{"anchor", pairs(1, some, 2, []byte{0x80}), abi.CodeBadArgument},
		{"anchor", pairs(1, some, 2, arrayOf(MaxConsistency+1, h)), abi.CodeBadArgument},
		{"anchor", pairs(1, some, 2, arrayOf(1, some)), abi.CodeMalformed},
		{"offence", pairs(1, h, 2, some), abi.CodeBadArgument},
		{"verdict", verdict(0), abi.CodeBadArgument},
		{"verdict", verdict(4), abi.CodeBadArgument},
		{"verdict", pairs(1, h, 2, text, 3, encUint(1), 4, encUint(0), 6, h), abi.CodeMalformed},
		{"verdict", pairs(1, h, 2, text, 3, encUint(1), 5, encText(""), 6, h), abi.CodeBadArgument},
		{"report", pairs(1, encUint(0), 2, encUint(1), 3, []byte{0x80}), abi.CodeBadArgument},
		{"report", pairs(1, []byte{0x20}, 2, encUint(1), 3, []byte{0x80}), abi.CodeBadArgument},
		{"report", pairs(1, encUint(1), 2, encUint(3), 3, []byte{0x80}), abi.CodeBadArgument},
		{"report", pairs(1, encUint(1), 2, encUint(1), 3, []byte{0xa0}), abi.CodeBadArgument},
		{"report", pairs(1, encUint(1), 2, encUint(1), 3, arrayOf(1, encBytes(make([]byte, abi.MaxEvidence)))), abi.CodeTooLarge},
		{"alert", pairs(1, text, 2, encUint(0), 3, h), abi.CodeMalformed},
		{"alert", pairs(1, encText("A"), 2, encUint(1), 3, h), abi.CodeBadArgument},
		{"sealed", pairs(1, h, 2, encBytes(make([]byte, MaxSealed+1)), 4, h), abi.CodeTooLarge},
		{"sealed", pairs(1, h, 2, some, 3, []byte{0x80}, 4, h), abi.CodeBadArgument},
		{"sealed", pairs(1, h, 2, some, 3, arrayOf(2, bytes.Join([][]byte{{0x82}, h, some}, nil)), 4, h), abi.CodeBadArgument},
		{"declare-stolen", pairs(1, h), abi.CodeBadArgument},
	} {
		for _, c := range messages {
			if c.name != tt.kind {
				continue
			}
			if _, err := c.again(tt.in); err == nil || !errors.Is(err, tt.code) {
				t.Errorf("%s %x: %v, want %v", tt.kind, tt.in, err, tt.code)
			}
		}
	}
}

// What a factory and a platform sign is read again with who signed it, by no
// other purpose, and not if a bit differs.
func TestSignedByOthers(t *testing.T) {
	origin := DeviceOrigin{Manufacturer: "Acme", Model: "L100", Serial: "0001", Key: newEd("device").Public(), Hardware: []byte{1}}
	list := PlatformList{Platform: "harbour", Sequence: 1, Time: 2, Entries: []ListEntry{{Manufacturer: "Acme", Serial: "1", Listed: true}}}
	for _, by := range []Signer{newEd("factory"), newEC("factory")} {
		o := must(SignOrigin(&origin, by))(t)
		l := must(SignPlatformList(&list, by))(t)
		if got, err := OpenOrigin(o); err != nil || !bytes.Equal(got.Signer, by.Public()) || !bytes.Equal(got.Append(nil), origin.Append(nil)) {
			t.Errorf("origin: %+v, %v", got, err)
		}
		if got, err := OpenPlatformList(l); err != nil || !bytes.Equal(got.Signer, by.Public()) || !bytes.Equal(got.Append(nil), list.Append(nil)) {
			t.Errorf("list: %+v, %v", got, err)
		}
		for _, purpose := range []Purpose{PurposeTransaction, PurposeStatement, PurposeOrigin, PurposeBlacklist} {
			if _, err := OpenOrigin(must(Seal(origin.Append(nil), purpose, by))(t)); (err == nil) != (purpose == PurposeOrigin) {
				t.Errorf("an origin for %s: %v", purpose, err)
			}
			if _, err := OpenPlatformList(must(Seal(list.Append(nil), purpose, by))(t)); (err == nil) != (purpose == PurposeBlacklist) {
				t.Errorf("a list for %s: %v", purpose, err)
			}
		}
		for i := range o {
			bad := bytes.Clone(o)
			bad[i] ^= 1
			if got, err := OpenOrigin(bad); err == nil && !bytes.Equal(got.Append(nil), origin.Append(nil)) {
				t.Errorf("byte %d: %+v", i, got)
			}
		}
	}
}

// FuzzSigned: whatever OpenOrigin and OpenPlatformList accept is a good envelope
// of its purpose around the one encoding of what they give.
func FuzzSigned(f *testing.F) {
	origin := DeviceOrigin{Manufacturer: "Acme", Model: "L100", Serial: "0001", Key: newEd("device").Public()}
	list := PlatformList{Platform: "harbour", Sequence: 1, Time: 2, Entries: []ListEntry{{Manufacturer: "Acme", Serial: "1", Listed: true}}}
	f.Add(must(SignOrigin(&origin, newEd("factory")))(f))
	f.Add(must(SignPlatformList(&list, newEC("harbour")))(f))
	addVectors(f, "transaction", "statement")
	f.Fuzz(func(t *testing.T, in []byte) {
		check := func(purpose Purpose, payload []byte, err error) {
			if err != nil {
				checkCode(t, err)
				return
			}
			e, parseErr := ParseEnvelope(in, purpose)
			if parseErr != nil || e.Verify() != nil || !bytes.Equal(e.Payload, payload) {
				t.Fatalf("%x was accepted for %s: %v", in, purpose, parseErr)
			}
		}
		o, err := OpenOrigin(in)
		check(PurposeOrigin, o.Append(nil), err)
		l, err := OpenPlatformList(in)
		check(PurposeBlacklist, l.Append(nil), err)
	})
}
