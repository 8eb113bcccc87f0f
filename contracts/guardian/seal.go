package guardian

import (
	"crypto/ecdh"
	"fmt"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/sealed"
)

// MaxText is how many bytes a sealed text may have. All are padded to one length,
// so that a bystander cannot tell "gone" from an address.
const MaxText = partSize - sealed.Overhead - 1

// MaxReaders is for how many readers one message can be.
const MaxReaders = maxSealed / partSize

const (
	partSize  = 128  // of the sealed bytes, for each reader
	maxSealed = 1024 // what the contract takes
)

// Seal seals a text, such as where a device was seen, for the readers' public
// keys. The error is abi.CodeTooLarge where text or readers are too many, or
// that of sealed.Seal.
func Seal(text string, chain, device abi.Hash, readers ...[]byte) ([]byte, error) {
	if len(text) > MaxText || len(readers) > MaxReaders {
		return nil, fmt.Errorf("%d bytes for %d readers; at most %d for %d: %w", len(text), len(readers), MaxText, MaxReaders, abi.CodeTooLarge)
	}
	padded := make([]byte, 1+MaxText)
	padded[0] = byte(len(text))
	copy(padded[1:], text)
	var b []byte
	for i, to := range readers {
		part, err := sealed.Seal(to, chain, device, padded)
		if err != nil {
			return nil, fmt.Errorf("sealing for reader %d: %w", i, err)
		}
		b = append(b, part...)
	}
	return b, nil
}

// Open finds and opens the part that is for the private key's holder. The error
// is abi.CodeMalformed for bytes of another form, and abi.CodeNotPermitted where
// no part is for the reader.
func Open(private *ecdh.PrivateKey, chain, device abi.Hash, b []byte) (string, error) {
	if len(b)%partSize != 0 || len(b) > maxSealed {
		return "", fmt.Errorf("%d sealed bytes: %w", len(b), abi.CodeMalformed)
	}
	for ; len(b) > 0; b = b[partSize:] {
		padded, err := sealed.Open(private, chain, device, b[:partSize])
		if err != nil {
			continue // another reader's
		}
		if int(padded[0]) > MaxText {
			return "", fmt.Errorf("a text of %d bytes: %w", padded[0], abi.CodeMalformed)
		}
		return string(padded[1 : 1+padded[0]]), nil
	}
	return "", fmt.Errorf("no part is for this reader: %w", abi.CodeNotPermitted)
}
