package certificate_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/certificate"
)

func ed25519Key() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
}

func p256Key(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// sent is what the other side sees of certificates.
func sent(t *testing.T, private ...crypto.Signer) *tls.ConnectionState {
	t.Helper()
	state := &tls.ConnectionState{}
	for _, k := range private {
		c, err := certificate.New(k)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(c.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := leaf.CheckSignature(leaf.SignatureAlgorithm, leaf.RawTBSCertificate, leaf.Signature); err != nil {
			t.Error(err)
		}
		state.PeerCertificates = append(state.PeerCertificates, leaf)
	}
	return state
}

func TestKeysGoThrough(t *testing.T) {
	e, p := ed25519Key(), p256Key(t)
	compressed := elliptic.MarshalCompressed(elliptic.P256(), p.X, p.Y)
	for _, test := range []struct {
		private crypto.Signer
		raw     []byte
	}{{e, e.Public().(ed25519.PublicKey)}, {p, compressed}} {
		state := sent(t, test.private)
		got, err := certificate.Key(state)
		if err != nil || !bytes.Equal(got, test.raw) {
			t.Errorf("%T: key %x, %v, want %x", test.private, got, err, test.raw)
		}
		if err := certificate.Verify(*state); err != nil {
			t.Errorf("%T: %v", test.private, err)
		}
	}
}

func TestSameBytesEveryTime(t *testing.T) {
	a, b := sent(t, ed25519Key()), sent(t, ed25519Key())
	if !a.PeerCertificates[0].Equal(b.PeerCertificates[0]) {
		t.Error("two certificates of one ed25519 key differ")
	}
}

func TestRefused(t *testing.T) {
	resumed := sent(t, ed25519Key())
	resumed.DidResume = true
	short := sent(t, ed25519Key())
	short.PeerCertificates[0].PublicKey = ed25519.PublicKey(make([]byte, 31))
	// The neutral element: by ZIP 215 one signature under it fits everything.
	neutral := sent(t, ed25519Key())
	neutral.PeerCertificates[0].PublicKey = ed25519.PublicKey(append([]byte{1}, make([]byte, 31)...))
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	curve := sent(t, ed25519Key())
	curve.PeerCertificates[0].PublicKey = p384.Public()
	for name, test := range map[string]struct {
		state *tls.ConnectionState
		want  abi.Code
	}{
		"none":            {&tls.ConnectionState{}, abi.CodeNotAuthenticated},
		"two":             {sent(t, ed25519Key(), p256Key(t)), abi.CodeNotAuthenticated},
		"a session again": {resumed, abi.CodeNotAuthenticated},
		"a short key":     {short, abi.CodeBadKey},
		"a weak key":      {neutral, abi.CodeBadKey},
		"another curve":   {curve, abi.CodeBadKey},
	} {
		if key, err := certificate.Key(test.state); !errors.Is(err, test.want) || key != nil {
			t.Errorf("%s: key %x, %v, want %v", name, key, err, test.want)
		}
		if err := certificate.Verify(*test.state); !errors.Is(err, test.want) {
			t.Errorf("%s: Verify: %v, want %v", name, err, test.want)
		}
	}
	private, err := rsa.GenerateKey(rand.Reader, 1024)
	if err == nil {
		_, err = certificate.New(private)
	}
	if !errors.Is(err, abi.CodeBadKey) {
		t.Errorf("an RSA key: %v, want %v", err, abi.CodeBadKey)
	}
}
