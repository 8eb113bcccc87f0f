// Package records makes what the records contract, whose sources and Wasm lie
// beside it, notarises: Merkle batches over readings that stay with their owner.
//
// New takes readings as they are, gives each a salt of its own, so that nobody
// finds a reading out by trying, and the batch's root, which is all that the
// ledger gets. Whoever has the batch proves single readings from it, by Prove;
// whoever has the root checks a Proof, offline, and learns nothing of the other
// readings. Without the salts nothing can be proven any more: a batch is kept
// as the readings are.
//
// A leaf is SHA-256(0 | salt | reading), the tree that of RFC 9162, section 2.1.
package records

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/proof"
)

// The limits of a batch.
const (
	MaxReadings = 1 << 20 // the contract's own
	MaxReading  = 64 << 10
	SaltSize    = 16 // bytes: 128 bits are not to be guessed
	maxPath     = 20
)

// Errors of batches and proofs.
var (
	ErrEmpty    = errors.New("a batch without readings")
	ErrTooLarge = fmt.Errorf("a batch holds at most %d readings of %d bytes", MaxReadings, MaxReading)
	ErrRoot     = errors.New("the root is not that of the readings: one of them, or a salt, was changed")
	ErrPath     = errors.New("the proof does not lead to its root")
)

// Hex is bytes that are written in hexadecimal digits.
type Hex []byte

// MarshalText implements encoding.TextMarshaler.
func (h Hex) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Hex) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

// Reading is one reading and what hides it. Its bytes are the text.
type Reading struct {
	Salt Hex    `json:"salt"`
	Text string `json:"reading"`
}

// item is what the tree is built of.
func (r *Reading) item() []byte {
	return append(append(make([]byte, 0, SaltSize+len(r.Text)), r.Salt...), r.Text...)
}

func (r *Reading) check() error {
	if len(r.Salt) != SaltSize || len(r.Text) > MaxReading {
		return fmt.Errorf("a salt of %d bytes, a reading of %d: want %d, at most %d", len(r.Salt), len(r.Text), SaltSize, MaxReading)
	}
	if !utf8.ValidString(r.Text) { // JSON would change it
		return errors.New("the reading is not UTF-8")
	}
	return nil
}

// Leaf is the hash by which the contract knows a reading.
func (r *Reading) Leaf() abi.Hash {
	return sha256.Sum256(append([]byte{0}, r.item()...))
}

// Batch is what was notarised at once, as its owner keeps it.
type Batch struct {
	Root     Hex       `json:"root"`
	From     time.Time `json:"from"` // when the first and the last were taken
	To       time.Time `json:"to"`
	Readings []Reading `json:"readings"`
}

// New makes a batch of readings that were taken within a time span.
func New(readings []string, from, to time.Time) (*Batch, error) {
	return build(rand.Reader, readings, from, to)
}

func build(random io.Reader, readings []string, from, to time.Time) (*Batch, error) {
	if len(readings) == 0 {
		return nil, ErrEmpty
	}
	salts := make([]byte, SaltSize*len(readings))
	if _, err := io.ReadFull(random, salts); err != nil {
		return nil, fmt.Errorf("making salts: %w", err)
	}
	b := &Batch{From: from, To: to, Readings: make([]Reading, len(readings))}
	for i, text := range readings {
		b.Readings[i] = Reading{Hex(salts[i*SaltSize : (i+1)*SaltSize]), text}
	}
	if err := b.check(); err != nil {
		return nil, err
	}
	root := proof.Root(b.items())
	b.Root = root[:]
	return b, nil
}

func (b *Batch) check() error {
	if len(b.Readings) == 0 {
		return ErrEmpty
	}
	if len(b.Readings) > MaxReadings {
		return ErrTooLarge
	}
	for i := range b.Readings {
		if err := b.Readings[i].check(); err != nil {
			return fmt.Errorf("reading %d: %w", i, err)
		}
	}
	return nil
}

func (b *Batch) items() [][]byte {
	items := make([][]byte, len(b.Readings))
	for i := range b.Readings {
		items[i] = b.Readings[i].item()
	}
	return items
}

// Parse reads a batch as JSON and checks its root.
func Parse(text []byte) (*Batch, error) {
	var b Batch
	if err := json.Unmarshal(text, &b); err != nil {
		return nil, fmt.Errorf("reading a batch: %w", err)
	}
	if err := b.check(); err != nil {
		return nil, err
	}
	if root := proof.Root(b.items()); string(root[:]) != string(b.Root) {
		return nil, ErrRoot
	}
	return &b, nil
}

// Proof shows that a reading is one of a batch. Device and Number say where the
// ledger has the root: they are zero until the batch was notarised, and part of
// no hash.
type Proof struct {
	Device Hex    `json:"device,omitempty"`
	Number uint64 `json:"number"`
	Root   Hex    `json:"root"`
	Index  uint64 `json:"index"`
	Count  uint64 `json:"count"`
	Path   []Hex  `json:"path"` // from the leaf up
	Reading
}

// Prove makes the proof of reading i.
func (b *Batch) Prove(i int) (*Proof, error) {
	if i < 0 || i >= len(b.Readings) {
		return nil, fmt.Errorf("reading %d of a batch of %d", i, len(b.Readings))
	}
	p := &Proof{Root: b.Root, Index: uint64(i), Count: uint64(len(b.Readings)), Path: []Hex{}, Reading: b.Readings[i]}
	for _, sibling := range proof.Proof(b.items(), i) {
		p.Path = append(p.Path, sibling[:])
	}
	return p, nil
}

// ParseProof reads a proof as JSON and checks it.
func ParseProof(text []byte) (*Proof, error) {
	var p Proof
	if err := json.Unmarshal(text, &p); err != nil {
		return nil, fmt.Errorf("reading a proof: %w", err)
	}
	return &p, p.Check()
}

// Check checks that the reading is one of the batch that Root stands for.
// Whether the ledger has that root, the caller asks.
func (p *Proof) Check() error {
	if err := p.Reading.check(); err != nil {
		return err
	}
	if p.Count > MaxReadings || len(p.Path) > maxPath || len(p.Root) != len(abi.Hash{}) {
		return ErrPath
	}
	path := make([]abi.Hash, len(p.Path))
	for i, sibling := range p.Path {
		if len(sibling) != len(path[i]) {
			return ErrPath
		}
		path[i] = abi.Hash(sibling)
	}
	if err := proof.VerifyInclusion(abi.Hash(p.Root), p.item(), p.Index, p.Count, path); err != nil {
		return fmt.Errorf("%w: %w", ErrPath, err)
	}
	return nil
}
