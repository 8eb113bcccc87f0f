package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/seed79541315/postern/abi"
)

func TestMessages(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		a, b := w.start(1, []int{2}, nil), w.start(2, nil, nil)
		settled(time.Second)
		mustConnect(t, a, b)
		large := bytes.Repeat([]byte("postern "), 3<<20/8)
		a.Send(b.key, []byte("first"))
		a.Send(b.key, large)
		a.Send(b.key, nil)
		a.SendTransaction(b.key, []byte("transaction"))
		a.SendHead([]byte("head"))
		b.Send(a.key, []byte("back"))
		settled(10 * time.Second)
		consensus, transactions, heads := b.got()
		if len(consensus) != 3 || string(consensus[0]) != "first" || !bytes.Equal(consensus[1], large) || len(consensus[2]) != 0 {
			t.Errorf("%d consensus messages, or others than were sent", len(consensus))
		}
		if len(transactions) != 1 || string(transactions[0]) != "transaction" || len(heads) != 1 || string(heads[0]) != "head" {
			t.Errorf("transactions %q, heads %q", transactions, heads)
		}
		if consensus, _, _ = a.got(); len(consensus) != 1 || string(consensus[0]) != "back" {
			t.Errorf("consensus back: %q", consensus)
		}
	})
}

func TestOrderUnderLoss(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		i := 0
		w.lose(func(netip.AddrPort, netip.AddrPort) bool { i++; return i%7 == 0 })
		a, b := w.start(1, []int{2}, nil), w.start(2, nil, nil)
		settled(5 * time.Second)
		mustConnect(t, a, b)
		for i := range 500 {
			a.Send(b.key, fmt.Appendf(nil, "%d %s", i, bytes.Repeat([]byte("x"), i)))
		}
		settled(time.Minute)
		consensus, _, _ := b.got()
		if len(consensus) != 500 {
			t.Fatalf("%d of 500 messages arrived", len(consensus))
		}
		for i, m := range consensus {
			if !bytes.HasPrefix(m, fmt.Appendf(nil, "%d ", i)) {
				t.Fatalf("message %d is %.8q", i, m)
			}
		}
	})
}

func TestRequest(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		a, b := w.start(1, []int{2}, nil), w.start(2, nil, nil)
		settled(time.Second)
		s, err := a.Open(t.Context(), b.key, []byte("request"))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range [][]byte{[]byte("request"), {}, bytes.Repeat([]byte("x"), MaxFrame)} {
			if string(want) != "request" {
				if err := s.Send(want); err != nil {
					t.Fatal(err)
				}
			}
			if frame, err := s.Receive(); err != nil || !bytes.Equal(frame, want) {
				t.Fatalf("%d bytes came back, error %v; want %d", len(frame), err, len(want))
			}
		}
		if err := s.Send(make([]byte, MaxFrame+1)); !errors.Is(err, abi.CodeFrameTooLarge) {
			t.Errorf("a frame above the limit: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		b.stop()
		settled(time.Second)
		if _, err := a.Open(t.Context(), b.key, nil); !errors.Is(err, abi.CodeUnavailable) {
			t.Errorf("request to a peer that left: %v", err)
		}
	})
}

func TestRequestRefused(t *testing.T) {
	simulate(t, func(t *testing.T, w *world) {
		a := w.start(1, []int{2}, nil)
		b := w.start(2, nil, func(_ *Config, n *node) {
			n.onServe = func(_ context.Context, request []byte, s Stream) error {
				if string(request) == "one" {
					return s.Send([]byte("1"))
				}
				return fmt.Errorf("no such thing: %w", abi.CodeNotFound)
			}
		})
		settled(time.Second)
		s, err := a.Open(t.Context(), b.key, []byte("two"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Receive(); !errors.Is(err, abi.CodeNotFound) {
			t.Errorf("the refusal came as %v", err)
		}
		s.Close()
		if s, err = a.Open(t.Context(), b.key, []byte("one")); err != nil {
			t.Fatal(err)
		}
		if frame, err := s.Receive(); err != nil || string(frame) != "1" {
			t.Errorf("%q, %v", frame, err)
		}
		if _, err := s.Receive(); err != io.EOF {
			t.Errorf("after the last frame: %v, want io.EOF", err)
		}
		s.Close()
	})
}
