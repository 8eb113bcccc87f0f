package sharing_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/contracts/sharing"
	"github.com/seed79541315/postern/sdk/key"
)

var set = sharing.Set{Chain: abi.Hash{1}, Contract: "sharing", Name: "record-7"}

// others are sets that differ from set in one thing each.
var others = map[string]sharing.Set{
	"chain":    {Chain: abi.Hash{2}, Contract: set.Contract, Name: set.Name},
	"contract": {Chain: set.Chain, Contract: "sharing2", Name: set.Name},
	"data set": {Chain: set.Chain, Contract: set.Contract, Name: "record-8"},
	"split":    {Chain: set.Chain, Contract: "sharingr", Name: "ecord-7"},
}

func reader(t testing.TB) *ecdh.PrivateKey {
	t.Helper()
	k, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func encrypted(t testing.TB, k *sharing.Key, text []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	digest, err := k.Seal(&b, iotest.OneByteReader(bytes.NewReader(text)))
	if err != nil {
		t.Fatal(err)
	}
	if digest != sha256.Sum256(b.Bytes()) {
		t.Fatal("the digest is not the file's")
	}
	return b.Bytes()
}

func TestOnlyTheGranteeUnwraps(t *testing.T) {
	k, private := sharing.NewKey(set, 3), reader(t)
	wrapped, err := k.Wrap(private.PublicKey().Bytes())
	if err != nil || len(wrapped) != 80 {
		t.Fatalf("%d bytes, %v", len(wrapped), err)
	}
	got, err := sharing.Unwrap(private, set, 3, wrapped)
	if err != nil || *got != *k {
		t.Fatalf("%+v, %v", got, err)
	}
	refused := func(name string, private *ecdh.PrivateKey, of sharing.Set, epoch uint32, b []byte) {
		if _, err := sharing.Unwrap(private, of, epoch, b); !errors.Is(err, abi.CodeNotPermitted) {
			t.Errorf("%s: %v", name, err)
		}
	}
	refused("another's key", reader(t), set, 3, wrapped)
	refused("another epoch", private, set, 2, wrapped)
	refused("nothing", private, set, 3, nil)
	for name, of := range others {
		refused(name, private, of, 3, wrapped)
	}
	for i := range wrapped {
		changed := bytes.Clone(wrapped)
		changed[i] ^= 0x40
		refused("a changed byte", private, set, 3, changed)
	}
}

func TestFilesComeBack(t *testing.T) {
	k := sharing.NewKey(set, 1)
	for _, size := range []int{0, 1, 64<<10 - 1, 64 << 10, 64<<10 + 1, 3 * 64 << 10, 200_000} {
		text := make([]byte, size)
		rand.Read(text)
		b := encrypted(t, k, text)
		var got bytes.Buffer
		if err := k.Open(&got, iotest.HalfReader(bytes.NewReader(b))); err != nil || !bytes.Equal(got.Bytes(), text) {
			t.Errorf("%d bytes: %v", size, err)
		}
		if epoch, err := sharing.EpochOf(bytes.NewReader(b)); err != nil || epoch != 1 {
			t.Errorf("epoch %d, %v", epoch, err)
		}
	}
	if a, b := encrypted(t, k, []byte("x")), encrypted(t, k, []byte("x")); bytes.Equal(a, b) {
		t.Error("two encryptions of one text are the same")
	}
}

// chunk is a chunk of a file as it is encrypted, head the beginning.
const chunk, head = 64<<10 + 16, 52

func TestFilesOfAnotherKeyOrChangedAreRefused(t *testing.T) {
	k := sharing.NewKey(set, 1)
	whole := encrypted(t, k, make([]byte, 3*64<<10))
	refused := func(name string, k *sharing.Key, b []byte) {
		t.Helper()
		if err := k.Open(io.Discard, bytes.NewReader(b)); !errors.Is(err, sharing.ErrFile) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, of := range others {
		other := *k
		other.Set = of
		refused(name, &other, whole)
	}
	next := *k
	next.Epoch = 2
	refused("another epoch", &next, whole)
	epoch := bytes.Clone(whole)
	epoch[len("postern/share/1\n")+3] = 2
	refused("an epoch that was changed", &next, epoch)
	refused("another key", sharing.NewKey(set, 1), whole)
	refused("cut within a chunk", k, whole[:len(whole)-1])
	refused("cut behind a chunk", k, whole[:head+2*chunk])
	refused("cut to the head", k, whole[:head])
	refused("cut within the head", k, whole[:head-1])
	refused("nothing", k, nil)
	refused("longer", k, append(bytes.Clone(whole), 0))
	refused("a chunk twice", k, slices.Concat(whole[:head+chunk], whole[head:]))
	refused("a chunk left out", k, slices.Concat(whole[:head+chunk], whole[head+2*chunk:]))
	refused("chunks exchanged", k, slices.Concat(whole[:head], whole[head+chunk:head+2*chunk], whole[head:head+chunk], whole[head+2*chunk:]))
	for _, at := range []int{0, head - 1, head, head + chunk - 1, len(whole) - 1} {
		changed := bytes.Clone(whole)
		changed[at] ^= 1
		refused("a changed byte", k, changed)
	}
}

// What cannot be read or written is told as that.
func TestFaultsOfFilesAreTheirs(t *testing.T) {
	k, fault := sharing.NewKey(set, 1), errors.New("the disk is gone")
	if _, err := k.Seal(io.Discard, iotest.ErrReader(fault)); !errors.Is(err, fault) {
		t.Error(err)
	}
	if err := k.Open(io.Discard, iotest.ErrReader(fault)); !errors.Is(err, fault) {
		t.Error(err)
	}
	whole := encrypted(t, k, make([]byte, 100_000))
	if err := k.Open(io.Discard, io.MultiReader(bytes.NewReader(whole[:head+chunk]), iotest.ErrReader(fault))); !errors.Is(err, fault) {
		t.Error(err)
	}
}

func FuzzOpen(f *testing.F) {
	k := sharing.NewKey(set, 1)
	f.Add(encrypted(f, k, []byte("text")))
	f.Add([]byte("postern/share/1\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var got bytes.Buffer
		if err := k.Open(&got, bytes.NewReader(b)); err == nil && got.String() != "text" {
			t.Errorf("%x opened", b)
		}
	})
}

func TestRingKeepsAndDestroysKeys(t *testing.T) {
	ring := sharing.Ring{Folder: filepath.Join(t.TempDir(), "keys")}
	for epoch := uint32(1); epoch <= 10; epoch += 9 {
		k := sharing.NewKey(set, epoch)
		if err := ring.Keep(k); err != nil {
			t.Fatal(err)
		}
		got, err := ring.Load(set, epoch)
		if err != nil || *got != *k {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	if err := ring.Keep(sharing.NewKey(set, 10)); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a key was replaced: %v", err)
	}
	err := filepath.WalkDir(ring.Folder, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	kept := filepath.Join(ring.Folder, "0100000000000000000000000000000000000000000000000000000000000000", "sharing", "record-7", "10.key")
	linked := filepath.Join(t.TempDir(), "link") // shows what is left of the file's bytes
	if err := os.Link(kept, linked); err != nil {
		t.Fatal(err)
	}
	if epochs, err := ring.Epochs(set); err != nil || !slices.Equal(epochs, []uint32{1, 10}) {
		t.Errorf("%v, %v", epochs, err)
	}
	if n, err := ring.Destroy(set); err != nil || n != 2 {
		t.Fatalf("%d, %v", n, err)
	}
	if _, err := ring.Load(set, 10); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a destroyed key is there: %v", err)
	}
	if b, err := os.ReadFile(linked); err != nil || !bytes.Equal(b, make([]byte, sharing.KeySize)) {
		t.Errorf("%x is left, %v", b, err)
	}
	if n, err := ring.Destroy(set); err != nil || n != 0 {
		t.Errorf("destroyed again: %d, %v", n, err)
	}
}

// A name from the ledger is hostile: it must not lead out of the folder.
func TestRingStaysInItsFolder(t *testing.T) {
	ring := sharing.Ring{Folder: t.TempDir()}
	for _, name := range []string{"", ".", "..", "../x", "a/b", `a\b`, "/etc", "a/../../b"} {
		k := sharing.NewKey(sharing.Set{Contract: "sharing", Name: name}, 1)
		if err := ring.Keep(k); !errors.Is(err, abi.CodeBadArgument) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if entries, err := os.ReadDir(ring.Folder); err != nil || len(entries) > 0 {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestStatementsAreAboutOneThing(t *testing.T) {
	custodian, err := key.Generate()
	if err != nil {
		t.Fatal(err)
	}
	subject := abi.Hash{7}
	s := sharing.Statement{Set: set, Epoch: 2, Subject: &subject, Destroyed: 5}
	signature, err := s.Sign(custodian)
	if err != nil || !s.Verify(custodian.Public(), signature) {
		t.Fatal(err)
	}
	changes := map[string]func(*sharing.Statement){
		"epoch":   func(s *sharing.Statement) { s.Epoch++ },
		"nobody":  func(s *sharing.Statement) { s.Subject = nil },
		"another": func(s *sharing.Statement) { s.Subject = &abi.Hash{8} },
		"time":    func(s *sharing.Statement) { s.Destroyed++ },
	}
	for name, of := range others {
		changes[name] = func(s *sharing.Statement) { s.Set = of }
	}
	for name, change := range changes {
		other := s
		change(&other)
		if other.Verify(custodian.Public(), signature) {
			t.Errorf("%s: the signature fits", name)
		}
	}
}
