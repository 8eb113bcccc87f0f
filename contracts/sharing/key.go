package sharing

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/sealed"
)

// KeySize is the length of a data key in bytes.
const KeySize = 32

// Key is a data set's key of one epoch.
type Key struct {
	Set    Set
	Epoch  uint32 // from 1
	secret [KeySize]byte
}

// NewKey makes the key of an epoch.
func NewKey(set Set, epoch uint32) *Key {
	k := &Key{Set: set, Epoch: epoch}
	rand.Read(k.secret[:]) // which never fails
	return k
}

// Wrap seals the key to a grantee's X25519 public key (sealed.Key gives it of an
// account). Errors are those of sealed.Seal.
func (k *Key) Wrap(to []byte) ([]byte, error) {
	return sealed.Seal(to, k.Set.Chain, k.Set.context(k.Epoch), k.secret[:])
}

// Unwrap opens what was wrapped of a data set's key of an epoch to a private key.
// It is abi.CodeNotPermitted if it was wrapped to another key, of another data
// set or epoch, or was changed: nobody can tell which.
func Unwrap(private *ecdh.PrivateKey, set Set, epoch uint32, wrapped []byte) (*Key, error) {
	secret, err := sealed.Open(private, set.Chain, set.context(epoch), wrapped)
	if err != nil {
		return nil, fmt.Errorf("unwrapping the key of epoch %d of %s: %w", epoch, set.Name, err)
	}
	k := &Key{Set: set, Epoch: epoch}
	if copy(k.secret[:], secret) != len(secret) || len(secret) != KeySize {
		return nil, fmt.Errorf("a key of %d bytes is wrapped: %w", len(secret), abi.CodeBadKey)
	}
	return k, nil
}

// context stands where a sealed text is bound to a device: what is wrapped of one
// data set or epoch opens as no other's.
func (s *Set) context(epoch uint32) abi.Hash {
	return sha256.Sum256(s.bind("postern/sharing/key/1", epoch))
}
