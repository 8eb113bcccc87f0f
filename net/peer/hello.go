package peer

import (
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// protocol is what this version speaks. A node takes any from 1 on: what a
// later one adds, it adds so that an earlier one can pass over it.
const protocol = 1

const (
	instanceLen = 16
	maxHello    = 1 << 10 // bytes; a hello has some 100 besides the address
	maxAddress  = 261     // bytes: the longest name of a host (RFC 1035 section 3.1), a colon and a port
)

// hello is what both sides say first, a map
//
//	1 protocol (uint)
//	2 chain id (bytes 32)
//	3 instance (bytes 16): random, of this run of the node's process
//	4 dial (uint): the number of this connection among those that the dialling side dialled, from 1 on; 0 from the other side
//	5 address at which the sender can be dialled (text), may be empty
type hello struct {
	protocol uint64
	chain    abi.Hash
	instance [instanceLen]byte
	dial     uint64
	address  string
}

func appendHello(b []byte, h *hello) []byte {
	b = cbor.AppendUint(cbor.AppendUint(cbor.AppendMap(b, 5), 1), h.protocol)
	b = cbor.AppendBytes(cbor.AppendUint(b, 2), h.chain[:])
	b = cbor.AppendBytes(cbor.AppendUint(b, 3), h.instance[:])
	b = cbor.AppendUint(cbor.AppendUint(b, 4), h.dial)
	return cbor.AppendText(cbor.AppendUint(b, 5), h.address)
}

// parseHello reads a hello. Fields that it does not know belong to later
// protocols.
func parseHello(b []byte) (h hello, err error) {
	r := cbor.NewReader(b)
	seen := 0
	for f := r.Fields(); f.Next(); {
		if f.Key() >= 1 && f.Key() <= 5 {
			seen++
		}
		switch f.Key() {
		case 1:
			h.protocol = r.Uint()
		case 2:
			copy(h.chain[:], r.BytesN(len(h.chain)))
		case 3:
			copy(h.instance[:], r.BytesN(instanceLen))
		case 4:
			h.dial = r.Uint()
		case 5:
			h.address = r.Text()
		default:
			r.Skip()
		}
	}
	if err := r.Done(); err != nil {
		return hello{}, fmt.Errorf("hello: %w", err)
	}
	if seen != 5 || h.protocol == 0 || h.address != "" && !validAddress(h.address) {
		return hello{}, fmt.Errorf("hello: %w", abi.CodeMalformed)
	}
	return h, nil
}

// check refuses a hello that does not fit this node. The side that did not
// dial has no number.
func (h *hello) check(chain abi.Hash, theyDialled bool) error {
	if h.chain != chain {
		return fmt.Errorf("peer of chain %x: %w", h.chain[:8], abi.CodeWrongChain)
	}
	if theyDialled != (h.dial != 0) {
		return fmt.Errorf("hello with dial %d: %w", h.dial, abi.CodeMalformed)
	}
	return nil
}
