package flows

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

// ReadCapture gives the Ethernet frames of a capture file, pcap or pcapng, in
// order: each with its length on the wire and its time. It stops at the first
// error of frame's.
func ReadCapture(r io.Reader, frame func(data []byte, length int, at time.Time) error) error {
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
