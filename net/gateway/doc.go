// Package gateway is the device port: the QUIC service that answers devices,
// developers' tools and operators' tools.
//
// It listens on one UDP socket for QUIC version 1 with the application
// protocol abi.ALPN and opens nothing else. A client authenticates itself by
// a self-signed certificate in mutual TLS 1.3: the key in it is the identity.
// Session tickets and 0-RTT are off, so every connection proves its key anew.
//
// A client opens up to 8 bidirectional streams and keeps them. On each it
// sends frames (abi.ReadFrame) that hold an abi.Request, as many as it likes
// before it reads, and gets an abi.Response to each in the same order. Before
// anything else happens with a request the Node is asked what the ledger says
// of the key at this moment, so a change of status reaches open connections. A
// subscribe is the last request of its stream: events follow it.
//
// What a client that means harm can cost is bounded by Config: connections in
// all, by address and by key, handshakes before the address must prove itself
// by a Retry, requests a second, the time a frame may take to arrive and an
// answer to be read, and the number of large frames in memory at a time. An
// idle stream holds no buffer.
//
// A caller makes a Server with New, calls Run once, tells Recheck which accounts
// a block has changed and which devices the node isolates, so that their
// connections end at once, and reads Stats whenever it likes. DESIGN.md says how
// the parts fit.
package gateway
