// Package peer connects the nodes of a chain: mutually authenticated QUIC over
// one UDP socket, with a stream each way for consensus, one for transactions,
// one for heads, and a stream for each request.
//
// The caller's duties, in order:
//
//  1. Open the ledger, so that Class can answer, and make a Network with New.
//  2. Start Run. What it hears goes to the Handler at once, so the Handler must
//     be ready before.
//  3. After each block that changes the validator set or the roles of accounts,
//     and after each change of the node's own place in them, call Recheck.
//  4. Close every Stream that Open returned.
//  5. Report what a peer sent that an honest one never sends with Misbehaved.
//     Never report what may come from lagging behind or from a bad network.
//  6. End Run's context and wait for Run. The Handler's methods have to return
//     then, or Run does not.
//
// Nothing that a peer says is believed but the key that its handshake proved:
// the rest is checked by whoever gets it. A key is what the ledger says it is.
// A validator is heard in everything; a node, in everything but consensus; a
// stranger is refused when it dials, and when it was dialled it is only asked:
// so a node that knows no more than the genesis can join. Whoever breaks the
// protocol is refused for a time that doubles, also over a restart.
//
// Send and its like never block: each peer has a queue for each kind of
// message, bounded in number and bytes, and when one is full the oldest message
// gives way and is counted. Messages of one kind to one peer keep their order,
// but any of them may be lost: with a full queue, and with a connection.
//
// It opens one UDP socket, the caller's, on which it dials Config.Peers and
// serves the streams in conn.go and request.go; with Config.Local also the
// sockets of multicast DNS on port 5353.
package peer
