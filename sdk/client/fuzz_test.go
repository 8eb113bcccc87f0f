package client

import (
	"bytes"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
)

// FuzzAnswers feeds the bodies of a gateway's answers to every parser of the
// client: nothing may panic, and nothing may be believed that no validator
// signed.
func FuzzAnswers(f *testing.F) {
	account := abi.Hash{1}
	e := proof.Entry{State: proof.State{Siblings: []abi.Hash{}}}
	hello := cbor.AppendBytes(cbor.AppendUint(cbor.AppendMap(nil, 2), 1), account[:])
	f.Add(e.Append(cbor.AppendUint(hello, 2)))
	f.Add(e.Append(nil))
	f.Add([]byte{0xa3, 1, 0x81, 0x82, 0x41, 'k', 0x41, 'v', 2, 0xf5, 3, 9})
	f.Add([]byte{0xa2, 1, 0x43, 'p', 'a', 'r', 2, 3})
	block := cbor.AppendMap(nil, 1)
	f.Add(cbor.AppendBytes(cbor.AppendUint(block, 1), chain.AppendBlock(nil, &chain.Block{Txs: [][]byte{{1}}})))
	key := bytes.Repeat([]byte{7}, 32)
	f.Fuzz(func(t *testing.T, body []byte) {
		c := &Client{light: &LightClient{genesis: &chain.Genesis{}, sets: []era{{}}}}
		if hello, err := abi.ParseHello(body); err == nil && c.light.gateway(&hello, key, 0) == nil {
			t.Errorf("%x makes a gateway", body)
		}
		if c.light.Advance(body) == nil {
			t.Errorf("%x is a step", body)
		}
		if page, err := parsePage(body); err == nil && page.More {
			page.Next()
		}
		_, _, _ = parsePart(body)
		_, _ = parseQueryResult(body)
		if b, err := parseBlockRecord(body); err == nil && c.checkBlock(b) == nil {
			t.Errorf("%x is a block", body)
		}
	})
}
