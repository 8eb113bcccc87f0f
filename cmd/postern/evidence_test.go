package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/sealed"
	"github.com/seed79541315/postern/sdk/key"
)

func newKey(t *testing.T) *key.Key {
	t.Helper()
	k, err := key.Generate()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func readerWith(t *testing.T, of abi.Hash, keys ...*key.Key) *reader {
	t.Helper()
	r := &reader{chain: of, account: keys[0].AccountID()}
	for _, k := range keys {
		private, err := k.Agreement()
		if err != nil {
			t.Fatal(err)
		}
		r.keys = append(r.keys, private)
	}
	return r
}

func sealTo(t *testing.T, k *key.Key, of, device abi.Hash, text []byte) []byte {
	t.Helper()
	to, err := sealed.Key(&chain.Account{Key: k.Public()})
	if err != nil {
		t.Fatal(err)
	}
	b, err := sealed.Seal(to, of, device, text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestReaderOpensWhatIsSealedToIt(t *testing.T) {
	of, device := abi.Hash{1}, abi.Hash{2}
	owner, authority, former, stranger := newKey(t), newKey(t), newKey(t), newKey(t)
	text := []byte("where it is")
	item := chain.SealedItem{Account: owner.AccountID(), Owner: sealTo(t, owner, of, device, text), Evidence: sha256.Sum256(text),
		Authorities: []chain.SealedCopy{{Account: authority.AccountID(), Text: sealTo(t, authority, of, device, text)}}}
	for name, k := range map[string]*key.Key{"owner": owner, "authority": authority} {
		if got, err := readerWith(t, of, k).open(device, &item); err != nil || !bytes.Equal(got, text) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := readerWith(t, of, stranger, owner).open(device, &item); !errors.Is(err, abi.CodeNotPermitted) {
		t.Errorf("another account: %v", err)
	}
	if _, err := readerWith(t, of, owner).open(abi.Hash{3}, &item); !errors.Is(err, abi.CodeNotPermitted) {
		t.Errorf("moved to another device: %v", err)
	}

	// After a rotation the account is the same, and the former key opens.
	item.Owner = sealTo(t, former, of, device, text)
	r := readerWith(t, of, owner, former)
	if got, err := r.open(device, &item); err != nil || !bytes.Equal(got, text) {
		t.Errorf("former key: %q, %v", got, err)
	}

	// A gateway that names another hash than that of what it sealed is found out.
	item.Evidence = abi.Hash{9}
	if _, err := r.open(device, &item); !errors.Is(err, abi.CodeBadProof) {
		t.Errorf("another hash: %v", err)
	}
}

// What a stolen device sent is shown with names where it is what its kind says,
// and as it is where it is not.
func TestObservationIsShown(t *testing.T) {
	flow := cbor.AppendMap(nil, 3)
	flow = cbor.AppendUint(cbor.AppendUint(flow, 1), 0)
	flow = cbor.AppendBytes(cbor.AppendUint(flow, 3), []byte{192, 0, 2, 1})
	flow = cbor.AppendUint(cbor.AppendUint(flow, 99), 7)
	for name, test := range map[string]struct {
		kind  abi.ObservationKind
		items [][]byte
		want  string
	}{
		"flow":        {abi.ObserveFlows, [][]byte{flow}, `[{"99":7,"address":"192.0.2.1","direction":0}]`},
		"bad address": {abi.ObserveFlows, [][]byte{cbor.AppendBytes(cbor.AppendUint(cbor.AppendMap(nil, 1), 3), []byte{1})}, `[{"address":"AQ"}]`},
		"no map":      {abi.ObserveTelemetry, [][]byte{cbor.AppendText(nil, "x")}, `[{"item":"x"}]`},
		"nothing":     {abi.ObserveLocation, nil, `[]`},
	} {
		payload := cbor.AppendArray(nil, len(test.items))
		for _, item := range test.items {
			payload = append(payload, item...)
		}
		o, err := abi.ParseObservation(abi.AppendObservation(nil, &abi.Observation{Kind: test.kind, Time: 1, Payload: payload}))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := json.Marshal(observationOf(&o).Items)
		if err != nil || string(got) != test.want {
			t.Errorf("%s: %s, %v; want %s", name, got, err, test.want)
		}
	}
}

func FuzzObservationOf(f *testing.F) {
	f.Add(uint8(2), []byte{0x81, 0xa1, 3, 0x41, 1})
	f.Add(uint8(1), []byte{0x80})
	f.Fuzz(func(t *testing.T, kind uint8, payload []byte) {
		o := abi.Observation{Kind: abi.ObservationKind(kind), Payload: payload}
		if _, err := json.Marshal(observationOf(&o)); err != nil {
			t.Error(err)
		}
	})
}

// scriptSeal: seal HOME DEVICE-KEY OWNER-KEY [AUTHORITY-KEY] has the gateway of a
// home, which runs at $QUIC, seal an observation of where the device is.
func scriptSeal(ts *testscript.TestScript, _ bool, args []string) {
	h := home(ts.MkAbs(args[0]))
	bundle, err := readBundle(h.path("bundle.json"))
	ts.Check(err)
	gateway, err := key.Load(h.path(nodeKeyFile))
	ts.Check(err)
	cl, err := dial(context.Background(), bundle, gateway, ts.Getenv("QUIC"))
	ts.Check(err)
	defer cl.Close()
	var keys []*key.Key
	for _, file := range args[1:] {
		k, err := key.Load(ts.MkAbs(file))
		ts.Check(err)
		keys = append(keys, k)
	}
	device := keys[0].AccountID()
	text := abi.AppendObservation(nil, &abi.Observation{Kind: abi.ObserveLocation, Device: device, Time: 1_800_000_000_000, Payload: placePayload()})
	item := chain.Sealed{Device: device, Evidence: sha256.Sum256(text)}
	for i, k := range keys[1:] {
		to, err := sealed.Key(&chain.Account{Key: k.Public()})
		ts.Check(err)
		b, err := sealed.Seal(to, cl.Chain(), device, text)
		ts.Check(err)
		if i == 0 {
			item.Owner = b
		} else {
			item.Authorities = append(item.Authorities, chain.SealedCopy{Account: k.AccountID(), Text: b})
		}
	}
	_, err = transact(context.Background(), cl, chain.OpSealed, &item)
	ts.Check(err)
}

// placePayload is a SenML record of a latitude.
func placePayload() []byte {
	record := cbor.AppendMap(cbor.AppendArray(nil, 1), 2)
	record = cbor.AppendText(cbor.AppendUint(record, 1), "lat")
	return cbor.AppendDecimal(cbor.AppendUint(record, 4), cbor.Decimal{Exponent: -4, Mantissa: 490097})
}

// scriptReport: report HOME DEVICE-KEY has a device, which is stolen, report where it
// is, and waits until that is kept on the ledger.
func scriptReport(ts *testscript.TestScript, _ bool, args []string) {
	h := home(ts.MkAbs(args[0]))
	bundle, err := readBundle(h.path("bundle.json"))
	ts.Check(err)
	device, err := key.Load(ts.MkAbs(args[1]))
	ts.Check(err)
	operator, err := key.Load(h.path(operatorKeyFile))
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	watcher, err := dial(ctx, bundle, operator, ts.Getenv("QUIC"))
	ts.Check(err)
	defer watcher.Close()
	status, err := watcher.Status(ctx)
	ts.Check(err)
	events := watcher.Subscribe(abi.EventFilter{Topic: []byte(chain.TopicDeviceSealed)}, &status.Height)
	cl, err := dial(ctx, bundle, device, ts.Getenv("QUIC"))
	ts.Check(err)
	defer cl.Close()
	_, err = cl.Report(ctx, &abi.Report{Kind: abi.ObserveLocation, Payload: placePayload()})
	ts.Check(err)
	for _, err := range events.Events(ctx) {
		ts.Check(err)
		return
	}
	ts.Fatalf("nothing was kept")
}
