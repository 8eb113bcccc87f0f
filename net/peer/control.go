package peer

import (
	"errors"
	"fmt"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// A frame of the control stream, after the hello, is one byte that says what
// it is and the content.
const (
	controlHead      = 1 // an encoded chain.SignedHead
	controlAddresses = 2 // see appendAddresses
)

const (
	maxControl   = 16 << 10 // bytes of a control frame
	maxAddresses = 32       // nodes in one frame: 32 of the longest addresses fit

	tellEvery   = 2 * time.Minute // how often a node tells its peers of others
	learnBurst  = 4               // lists of addresses of one peer that are read at once,
	learnPerMin = 2               // and a minute; what comes faster is passed over
)

// nodeAddress is a node and where it may be reached.
type nodeAddress struct {
	key     Key
	address string
}

// appendAddresses appends an array of [key (bytes 32), address (text)].
func appendAddresses(b []byte, list []nodeAddress) []byte {
	b = cbor.AppendArray(b, len(list))
	for _, a := range list {
		b = cbor.AppendBytes(cbor.AppendArray(b, 2), a.key[:])
		b = cbor.AppendText(b, a.address)
	}
	return b
}

func parseAddresses(b []byte) ([]nodeAddress, error) {
	r := cbor.NewReader(b)
	n := r.Array()
	if n > maxAddresses {
		return nil, fmt.Errorf("%d addresses: %w", n, abi.CodeTooLarge)
	}
	list := make([]nodeAddress, n)
	for i := range list {
		r.ArrayN(2)
		copy(list[i].key[:], r.BytesN(len(list[i].key)))
		list[i].address = r.Text()
		if r.Err() == nil && !validAddress(list[i].address) {
			r.Fail(fmt.Errorf("address %q: %w", list[i].address, abi.CodeMalformed))
		}
	}
	return list, r.Done()
}

// handleControl takes a control frame. A stranger is not heard; what is not
// known belongs to a later protocol.
func (c *conn) handleControl(frame []byte) error {
	if len(frame) == 0 {
		return fmt.Errorf("empty control frame: %w", abi.CodeMalformed)
	}
	if c.standing() == Stranger {
		c.network.stats.traffic[kindControl].ignored.Add(1)
		return nil
	}
	switch content := frame[1:]; frame[0] {
	case controlHead:
		if len(content) > MaxHead {
			return fmt.Errorf("head of %d bytes: %w", len(content), abi.CodeTooLarge)
		}
		c.network.config.Handler.Head(c.key, content)
	case controlAddresses:
		return c.learn(content)
	}
	return nil
}

// learn takes in addresses that a peer tells of. That one of them is wrong is
// no proof of a lie; that it tells of too many is not either, but is not heard.
func (c *conn) learn(content []byte) error {
	list, err := parseAddresses(content)
	if err != nil {
		return errors.Join(fmt.Errorf("addresses: %w", abi.CodeMalformed), err)
	}
	n := c.network
	if !n.config.Learn {
		return nil
	}
	if !c.tells.Allow() {
		n.stats.traffic[kindControl].ignored.Add(1)
		return nil
	}
	for _, a := range list {
		if a.key != n.key && plausible(a.address, c.quic.RemoteAddr()) && n.config.Class(a.key) != Stranger {
			n.book.hint(a.key, a.address, c.key)
		}
	}
	n.poke()
	return nil
}

// tell queues the addresses of other nodes for a peer.
func (c *conn) tell(list []nodeAddress) {
	others := make([]nodeAddress, 0, maxAddresses)
	for _, a := range list {
		if a.key != c.key && len(others) < maxAddresses {
			others = append(others, a)
		}
	}
	if len(others) > 0 && c.standing() != Stranger {
		c.queue(kindControl, appendAddresses([]byte{controlAddresses}, others))
	}
}

// reachedAt is where the peer may be dialled: where it says, where it was
// dialled, or where its packets come from.
func (c *conn) reachedAt() string {
	switch {
	case c.theirs.address != "" && plausible(c.theirs.address, c.quic.RemoteAddr()):
		return c.theirs.address
	case c.outbound:
		return c.address
	}
	if p, ok := addrPort(c.quic.RemoteAddr()); ok {
		return p.String()
	}
	return ""
}

// reachable lists the connected nodes with their addresses, validators first.
func (n *Network) reachable() (list []nodeAddress) {
	for _, class := range []Class{Validator, Node} {
		for _, c := range n.all() {
			if address := c.reachedAt(); c.standing() == class && validAddress(address) {
				list = append(list, nodeAddress{c.key, address})
			}
		}
	}
	return list
}
