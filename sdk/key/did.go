package key

import (
	"bytes"
	"fmt"
	"math/big"
	"strings"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// didPrefix opens every did:key (W3C CCG, The did:key Method v0.7): the letter
// z says that base58btc follows.
const didPrefix = "did:key:z"

// Multicodec prefixes of public keys, as unsigned varints: 0xed and 0x1200.
var (
	codecEd25519 = []byte{0xed, 0x01}
	codecP256    = []byte{0x80, 0x24}
)

// maxDID bounds what ParseDID reads, in bytes: a P-256 key takes 57.
const maxDID = 128

// DID is the did:key of the public key.
func (k *Key) DID() string {
	did, err := DID(k.public)
	if err != nil {
		panic("BUG: a key without a did:key: " + err.Error())
	}
	return did
}

// DID is the did:key of a raw public key: did:key:z6Mk… of an ed25519 key,
// did:key:zDn… of a P-256 one. Other keys are abi.CodeBadKey.
func DID(public []byte) (string, error) {
	if !chain.ValidKey(public) {
		return "", fmt.Errorf("key of %d bytes: %w", len(public), abi.CodeBadKey)
	}
	codec := codecEd25519
	if len(public) == chain.P256KeySize {
		codec = codecP256
	}
	return didPrefix + base58(append(codec[:len(codec):len(codec)], public...)), nil
}

// ParseDID reads the raw public key out of a did:key. What is no did:key of
// an admitted key is abi.CodeBadKey.
func ParseDID(did string) ([]byte, error) {
	text, ok := strings.CutPrefix(did, didPrefix)
	if !ok || len(did) > maxDID {
		return nil, fmt.Errorf("not a did:key in base58btc: %w", abi.CodeBadKey)
	}
	raw, ok := parseBase58(text)
	if !ok {
		return nil, fmt.Errorf("not base58btc: %w", abi.CodeBadKey)
	}
	public, size := []byte(nil), 0
	if rest, ok := bytes.CutPrefix(raw, codecEd25519); ok {
		public, size = rest, chain.Ed25519KeySize
	} else if rest, ok := bytes.CutPrefix(raw, codecP256); ok {
		public, size = rest, chain.P256KeySize
	}
	if public == nil || len(public) != size || !chain.ValidKey(public) {
		return nil, fmt.Errorf("the did:key holds neither an ed25519 nor a P-256 key: %w", abi.CodeBadKey)
	}
	return public, nil
}

// base58Alphabet is Bitcoin's: no 0, O, I or l.
const base58Alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

// base58 writes b as one big number. No multicodec begins with a zero byte,
// so base58btc's rule for leading zeros is not needed.
func base58(b []byte) string {
	n, base, digit := new(big.Int).SetBytes(b), big.NewInt(58), new(big.Int)
	var text []byte
	for n.Sign() > 0 {
		n.DivMod(n, base, digit)
		text = append(text, base58Alphabet[digit.Int64()])
	}
	for i, j := 0, len(text)-1; i < j; i, j = i+1, j-1 {
		text[i], text[j] = text[j], text[i]
	}
	return string(text)
}

func parseBase58(text string) ([]byte, bool) {
	n, base := new(big.Int), big.NewInt(58)
	for i := range len(text) {
		digit := strings.IndexByte(base58Alphabet, text[i])
		if digit < 0 || i == 0 && digit == 0 {
			return nil, false
		}
		n.Add(n.Mul(n, base), big.NewInt(int64(digit)))
	}
	return n.Bytes(), true
}
