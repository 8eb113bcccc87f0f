package blocksync

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

var someRequests = []request{
	{kind: kindBlocks, height: 1, count: 2, bytes: 3},
	{kind: kindBlocks, height: math.MaxUint64, count: math.MaxUint64, bytes: math.MaxUint64},
	{kind: kindLive, height: 7},
	{kind: kindOffer},
	{kind: kindManifest, height: 10000},
	{kind: kindChunk, height: 10000},
	{kind: kindChunk, height: 10000, prefix: 0b101 << 61, depth: 3},
	{kind: kindChunk, height: 1, prefix: math.MaxUint64, depth: 64},
	{kind: kindGuards, height: 10000},
}

func TestRequests(t *testing.T) {
	for _, q := range someRequests {
		got, err := parseRequest(appendRequest(nil, &q))
		if err != nil || got != q {
			t.Errorf("%+v became %+v, %v", q, got, err)
		}
	}
	array := func(list ...uint64) []byte {
		b := cbor.AppendArray(nil, len(list))
		for _, x := range list {
			b = cbor.AppendUint(b, x)
		}
		return b
	}
	for name, c := range map[string]struct {
		raw  []byte
		code abi.Code
	}{
		"nothing":                     {nil, abi.CodeMalformed},
		"an empty array":              {array(), abi.CodeMalformed},
		"kind 0":                      {array(0), abi.CodeUnknownOp},
		"a kind of the future":        {array(7, 1), abi.CodeUnknownOp},
		"a field less":                {array(1, 1, 2), abi.CodeMalformed},
		"a field more":                {array(2, 1, 2), abi.CodeMalformed},
		"a tail":                      {append(array(3), 0), abi.CodeMalformed},
		"a chunk of too many bits":    {array(5, 1, 0, 65), abi.CodeMalformed},
		"of 256 bits":                 {array(5, 1, 0, 256), abi.CodeMalformed},
		"bits below a chunk's prefix": {array(5, 1, 1, 3), abi.CodeMalformed},
		"another type":                {[]byte{0x61, 'x'}, abi.CodeMalformed},
	} {
		if _, err := parseRequest(c.raw); !errors.Is(err, c.code) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFramesOfBlocks(t *testing.T) {
	pairs := []pair{{[]byte("block"), []byte("certificate")}, {[]byte{}, []byte{}}}
	at, got, err := parseBlocksFrame(appendBlocks(nil, pairs))
	if err != nil || at != (standing{}) || !reflect.DeepEqual(got, pairs) {
		t.Errorf("blocks: %v %v %v", at, got, err)
	}
	at, got, err = parseBlocksFrame(appendStanding(nil, standing{3, 9}))
	if err != nil || at != (standing{3, 9}) || got != nil {
		t.Errorf("standing: %v %v %v", at, got, err)
	}
	for name, raw := range map[string][]byte{
		"nothing":         nil,
		"no pairs":        appendBlocks(nil, nil),
		"too many pairs":  appendBlocks(nil, make([]pair, maxCount+1)),
		"a tail":          append(appendBlocks(nil, pairs), 0),
		"cut short":       appendBlocks(nil, pairs)[:9],
		"another kind":    {0x82, 3, 0},
		"a long standing": {0x84, 1, 1, 1, 1},
	} {
		if _, _, err := parseBlocksFrame(raw); !errors.Is(err, abi.CodeMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzMessages holds that parsers take only what the appenders write.
func FuzzMessages(f *testing.F) {
	for _, q := range someRequests {
		f.Add(appendRequest(nil, &q))
	}
	f.Add(appendStanding(nil, standing{1, 2}))
	f.Add(appendBlocks(nil, []pair{{[]byte{1}, []byte{2}}}))
	f.Add(appendOffer(nil, offer{1, 2}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if q, err := parseRequest(raw); err == nil && !bytes.Equal(appendRequest(nil, &q), raw) {
			t.Errorf("request %+v", q)
		}
		if o, err := parseOffer(raw); err == nil && !bytes.Equal(appendOffer(nil, o), raw) {
			t.Errorf("offer %+v", o)
		}
		switch at, pairs, err := parseBlocksFrame(raw); {
		case err != nil:
		case pairs == nil && !bytes.Equal(appendStanding(nil, at), raw):
			t.Errorf("standing %+v", at)
		case pairs != nil && !bytes.Equal(appendBlocks(nil, pairs), raw):
			t.Errorf("%d pairs", len(pairs))
		}
	})
}

// FuzzManifest holds that a manifest has one encoding, and that reading and
// verifying what anyone sends ends well.
func FuzzManifest(f *testing.F) {
	h := build(6, 10, map[uint64][]seat{2: seats(2, 3, 4, 5), 6: seats(1)})
	trusted := trustedOf(h)
	raw := manifestAt(h, 6, newState(3, 3))
	f.Add(raw)
	f.Add(raw[:len(raw)/2])
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseManifest(b)
		if err != nil {
			if _, ok := errors.AsType[abi.Code](err); !ok {
				t.Errorf("an error without a code: %v", err)
			}
			return
		}
		if !bytes.Equal(m.Append(nil), b) {
			t.Error("another encoding")
		}
		if at := trusted; m.Verify(&at) == nil && m.Header != h.blocks[m.Header.Height].header {
			t.Error("a block that is not the chain's was verified")
		}
	})
}

// FuzzRun holds that whatever a peer sends for blocks, only the chain's own
// come out as proven.
func FuzzRun(f *testing.F) {
	h := build(6, 10, map[uint64][]seat{4: seats(2, 3, 4, 5)})
	var pairs []pair
	for _, b := range h.blocks[1:] {
		pairs = append(pairs, pair{b.block, b.certificate})
	}
	f.Add(appendBlocks(nil, pairs))
	f.Add(appendBlocks(nil, pairs[:1]))
	f.Add(appendBlocks(nil, slices.Concat(pairs[3:], pairs[:2])))
	f.Fuzz(func(t *testing.T, raw []byte) {
		_, pairs, err := parseBlocksFrame(raw)
		if err != nil {
			return
		}
		run, err := parseRun(pairs, 1, h.blocks[0].header.Chain)
		if err == nil {
			err = prove(run, setOf(h.seats[1]))
		}
		if err != nil {
			if !isLie(err) {
				t.Errorf("not a lie: %v", err)
			}
			return
		}
		for i, c := range run {
			if c.proven && c.block.Header != h.blocks[i+1].header {
				t.Errorf("block %d is not the chain's", i+1)
			}
		}
	})
}
