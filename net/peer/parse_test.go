package peer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

func TestReadFrame(t *testing.T) {
	for _, n := range []int{0, 1, firstRead - 1, firstRead, firstRead + 1, 5*firstRead + 7, MaxFrame} {
		content := bytes.Repeat([]byte{7}, n)
		encoded := appendFrame(nil, content)
		for name, r := range map[string]io.Reader{
			"whole": bytes.NewReader(encoded), "in halves": iotest.HalfReader(bytes.NewReader(encoded)), "with its end": iotest.DataErrReader(bytes.NewReader(encoded)),
		} {
			if got, err := readFrame(r, MaxFrame); err != nil || !bytes.Equal(got, content) {
				t.Errorf("frame of %d bytes, %s: %d bytes, %v", n, name, len(got), err)
			}
		}
		for _, cut := range []int{1, 3, 4, len(encoded) - 1} {
			if cut < len(encoded) && cut > 0 {
				if _, err := readFrame(bytes.NewReader(encoded[:cut]), MaxFrame); err != io.ErrUnexpectedEOF {
					t.Errorf("frame of %d bytes cut at %d: %v", n, cut, err)
				}
			}
		}
	}
	if _, err := readFrame(strings.NewReader(""), 1); err != io.EOF {
		t.Errorf("no frame: %v", err)
	}
	if _, err := readFrame(bytes.NewReader(appendFrame(nil, make([]byte, 9))), 8); !errors.Is(err, abi.CodeFrameTooLarge) {
		t.Errorf("a frame above the limit: %v", err)
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add(appendFrame(nil, []byte("frame")))
	f.Add([]byte{0, 0, 0xff, 0xff})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		const limit = 1 << 12
		content, err := readFrame(iotest.HalfReader(bytes.NewReader(b)), limit)
		if err != nil {
			return
		}
		if len(content) > limit || !bytes.HasPrefix(b, appendFrame(nil, content)) {
			t.Errorf("%x was read as %x", b, content)
		}
	})
}

func FuzzHello(f *testing.F) {
	h := goodHello()
	h.address = "10.0.0.1:7423"
	f.Add(appendHello(nil, &h))
	f.Add(append(appendHello(nil, &h)[:1], 0xff))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseHello(b)
		if err != nil {
			return
		}
		again := appendHello(nil, &h)
		if back, err := parseHello(again); err != nil || back != h {
			t.Errorf("%+v became %+v, %v", h, back, err)
		}
		if b[0] == 0xa5 && !bytes.Equal(again, b) {
			t.Errorf("%x and %x are the same hello", b, again)
		}
	})
}

// TestHelloLater reads the hello of a later protocol, with more fields.
func TestHelloLater(t *testing.T) {
	h := goodHello()
	h.protocol = 2
	b := appendHello(nil, &h)
	b[0]++ // one field more
	b = cbor.AppendText(cbor.AppendUint(b, 6), "of a later protocol")
	if got, err := parseHello(b); err != nil || got != h {
		t.Errorf("%+v, %v", got, err)
	}
}

func FuzzAddresses(f *testing.F) {
	f.Add(appendAddresses(nil, []nodeAddress{{Key{1}, "10.0.0.1:7423"}, {Key{2}, "host.example:1"}}))
	f.Add([]byte{0x98, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := parseAddresses(b)
		if err != nil {
			return
		}
		if len(list) > maxAddresses {
			t.Errorf("%d addresses", len(list))
		}
		for _, a := range list {
			if !validAddress(a.address) {
				t.Errorf("address %q", a.address)
			}
		}
		if again := appendAddresses(nil, list); !bytes.Equal(again, b) {
			t.Errorf("%x and %x are the same addresses", b, again)
		}
	})
}

// TestAddressesFit holds the largest frame of addresses to the limit.
func TestAddressesFit(t *testing.T) {
	var list []nodeAddress
	for i := range maxAddresses {
		list = append(list, nodeAddress{Key{byte(i)}, strings.Repeat("x", maxAddress-6) + fmt.Sprintf(":%d", 60000+i)})
	}
	b := appendAddresses([]byte{controlAddresses}, list)
	if len(b) > maxControl {
		t.Errorf("%d addresses have %d bytes", maxAddresses, len(b))
	}
	if got, err := parseAddresses(b[1:]); err != nil || len(got) != maxAddresses {
		t.Errorf("%d addresses read, %v", len(got), err)
	}
	if _, err := parseAddresses(appendAddresses(nil, append(list, list[0]))); !errors.Is(err, abi.CodeTooLarge) {
		t.Errorf("one too many: %v", err)
	}
}

func goodState() state {
	return state{
		known: map[Key]knownNode{{1}: {"10.0.0.1:7423", time.Unix(1e9, 0)}, {2}: {"host.example:1", time.Unix(2e9, 0)}},
		bans:  map[Key]ban{{3}: {strikes: 4, until: time.Unix(3e9, 0)}},
	}
}

func FuzzState(f *testing.F) {
	good := goodState()
	f.Add(appendState(nil, &good))
	f.Add([]byte{0xa0})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, b := range [][]byte{b, sealed(b)} {
			s, err := parseState(b)
			if err != nil {
				continue
			}
			again := appendState(nil, &s)
			back, err := parseState(again)
			if err != nil || !maps.Equal(back.known, s.known) || !maps.Equal(back.bans, s.bans) {
				t.Errorf("%+v became %+v, %v", s, back, err)
			}
		}
	})
}

func TestState(t *testing.T) {
	good := goodState()
	b := appendState(nil, &good)
	if got, err := parseState(b); err != nil || !maps.Equal(got.known, good.known) || !maps.Equal(got.bans, good.bans) {
		t.Errorf("%+v, %v", got, err)
	}
	for i := range b {
		flipped := bytes.Clone(b)
		flipped[i] ^= 0x10
		if _, err := parseState(flipped); err == nil {
			t.Errorf("a flipped bit in byte %d is not found", i)
		}
		if _, err := parseState(b[:i]); err == nil {
			t.Errorf("cut at %d is not found", i)
		}
	}
	for i := range maxKnown + maxBans {
		k := Key{byte(i), byte(i >> 8)}
		address := strings.Repeat("x", maxAddress-6) + ":65535"
		if i < maxKnown {
			good.known[k] = knownNode{address, time.Unix(1<<33, 0)}
		} else {
			good.bans[k] = ban{1 << 16, time.Unix(1<<33, 0)}
		}
	}
	delete(good.known, Key{2})
	delete(good.bans, Key{3})
	if b = appendState(nil, &good); len(b) > maxState {
		t.Errorf("the largest state has %d bytes", len(b))
	}
}
