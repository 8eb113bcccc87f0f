package proof

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// MaxCheckpoint is how long a signed checkpoint may be in bytes: one signature
// and those of some witnesses.
const MaxCheckpoint = 1 << 10

// maxLogSize bounds the size of a log, which package tlog counts in int64 and
// doubles.
const maxLogSize = 1 << 60

// Checkpoint is the head of a log: how many records it holds and the root of
// the tree over them (RFC 9162 section 2.1, as in package tlog). Signed, it is
// a note as C2SP tlog-checkpoint has it:
//
//	<origin>
//	<size, decimal>
//	<root, base64>
//
//	— <origin> <base64 of key hash (4) | Ed25519 signature (64)>
//
// The key's name is the origin. Lines of witnesses may follow the log's own.
type Checkpoint struct {
	Origin string
	Size   uint64
	Root   abi.Hash
}

// LogOrigin names the decision log of a gateway's account.
func LogOrigin(chain, account abi.Hash) string {
	return "postern/" + hex.EncodeToString(chain[:]) + "/" + hex.EncodeToString(account[:])
}

// AppendText appends the lines that are signed.
func (c *Checkpoint) AppendText(b []byte) []byte {
	b = append(append(b, c.Origin...), '\n')
	b = append(strconv.AppendUint(b, c.Size, 10), '\n')
	return append(base64.StdEncoding.AppendEncode(b, c.Root[:]), '\n')
}

// Sign returns the signed note. The signer's key is ed25519.
func (c *Checkpoint) Sign(s chain.Signer) ([]byte, error) {
	key, err := newNoteKey(c.Origin, s.Public())
	if err != nil {
		return nil, err
	}
	signed, err := note.Sign(&note.Note{Text: string(c.AppendText(nil))}, &noteSigner{key, s})
	if err != nil {
		return nil, fmt.Errorf("signing a checkpoint: %w", err)
	}
	return signed, nil
}

// OpenCheckpoint reads a signed note and checks that it is of this origin and
// signed with this key. Errors wrap a code: CodeMalformed, CodeTooLarge,
// CodeBadKey, CodeBadSignature, and CodeBadProof if it is another log's.
func OpenCheckpoint(signed []byte, origin string, key []byte) (Checkpoint, error) {
	c, err := ParseCheckpoint(signed)
	if err != nil {
		return Checkpoint{}, err
	}
	if c.Origin != origin {
		return Checkpoint{}, fmt.Errorf("checkpoint of log %q, not %q: %w", c.Origin, origin, abi.CodeBadProof)
	}
	k, err := newNoteKey(origin, key)
	if err != nil {
		return Checkpoint{}, err
	}
	if _, err := note.Open(signed, note.VerifierList(k)); err != nil {
		return Checkpoint{}, fmt.Errorf("checkpoint: %w: %w", abi.CodeBadSignature, err)
	}
	return c, nil
}

// ParseCheckpoint reads a note without looking at its signatures: it only says
// what somebody claims. The text has exactly three lines, in their one form.
func ParseCheckpoint(signed []byte) (Checkpoint, error) {
	if len(signed) > MaxCheckpoint {
		return Checkpoint{}, fmt.Errorf("checkpoint of %d bytes: %w", len(signed), abi.CodeTooLarge)
	}
	text, _, ok := bytes.Cut(signed, []byte("\n\n"))
	lines := strings.Split(string(text), "\n")
	if !ok || len(lines) != 3 || !validOrigin(lines[0]) {
		return Checkpoint{}, fmt.Errorf("no checkpoint of three lines: %w", abi.CodeMalformed)
	}
	c := Checkpoint{Origin: lines[0]}
	size, err := strconv.ParseUint(lines[1], 10, 64)
	root, rootErr := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || rootErr != nil || size > maxLogSize || len(root) != len(c.Root) {
		return Checkpoint{}, fmt.Errorf("size or root of a checkpoint: %w", abi.CodeMalformed)
	}
	c.Size, c.Root = size, abi.Hash(root)
	if !bytes.Equal(c.AppendText(nil), signed[:len(text)+1]) {
		return Checkpoint{}, fmt.Errorf("a checkpoint in another form: %w", abi.CodeMalformed)
	}
	return c, nil
}

