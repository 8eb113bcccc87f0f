// Package capture makes records of a device's connections from its packets. It
// stands apart from package flows because a node has no use for packets: the
// library that reads them takes four megabytes of memory in whatever links it.
//
// The caller's duties, in order: make a Table for one device's hardware address
// and the resolvers whose answers name addresses; give it every Ethernet frame
// that the device sends or gets, as an access point sees them, in order; Take
// the records now and then. A capture file gives its frames by ReadFile.
//
// A Table is one goroutine's. It never keeps a packet's payload: what is
// remembered are addresses, ports, counts, and the names that DNS answers told.
package capture

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// pcapng begins with a section header block.
const pcapngMagic = 0x0a0d0d0a

// ReadFile gives the Ethernet frames of a capture file, pcap or pcapng, in
// order: each with its length on the wire and its time. It stops at the first
// error of frame's.
func ReadFile(r io.Reader, frame func(data []byte, length int, at time.Time) error) error {
	source, err := openCapture(bufio.NewReader(r))
	if err != nil {
		return fmt.Errorf("reading a capture: %w", err)
	}
	for n := 0; ; n++ {
		data, info, err := source.ReadPacketData()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading packet %d of a capture: %w", n, err)
		}
		if err := frame(data, info.Length, info.Timestamp); err != nil {
			return err
		}
	}
}

func openCapture(r *bufio.Reader) (gopacket.PacketDataSource, error) {
	magic, err := r.Peek(4)
	if err != nil {
		return nil, err
	}
	var source interface {
		gopacket.PacketDataSource
		LinkType() layers.LinkType
	}
	if binary.BigEndian.Uint32(magic) == pcapngMagic {
		source, err = pcapgo.NewNgReader(r, pcapgo.DefaultNgReaderOptions)
	} else {
		source, err = pcapgo.NewReader(r)
	}
	if err != nil {
		return nil, err
	}
	if link := source.LinkType(); link != layers.LinkTypeEthernet {
		return nil, fmt.Errorf("frames of %v, want Ethernet", link)
	}
	return source, nil
}
