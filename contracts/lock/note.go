// Package lock makes and opens what the lock contract carries but cannot read:
// the notes of entries, the pseudonyms of cards and PINs, and time zones.
//
// A lock, or a guest's phone, has a salt of its own that never leaves it. It asks
// the contract for the lock's recipients, takes their public keys from their
// accounts (sealed.Key), and makes the note of each entry by [SealNote]; a
// recipient opens it by [OpenNote]. The caller sends a note with every entry, made
// in the same way and the same time whether it is one of duress or not.
package lock

import (
	"crypto/ecdh"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/sealed"
)

// NoteSize is how many bytes of a note are for one recipient.
const NoteSize = noteText + sealed.Overhead

// noteText is a note's text: version (1 byte), what it tells (1), when in ms
// since 1970 (8, big-endian), and random bytes. All notes are of this length.
const noteText = 16

const noteVersion = 1

// Note is what an entry tells its lock's recipients alone.
type Note struct {
	// Duress says that whoever entered was made to.
	Duress bool
	// Time, in ms since 1970, is the sealer's own. A recipient compares it with
	// the entry's: a note that was kept for later is not of that entry.
	Time int64
}

// SealNote makes the note of an entry for the recipients' public keys, in the
// lock's order. The error carries an abi.Code, see sealed.Seal.
func SealNote(n Note, chain, lock abi.Hash, recipients ...[]byte) ([]byte, error) {
	text := make([]byte, noteText)
	text[0] = noteVersion
	if n.Duress {
		text[1] = 1
	}
	binary.BigEndian.PutUint64(text[2:], uint64(n.Time))
	rand.Read(text[10:])
	note := make([]byte, 0, NoteSize*len(recipients))
	for i, to := range recipients {
		b, err := sealed.Seal(to, chain, lock, text)
		if err != nil {
			return nil, fmt.Errorf("sealing for recipient %d: %w", i, err)
		}
		note = append(note, b...)
	}
	return note, nil
}

// OpenNote opens the part of a note that is for the recipient at a place of the
// lock's list, with the private half of its key. The error is abi.CodeMalformed
// where the note has no such part or another form, and that of sealed.Open where
// it was sealed to somebody else.
func OpenNote(private *ecdh.PrivateKey, chain, lock abi.Hash, note []byte, place int) (Note, error) {
	if len(note)%NoteSize != 0 || place < 0 || place >= len(note)/NoteSize {
		return Note{}, fmt.Errorf("a note of %d bytes has no part %d: %w", len(note), place, abi.CodeMalformed)
	}
	text, err := sealed.Open(private, chain, lock, note[place*NoteSize:(place+1)*NoteSize])
	if err != nil {
		return Note{}, err
	}
	if len(text) != noteText || text[0] != noteVersion || text[1] > 1 {
		return Note{}, fmt.Errorf("the note is of a form that is not known: %w", abi.CodeMalformed)
	}
	return Note{Duress: text[1] == 1, Time: int64(binary.BigEndian.Uint64(text[2:]))}, nil
}

// Pseudonym is the name on the ledger of a card, or of a place in the lock's own
// list of PINs: HMAC-SHA256 by the lock's salt. Of a PIN itself none is made:
// there are too few to hide one behind any hash.
func Pseudonym(salt, card []byte) abi.Hash {
	mac := hmac.New(sha256.New, salt)
	mac.Write(card)
	return abi.Hash(mac.Sum(nil))
}