// validOrigin says whether a name may stand before a signature.
func validOrigin(s string) bool {
	if s == "" {
		return false
	}
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || c == '+' {
			return false
		}
	}
	return true
}

// VerifyConsistency checks that the log of c is that of old with nothing but
// records added: path is the consistency proof (RFC 9162 section 2.1.4), empty
// for equal sizes and for a log that was empty. An error wraps CodeBadProof.
func (c *Checkpoint) VerifyConsistency(old *Checkpoint, path []abi.Hash) error {
	switch {
	case c.Origin != old.Origin || c.Size < old.Size || c.Size > maxLogSize:
		return fmt.Errorf("a log of %d records after one of %d: %w", c.Size, old.Size, abi.CodeBadProof)
	case c.Size == old.Size && c.Root != old.Root:
		return fmt.Errorf("two heads of one log at size %d: %w", c.Size, abi.CodeBadProof)
	case c.Size == old.Size || old.Size == 0:
		if len(path) != 0 {
			return fmt.Errorf("a consistency proof of %d hashes where none is needed: %w", len(path), abi.CodeBadProof)
		}
		return nil
	}
	err := tlog.CheckTree(treeProof(path), int64(c.Size), tlog.Hash(c.Root), int64(old.Size), tlog.Hash(old.Root))
	if err != nil {
		return fmt.Errorf("log of %d records after one of %d: %w", c.Size, old.Size, abi.CodeBadProof)
	}
	return nil
}

// VerifyInclusion checks that a record stands at an index of the log: path is
// the inclusion proof of its leaf hash. An error wraps CodeBadProof.
func (c *Checkpoint) VerifyInclusion(leaf abi.Hash, index uint64, path []abi.Hash) error {
	if index >= c.Size || c.Size > maxLogSize {
		return fmt.Errorf("record %d of a log of %d: %w", index, c.Size, abi.CodeBadProof)
	}
	err := tlog.CheckRecord(tlog.RecordProof(treeProof(path)), int64(c.Size), tlog.Hash(c.Root), int64(index), tlog.Hash(leaf))
	if err != nil {
		return fmt.Errorf("record %d of a log of %d: %w", index, c.Size, abi.CodeBadProof)
	}
	return nil
}

func treeProof(path []abi.Hash) tlog.TreeProof {
	p := make(tlog.TreeProof, len(path))
	for i := range path {
		p[i] = tlog.Hash(path[i])
	}
	return p
}

// noteKey is an ed25519 key under a name, checked by the one verifier of the
// ledger: what a gateway's note proves must not depend on another's rules.
type noteKey struct {
	name string
	key  []byte
	hash uint32
}

// algEd25519 stands before an Ed25519 key in its hash and in verifier keys
// (C2SP signed-note).
const algEd25519 = 1

func newNoteKey(name string, key []byte) (*noteKey, error) {
	if len(key) != chain.Ed25519KeySize {
		return nil, fmt.Errorf("checkpoints are signed with ed25519: %w", abi.CodeBadKey)
	}
	if !validOrigin(name) {
		return nil, fmt.Errorf("%q cannot name a log: %w", name, abi.CodeBadArgument)
	}
	sum := sha256.Sum256(append([]byte(name+"\n\x01"), key...))
	return &noteKey{name, key, binary.BigEndian.Uint32(sum[:])}, nil
}

func (k *noteKey) Name() string { return k.name }

func (k *noteKey) KeyHash() uint32 { return k.hash }

func (k *noteKey) Verify(msg, sig []byte) bool { return chain.VerifySignature(k.key, msg, sig) }

type noteSigner struct {
	*noteKey
	signer chain.Signer
}

func (s *noteSigner) Sign(msg []byte) ([]byte, error) { return s.signer.Sign(msg) }

// VerifierKey is a log's key in the form in which tools for C2SP logs take it:
// <origin>+<key hash, hex>+<base64 of algorithm (1) | key>.
func VerifierKey(origin string, key []byte) (string, error) {
	k, err := newNoteKey(origin, key)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s+%08x+%s", k.name, k.hash, base64.StdEncoding.EncodeToString(append([]byte{algEd25519}, key...))), nil
}
