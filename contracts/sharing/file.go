package sharing

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/seed79541315/postern/abi"
)

// An encrypted file is
//
//	magic "postern/share/1\n" | epoch, 4 bytes big-endian | salt, 32 bytes | chunks
//
// Each chunk is up to 64 KiB of text and a tag of 16 bytes, AES-256-GCM under a
// key of this file alone: HKDF-SHA256 of data key and salt, with chain, contract,
// data set and epoch as its info. The nonce is the chunk's number in 11 bytes and
// a byte that is 1 in the last chunk, 0 in the others, so that chunks can neither
// be left out nor moved nor the file be cut (Hoang, Reyhanitabar, Rogaway, Vizár:
// "Online authenticated-encryption and its nonce-reuse misuse-resistance", 2015:
// STREAM). All chunks but the last are full; the last is empty only in an empty
// file.
const (
	magic     = "postern/share/1\n"
	saltSize  = 32
	chunkSize = 64 << 10
	tagSize   = 16
	headSize  = len(magic) + 4 + saltSize
)

// Seal encrypts all that r gives and returns the SHA-256 of what it wrote, which
// is a data set's content or record on the ledger.
func (k *Key) Seal(w io.Writer, r io.Reader) (abi.Hash, error) {
	head := binary.BigEndian.AppendUint32([]byte(magic), k.Epoch)
	salt := make([]byte, saltSize)
	rand.Read(salt)
	aead, err := k.aead(salt)
	if err != nil {
		return abi.Hash{}, err
	}
	digest := sha256.New()
	w = io.MultiWriter(w, digest)
	if _, err := w.Write(append(head, salt...)); err != nil {
		return abi.Hash{}, err
	}
	err = eachChunk(r, chunkSize, func(n uint64, last bool, text []byte) error {
		_, err := w.Write(aead.Seal(nil, nonce(n, last), text, nil))
		return err
	})
	return abi.Hash(digest.Sum(nil)), err
}

// ErrFile is that a file was not encrypted by this key, or was changed or cut.
var ErrFile = errors.New("the file is not of this data set and key, or was changed or cut")

// Open decrypts what Seal wrote. Each chunk is checked before it is written, but
// that the file is whole is known at its end only: after an error, what was
// written is to be thrown away. Errors wrap ErrFile, or are those of w and r.
func (k *Key) Open(w io.Writer, r io.Reader) error {
	head := make([]byte, headSize)
	if _, err := io.ReadFull(r, head); err != nil {
		return short(err)
	}
	epoch, err := epochOf(head)
	if err != nil {
		return err
	}
	if epoch != k.Epoch {
		return fmt.Errorf("of epoch %d, the key is of %d: %w", epoch, k.Epoch, ErrFile)
	}
	aead, err := k.aead(head[headSize-saltSize:])
	if err != nil {
		return err
	}
	return eachChunk(r, chunkSize+tagSize, func(n uint64, last bool, chunk []byte) error {
		text, err := aead.Open(nil, nonce(n, last), chunk, nil)
		if err != nil || len(text) == 0 && n > 0 {
			return fmt.Errorf("chunk %d: %w", n, ErrFile)
		}
		_, err = w.Write(text)
		return err
	})
}

// EpochOf reads from the beginning of an encrypted file the epoch of its key. It
// is not checked: a key of another epoch fails to open the file.
func EpochOf(r io.Reader) (uint32, error) {
	head := make([]byte, headSize)
	if _, err := io.ReadFull(r, head); err != nil {
		return 0, short(err)
	}
	return epochOf(head)
}

func epochOf(head []byte) (uint32, error) {
	rest, ok := bytes.CutPrefix(head, []byte(magic))
	if !ok {
		return 0, fmt.Errorf("no file of postern share seal: %w", ErrFile)
	}
	return binary.BigEndian.Uint32(rest), nil
}

// short tells a file that ends too early from one that cannot be read.
func short(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("shorter than a file's head: %w", ErrFile)
	}
	return err
}

// aead is the cipher of one file.
func (k *Key) aead(salt []byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, k.secret[:], salt, string(k.Set.bind("postern/sharing/file/1", k.Epoch)), 32)
	if err != nil {
		return nil, fmt.Errorf("deriving the file's key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func nonce(n uint64, last bool) []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 3, 12), n)
	if last {
		return append(b, 1)
	}
	return append(b, 0)
}

// eachChunk calls do for each so many bytes of r, and for the rest, which is empty
// only if r is. It reads one chunk ahead, to know the last.
func eachChunk(r io.Reader, size int, do func(n uint64, last bool, chunk []byte) error) error {
	this, next := make([]byte, size), make([]byte, size)
	have, err := fill(r, this)
	for n := uint64(0); err == nil; n++ {
		ahead := 0
		if have == size {
			if ahead, err = fill(r, next); err != nil {
				return err
			}
		}
		if err := do(n, ahead == 0, this[:have]); err != nil || ahead == 0 {
			return err
		}
		this, next, have = next, this, ahead
	}
	return err
}

// fill reads until b is full or r ends.
func fill(r io.Reader, b []byte) (int, error) {
	n, err := io.ReadFull(r, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return n, err
}
