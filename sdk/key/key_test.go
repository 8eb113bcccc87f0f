package key_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/key"
)

func generators() map[string]func() (*key.Key, error) {
	return map[string]func() (*key.Key, error){"ed25519": key.Generate, "p256": key.GenerateP256}
}

func TestSignaturesPassTheOneVerifier(t *testing.T) {
	for name, generate := range generators() {
		t.Run(name, func(t *testing.T) {
			k := must(t, generate)
			signature, err := k.Sign([]byte("open the door"))
			if err != nil {
				t.Fatal(err)
			}
			if !chain.VerifySignature(k.Public(), []byte("open the door"), signature) {
				t.Error("the signature is refused")
			}
			if chain.VerifySignature(k.Public(), []byte("open the gate"), signature) {
				t.Error("the signature fits another message")
			}
			if k.AccountID() != chain.AccountID(k.Public()) {
				t.Error("the account id is not the ledger's")
			}
			if _, err := chain.SignTx(&chain.Body{ValidUntil: 1, Op: chain.OpCall, Args: []byte{0xa0}}, k); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestFileRoundTrip(t *testing.T) {
	for name, generate := range generators() {
		t.Run(name, func(t *testing.T) {
			k, path := must(t, generate), filepath.Join(t.TempDir(), "device.key")
			if err := k.Save(path); err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(path)
			if err != nil || info.Mode() != key.Mode {
				t.Fatalf("mode %v, %v", info.Mode(), err)
			}
			back, err := key.Load(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(back.Public(), k.Public()) {
				t.Error("another key came back")
			}
		})
	}
}

func TestSaveNeverOverwrites(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "k")
	first := must(t, key.Generate)
	if err := first.Save(path); err != nil {
		t.Fatal(err)
	}
	if err := must(t, key.Generate).Save(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second Save: %v, want fs.ErrExist", err)
	}
	dangling := filepath.Join(dir, "dangling")
	if err := os.Symlink(filepath.Join(dir, "elsewhere"), dangling); err != nil {
		t.Fatal(err)
	}
	if err := first.Save(dangling); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Save through a symbolic link: %v, want fs.ErrExist", err)
	}
	if back, err := key.Load(path); err != nil || !bytes.Equal(back.Public(), first.Public()) {
		t.Errorf("the first key is gone: %v", err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 2 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestOneOfManySavesWins(t *testing.T) {
	path := filepath.Join(t.TempDir(), "k")
	var wins sync.Map
	var all sync.WaitGroup
	for range 16 {
		k := must(t, key.Generate)
		all.Go(func() {
			if k.Save(path) == nil {
				wins.Store(string(k.Public()), true)
			}
		})
	}
	all.Wait()
	k, err := key.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	wins.Range(func(public, _ any) bool {
		if public != string(k.Public()) {
			t.Error("a Save that succeeded was overwritten")
		}
		return true
	})
}

func TestLoadRefusesLoosePermissions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "k")
	if err := must(t, key.Generate).Save(path); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []fs.FileMode{0o644, 0o640, 0o604, 0o601, 0o700, 0o620} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := key.Load(path)
		if !errors.Is(err, key.ErrPermissions) || !strings.Contains(err.Error(), "chmod 600 "+path) {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	for _, mode := range []fs.FileMode{0o600, 0o400} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := key.Load(path); err != nil {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	if _, err := key.Load(filepath.Dir(path)); err == nil {
		t.Error("a directory passed for a key file")
	}
	if _, err := key.Load(path + ".none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

func TestParseRefusesOtherKeys(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good, err := must(t, key.Generate).Text()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"RSA":         pkcs8(t, rsaKey),
		"P-384":       pkcs8(t, p384),
		"empty":       nil,
		"no PEM":      []byte("hunter2"),
		"two keys":    append(bytes.Clone(good), good...),
		"public key":  bytes.ReplaceAll(good, []byte("PRIVATE"), []byte("PUBLIC")),
		"cut short":   good[:len(good)/2],
		"wrong bytes": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{0x30, 0x01, 0x00}}),
	} {
		if _, err := key.Parse(text); !errors.Is(err, abi.CodeBadKey) {
			t.Errorf("%s: %v, want bad-key", name, err)
		}
	}
	if _, err := key.New(ed25519.PrivateKey{1, 2, 3}); !errors.Is(err, abi.CodeBadKey) {
		t.Errorf("short ed25519 key: %v", err)
	}
}

func TestCertificateHoldsTheKeyAndIsStable(t *testing.T) {
	k := must(t, key.Generate)
	a, err := k.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	b, err := k.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Certificate[0], b.Certificate[0]) {
		t.Error("two certificates of one ed25519 key differ")
	}
	leaf, err := x509.ParseCertificate(a.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(leaf.PublicKey.(ed25519.PublicKey), k.Public()) {
		t.Error("the certificate holds another key")
	}
	if err := leaf.CheckSignature(leaf.SignatureAlgorithm, leaf.RawTBSCertificate, leaf.Signature); err != nil {
		t.Error(err)
	}
	p := must(t, key.GenerateP256)
	if _, err := p.Certificate(); err != nil {
		t.Error(err)
	}
	if p.Private() != nil || k.Private() == nil {
		t.Error("Private is for ed25519 keys")
	}
}

// The vector is the first of the did:key test suite of W3C's Credentials
// Community Group (test-vectors/ed25519-x25519.json).
func TestDIDVector(t *testing.T) {
	const did = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp"
	public, err := key.ParseDID(did)
	if err != nil {
		t.Fatal(err)
	}
	const want = "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29"
	if got := fmt.Sprintf("%x", public); got != want {
		t.Errorf("key %s, want %s", got, want)
	}
	// RFC 8032's all-zero seed makes that key.
	k, err := key.New(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	if k.DID() != did {
		t.Errorf("did %s, want %s", k.DID(), did)
	}
}

func TestDIDRoundTrip(t *testing.T) {
	for name, prefix := range map[string]string{"ed25519": "did:key:z6Mk", "p256": "did:key:zDn"} {
		k := must(t, generators()[name])
		if !strings.HasPrefix(k.DID(), prefix) {
			t.Errorf("%s: %s", name, k.DID())
		}
		back, err := key.ParseDID(k.DID())
		if err != nil || !bytes.Equal(back, k.Public()) {
			t.Errorf("%s: %x, %v", name, back, err)
		}
	}
	if _, err := key.DID(make([]byte, 31)); !errors.Is(err, abi.CodeBadKey) {
		t.Errorf("31 bytes: %v", err)
	}
}

func FuzzParseDID(f *testing.F) {
	k, err := key.Generate()
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{k.DID(), "", "did:key:z", "did:key:z1", "did:web:example.org", "did:key:z6Mk" + strings.Repeat("1", 200)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, did string) {
		public, err := key.ParseDID(did)
		if err != nil {
			return
		}
		if back, err := key.DID(public); err != nil || back != did {
			t.Errorf("%q holds %x, which is %q (%v)", did, public, back, err)
		}
	})
}

func FuzzParse(f *testing.F) {
	k, err := key.Generate()
	if err != nil {
		f.Fatal(err)
	}
	text, err := k.Text()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		k, err := key.Parse(text)
		if err == nil && !chain.ValidKey(k.Public()) {
			t.Error("a key was admitted that the ledger refuses")
		}
	})
}

func must(t *testing.T, generate func() (*key.Key, error)) *key.Key {
	t.Helper()
	k, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func pkcs8(t *testing.T, private any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}
