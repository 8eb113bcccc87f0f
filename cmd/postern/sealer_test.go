package main

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/sealed"
	"github.com/seed79541315/postern/sdk/key"
)

// sealedHere is a sealer whose transactions a test reads.
type sealedHere struct {
	*sealer
	owner, authority *key.Key

	mu   sync.Mutex
	sent []chain.Sealed
}

func startSealer(t *testing.T) *sealedHere {
	t.Helper()
	h := &sealedHere{owner: newKey(t), authority: newKey(t)}
	h.sealer = &sealer{
		chain: abi.Hash{1}, log: quiet(), queue: make(chan sealable, sealQueue), last: map[sealTurn]time.Time{},
		account: func(id abi.Hash) (chain.Account, error) {
			if id != h.owner.AccountID() {
				return chain.Account{}, abi.CodeUnknownAccount
			}
			return chain.Account{Key: h.owner.Public()}, nil
		},
		authorities: func() ([]sealReader, error) {
			to, err := sealed.Montgomery(h.authority.Public())
			return []sealReader{{h.authority.AccountID(), to}}, err
		},
		submit: func(_ context.Context, args []byte) error {
			a, err := chain.ParseSealed(bytes.Clone(args))
			h.mu.Lock()
			defer h.mu.Unlock()
			h.sent = append(h.sent, a)
			return err
		},
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return h
}

func (h *sealedHere) report(device byte, kind abi.ObservationKind, payload []byte) {
	d := chain.Device{Owner: h.owner.AccountID(), Status: abi.StatusStolen}
	h.keep(&d, &abi.Observation{Kind: kind, Device: abi.Hash{device}, Time: 5, Payload: payload})
}

func (h *sealedHere) taken() []chain.Sealed {
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	sent := h.sent
	h.sent = nil
	return sent
}

func TestSealerSealsForOwnerAndAuthority(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h := startSealer(t)
		payload := placePayload()
		h.report(2, abi.ObserveLocation, payload)
		clear(payload) // as a connection reuses its buffer
		sent := h.taken()
		if len(sent) != 1 {
			t.Fatalf("%d transactions", len(sent))
		}
		item := chain.SealedItem{Account: h.owner.AccountID(), Owner: sent[0].Owner, Authorities: sent[0].Authorities, Evidence: sent[0].Evidence}
		for name, k := range map[string]*key.Key{"owner": h.owner, "authority": h.authority} {
			text, err := readerWith(t, abi.Hash{1}, k).open(abi.Hash{2}, &item)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			o, err := abi.ParseObservation(text)
			if err != nil || o.Device != (abi.Hash{2}) || !bytes.Equal(o.Payload, placePayload()) {
				t.Errorf("%s: %+v, %v", name, o, err)
			}
		}
	})
}

// Only what quarantined and stolen devices send is kept.
func TestSealerPassesOverOtherStatuses(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h := startSealer(t)
		for status, want := range map[abi.Status]int{abi.StatusActive: 0, abi.StatusSuspended: 0, abi.StatusRetired: 0, abi.StatusQuarantined: 1, abi.StatusStolen: 1} {
			d := chain.Device{Owner: h.owner.AccountID(), Status: status}
			h.keep(&d, &abi.Observation{Kind: abi.ObserveFlows, Device: abi.Hash{byte(status)}, Payload: []byte{0x80}})
			if got := len(h.taken()); got != want {
				t.Errorf("%s: %d items, want %d", status, got, want)
			}
		}
	})
}

// A chatty device does not push out where it was: one item a kind and minute.
func TestSealerTakesTurns(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h := startSealer(t)
		for range 50 {
			h.report(2, abi.ObserveTelemetry, []byte{0x80})
			synctest.Wait()
		}
		h.report(2, abi.ObserveLocation, placePayload())
		h.report(3, abi.ObserveTelemetry, []byte{0x80})
		if got := len(h.taken()); got != 3 {
			t.Errorf("%d items, want 3", got)
		}
		elapse(sealEvery)
		h.report(2, abi.ObserveTelemetry, []byte{0x80})
		if got := len(h.taken()); got != 1 {
			t.Errorf("%d items after a minute, want 1", got)
		}
		if got := h.passedOver.Load(); got != 49 {
			t.Errorf("%d passed over, want 49", got)
		}
	})
}

// The turns of many devices take bounded memory.
func TestSealerForgetsTurns(t *testing.T) {
	s := &sealer{last: map[sealTurn]time.Time{}}
	now := time.Unix(1e9, 0)
	for i := range maxSealTimes + 10 {
		due := s.due(sealTurn{device: abi.Hash{byte(i), byte(i >> 8)}}, now)
		if due != (i < maxSealTimes) {
			t.Fatalf("device %d: %v", i, due)
		}
	}
	if !s.due(sealTurn{device: abi.Hash{1, 2, 3}}, now.Add(sealEvery)) || len(s.last) != 1 {
		t.Errorf("%d turns are remembered", len(s.last))
	}
}

func TestSealerWithoutAuthoritiesSealsForTheOwner(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h := startSealer(t)
		h.authorities = func() ([]sealReader, error) { return nil, errors.New("no view") }
		h.report(2, abi.ObserveLocation, placePayload())
		if sent := h.taken(); len(sent) != 1 || len(sent[0].Authorities) != 0 || len(sent[0].Owner) == 0 {
			t.Errorf("%+v", sent)
		}
	})
}

func TestFittingCutsWholeItems(t *testing.T) {
	item := cbor.AppendText(nil, string(bytes.Repeat([]byte("x"), 500)))
	payload := cbor.AppendArray(nil, 20)
	for range 20 {
		payload = append(payload, item...)
	}
	o := abi.Observation{Kind: abi.ObserveTelemetry, Device: abi.Hash{2}, Time: 1 << 40, Payload: payload}
	text, err := fitting(&o, sealed.MaxText)
	if err != nil || len(text) > sealed.MaxText {
		t.Fatalf("%d bytes, %v", len(text), err)
	}
	got, err := abi.ParseObservation(text)
	if err != nil || len(observationOf(&got).Items) != 7 {
		t.Errorf("%+v, %v", observationOf(&got), err)
	}
	o.Payload = append(cbor.AppendArray(nil, 1), cbor.AppendBytes(nil, make([]byte, 5000))...)
	if _, err := fitting(&o, sealed.MaxText); !errors.Is(err, abi.CodeTooLarge) {
		t.Errorf("one large item: %v", err)
	}
}

func FuzzFitting(f *testing.F) {
	f.Add([]byte{0x80}, 100)
	f.Add([]byte{0x82, 0x61, 'a', 0x61, 'b'}, 60)
	f.Fuzz(func(t *testing.T, payload []byte, most int) {
		o := abi.Observation{Kind: abi.ObserveTelemetry, Time: 1, Payload: payload}
		if _, err := abi.ParseObservation(abi.AppendObservation(nil, &o)); err != nil {
			return
		}
		text, err := fitting(&o, most)
		if err != nil {
			return
		}
		if len(text) > most {
			t.Errorf("%d bytes, %d at most", len(text), most)
		}
		if _, err := abi.ParseObservation(text); err != nil {
			t.Errorf("%x became %x: %v", payload, text, err)
		}
	})
}
