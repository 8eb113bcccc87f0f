package lock_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/contracts/lock"
)

var chainID, door = abi.Hash{1}, abi.Hash{2}

func pair(t testing.TB) *ecdh.PrivateKey {
	t.Helper()
	k, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func seal(t testing.TB, n lock.Note, to ...*ecdh.PrivateKey) []byte {
	t.Helper()
	var keys [][]byte
	for _, k := range to {
		keys = append(keys, k.PublicKey().Bytes())
	}
	note, err := lock.SealNote(n, chainID, door, keys...)
	if err != nil {
		t.Fatal(err)
	}
	return note
}

func TestNotesAreForTheirRecipients(t *testing.T) {
	ann, aide := pair(t), pair(t)
	for _, want := range []lock.Note{{}, {Duress: true, Time: 1_767_600_000_000}, {Time: -1}} {
		note := seal(t, want, ann, aide)
		if len(note) != 2*lock.NoteSize {
			t.Fatalf("%d bytes", len(note))
		}
		for place, k := range []*ecdh.PrivateKey{ann, aide} {
			if got, err := lock.OpenNote(k, chainID, door, note, place); err != nil || got != want {
				t.Errorf("place %d: %+v, %v; want %+v", place, got, err, want)
			}
		}
	}
}

func TestNotesTellOthersNothing(t *testing.T) {
	ann, eve := pair(t), pair(t)
	note := seal(t, lock.Note{Duress: true}, ann)
	for name, open := range map[string]func() (lock.Note, error){
		"another's key": func() (lock.Note, error) { return lock.OpenNote(eve, chainID, door, note, 0) },
		"another lock":  func() (lock.Note, error) { return lock.OpenNote(ann, chainID, abi.Hash{3}, note, 0) },
		"another chain": func() (lock.Note, error) { return lock.OpenNote(ann, abi.Hash{3}, door, note, 0) },
		"changed": func() (lock.Note, error) {
			b := bytes.Clone(note)
			b[40] ^= 1
			return lock.OpenNote(ann, chainID, door, b, 0)
		},
	} {
		if n, err := open(); !errors.Is(err, abi.CodeNotPermitted) {
			t.Errorf("%s: %+v, %v", name, n, err)
		}
	}
	for _, place := range []int{-1, 1} {
		if _, err := lock.OpenNote(ann, chainID, door, note, place); !errors.Is(err, abi.CodeMalformed) {
			t.Errorf("place %d: %v", place, err)
		}
	}
	if _, err := lock.OpenNote(ann, chainID, door, note[1:], 0); !errors.Is(err, abi.CodeMalformed) {
		t.Errorf("cut: %v", err)
	}
	if _, err := lock.SealNote(lock.Note{}, chainID, door, make([]byte, 32)); !errors.Is(err, abi.CodeBadKey) {
		t.Errorf("a key of low order: %v", err)
	}
}

// One of duress is as long as any other, and no two are the same.
func TestNotesLookAlike(t *testing.T) {
	ann := pair(t)
	seen := map[string]bool{}
	for i := range 16 {
		note := seal(t, lock.Note{Duress: i%2 == 0, Time: 7}, ann)
		if len(note) != lock.NoteSize || seen[string(note)] {
			t.Fatalf("note %d: %x", i, note)
		}
		seen[string(note)] = true
	}
}

func TestPseudonymsDependOnTheSalt(t *testing.T) {
	card := []byte("04:a2:24:5a:1b:64:80")
	one, other := lock.Pseudonym([]byte("salt of the door"), card), lock.Pseudonym([]byte("salt of the shed"), card)
	if one == other || one != lock.Pseudonym([]byte("salt of the door"), card) {
		t.Errorf("%x, %x", one, other)
	}
}

func FuzzOpenNote(f *testing.F) {
	ann := pair(f)
	f.Add(seal(f, lock.Note{Duress: true}, ann), 0)
	f.Add([]byte{}, 0)
	f.Fuzz(func(t *testing.T, note []byte, place int) {
		if n, err := lock.OpenNote(ann, chainID, door, note, place); err == nil && len(note)%lock.NoteSize != 0 {
			t.Errorf("%+v of %d bytes", n, len(note))
		}
	})
}

func TestSetZone(t *testing.T) {
	m, err := lock.SetZone(door, "Europe/Vienna")
	if err != nil {
		t.Fatal(err)
	}
	r := cbor.NewReader(m)
	if r.ArrayN(4); r.Uint() != 2 || !bytes.Equal(r.Bytes(), door[:]) || r.Int() <= 2_000_000_000 || r.Array() < 30 {
		t.Errorf("%x", m)
	}
	if _, err := lock.SetZone(door, "Europe/Atlantis"); err == nil {
		t.Error("there is no such zone")
	}
}
