package custody

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// Key seals documents: the parties share its 32 bytes outside of the ledger, and
// whoever has them reads all that was sealed with them.
type Key struct {
	aead          cipher.AEAD
	nonces, names []byte
}

// KeyBytes is the length of a key's secret.
const KeyBytes = 32

// ErrSealed is returned where a sealed content was met without its key.
var ErrSealed = errors.New("the content is sealed, and this is not its key")

// NewKey makes a secret. It comes from the system's random numbers.
func NewKey() []byte {
	secret := make([]byte, KeyBytes)
	if _, err := rand.Read(secret); err != nil {
		panic("BUG: " + err.Error()) // crypto/rand.Read never fails
	}
	return secret
}

// OpenKey makes a key of its secret.
func OpenKey(secret []byte) (*Key, error) {
	if len(secret) != KeyBytes {
		return nil, fmt.Errorf("a key has %d bytes, not %d", KeyBytes, len(secret))
	}
	block, err := aes.NewCipher(mac(secret, []byte("postern custody: contents")))
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	return &Key{aead, mac(secret, []byte("postern custody: nonces")), mac(secret, []byte("postern custody: names"))}, err
}

func mac(key, text []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(text)
	return h.Sum(nil)
}

// seal encrypts with AES-256-GCM. The nonce is made of the content, as in
// synthetic-IV modes: the same content is sealed alike, so that an event is
// recognised, and two contents share a nonce as rarely as an HMAC cut to 96 bits
// collides.
func (k *Key) seal(content []byte) []byte {
	nonce := mac(k.nonces, content)[:k.aead.NonceSize()]
	return k.aead.Seal(slices.Clone(nonce), nonce, content, nil)
}

// open decrypts what seal made.
func (k *Key) open(sealed []byte) ([]byte, error) {
	if k == nil || len(sealed) < k.aead.NonceSize() {
		return nil, ErrSealed
	}
	nonce, rest := sealed[:k.aead.NonceSize()], sealed[k.aead.NonceSize():]
	content, err := k.aead.Open(nil, nonce, rest, nil)
	if err != nil || !bytes.Equal(nonce, mac(k.nonces, content)[:len(nonce)]) {
		return nil, ErrSealed
	}
	return content, nil
}

// name is the digest of a content for those who have the key.
func (k *Key) name(content []byte) abi.Hash { return abi.Hash(mac(k.names, content)) }

// pseudonym is the id under which the ledger knows a person.
func (k *Key) pseudonym(id string) string {
	return "urn:postern:pseudonym:" + hex.EncodeToString(mac(k.names, []byte(id))[:20])
}

// disguise puts pseudonyms in place of persons.
func (l *Lists) disguise(k *Key) {
	hide := func(id *string) {
		if personal.MatchString(*id) {
			*id = k.pseudonym(*id)
		}
	}
	hide(&l.Container)
	for i := range l.Items {
		hide(&l.Items[i])
	}
	for i := range l.Inputs {
		hide(&l.Inputs[i].ID)
	}
	for i := range l.Outputs {
		hide(&l.Outputs[i].ID)
	}
}

// noPersons refuses a content in clear that names a person.
func (p *parser) noPersons(content []byte, line int, path string) {
	if p.key != nil {
		return
	}
	r := cbor.NewReader(content)
	if id := findPerson(&r); id != "" {
		p.fail(line, path, "%s names a person, and a ledger never forgets: seal the document with a key", id)
	}
}

// findPerson looks through a whole item for text that names a person.
func findPerson(r *cbor.Reader) string {
	switch r.Kind() {
	case cbor.KindText:
		if text := r.Text(); personal.MatchString(text) {
			return text
		}
	case cbor.KindArray:
		return findPersonIn(r, r.Array())
	case cbor.KindMap:
		return findPersonIn(r, 2*r.Map())
	default:
		r.Skip()
	}
	return ""
}

func findPersonIn(r *cbor.Reader, items int) string {
	for ; items > 0 && r.Err() == nil; items-- {
		if id := findPerson(r); id != "" {
			return id
		}
	}
	return ""
}
