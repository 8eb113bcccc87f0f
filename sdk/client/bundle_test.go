package client_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/sdk/client"
)

func TestBundleRoundTrip(t *testing.T) {
	b := newLedger(t).bundle("gateway.example.org:7433")
	b.Height = 9
	var file bytes.Buffer
	if err := b.Write(&file); err != nil {
		t.Fatal(err)
	}
	back, err := client.ParseBundle(file.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if back.Chain() != b.Chain() || !bytes.Equal(back.Genesis, b.Genesis) || back.Height != 9 || back.Gateways[0] != b.Gateways[0] {
		t.Errorf("%+v came back as %+v", b, back)
	}
}

func TestBadBundles(t *testing.T) {
	var file, another bytes.Buffer
	if err := newLedger(t).bundle("127.0.0.1:1").Write(&file); err != nil {
		t.Fatal(err)
	}
	if err := newLedger(t).bundle("127.0.0.1:1").Write(&another); err != nil {
		t.Fatal(err)
	}
	good := file.String()
	lines, otherLines := strings.Split(good, "\n"), strings.Split(another.String(), "\n")
	for name, test := range map[string]struct {
		text string
		code abi.Code
	}{
		"empty":              {"", abi.CodeMalformed},
		"no JSON":            {"chain: 00", abi.CodeMalformed},
		"no genesis":         {`{"chain":"00"}`, abi.CodeMalformed},
		"genesis is no CBOR": {`{"chain":"00","genesis":"aGVsbG8="}`, abi.CodeMalformed},
		"another chain's id": {strings.Replace(good, lines[1], otherLines[1], 1), abi.CodeWrongChain},
		"no chain id":        {strings.Replace(good, lines[1]+"\n", "", 1), abi.CodeWrongChain},
		"address":            {strings.Replace(good, "127.0.0.1:1", "127.0.0.1", 1), abi.CodeBadArgument},
		"too large":          {strings.Repeat(" ", 4<<20+1), abi.CodeTooLarge},
	} {
		if _, err := client.ParseBundle([]byte(test.text)); !errors.Is(err, test.code) {
			t.Errorf("%s: %v, want %v", name, err, test.code)
		}
	}
}

func FuzzParseBundle(f *testing.F) {
	var file bytes.Buffer
	if err := newLedger(f).bundle("127.0.0.1:1").Write(&file); err != nil {
		f.Fatal(err)
	}
	f.Add(file.Bytes())
	f.Add([]byte(`{"chain":"00","genesis":"aGVsbG8=","gateways":["x"],"height":1}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		b, err := client.ParseBundle(text)
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := b.Write(&again); err != nil {
			t.Fatal(err)
		}
		if back, err := client.ParseBundle(again.Bytes()); err != nil || back.Chain() != b.Chain() {
			t.Errorf("%s came back as %+v, %v", again.Bytes(), back, err)
		}
	})
}
