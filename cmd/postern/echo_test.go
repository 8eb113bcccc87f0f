package main

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"github.com/quic-go/quic-go"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/sdk/key"
)

// runEcho is a bare quic-go server that answers every frame with a frame of
// as many bytes as its first argument says: what a decision would cost if it
// cost nothing. It prints its address and runs until it is killed.
func runEcho() {
	var size int
	if _, err := fmt.Sscan(os.Args[1], &size); err != nil {
		panic(err)
	}
	k, err := key.Generate()
	if err != nil {
		panic(err)
	}
	cert, err := k.Certificate()
	if err != nil {
		panic(err)
	}
	l, err := quic.ListenAddr("127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{cert}, NextProtos: []string{abi.ALPN},
		ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS13,
	}, &quic.Config{InitialStreamReceiveWindow: 64 << 10, InitialConnectionReceiveWindow: 128 << 10})
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr())
	answer := make([]byte, 4+size)
	binary.BigEndian.PutUint32(answer, uint32(size))
	for {
		conn, err := l.Accept(context.Background())
		if err != nil {
			panic(err)
		}
		go echoConn(conn, answer)
	}
}

func echoConn(conn *quic.Conn, answer []byte) {
	for {
		s, err := conn.AcceptStream(context.Background())
		if err != nil {
			return
		}
		go echoStream(s, answer)
	}
}

func echoStream(s *quic.Stream, answer []byte) {
	defer s.Close()
	buf := make([]byte, 64<<10)
	for {
		if _, err := io.ReadFull(s, buf[:4]); err != nil {
			return
		}
		if _, err := io.ReadFull(s, buf[:binary.BigEndian.Uint32(buf)]); err != nil {
			return
		}
		if _, err := s.Write(answer); err != nil {
			return
		}
	}
}
