// Package peer connects the nodes of a chain: mutually authenticated QUIC over
// one UDP socket, with a stream a direction for consensus, one for
// transactions, one for heads, and one a request.
package peer
