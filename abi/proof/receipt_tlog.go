package proof

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strconv"

	"github.com/seed79541315/postern/abi"
)

// maxLogPath is the length of the longest inclusion proof.
const maxLogPath = 60

// maxLogProof bounds a LogProof's text in bytes.
const maxLogProof = 64 + (maxLogPath+1)*45 + MaxCheckpoint

// LogProof says that a record stands in a log: a proof as C2SP tlog-proof has
// it, without extra data.
//
//	c2sp.org/tlog-proof@v1
//	index <decimal>
//	<hash, base64>        from the leaf's sibling upwards
//	…
//
//	<signed checkpoint>
type LogProof struct {
	Index      uint64
	Path       []abi.Hash
	Checkpoint []byte // signed
}

const logProofHead = "c2sp.org/tlog-proof@v1\nindex "

// Append appends the proof's text.
func (p *LogProof) Append(b []byte) []byte {
	b = append(strconv.AppendUint(append(b, logProofHead...), p.Index, 10), '\n')
	for i := range p.Path {
		b = append(base64.StdEncoding.AppendEncode(b, p.Path[i][:]), '\n')
	}
	return append(append(b, '\n'), p.Checkpoint...)
}

// ParseLogProof reads what Append wrote, and refuses another form. The
// checkpoint aliases b, and has the form of one; nothing is verified yet.
func ParseLogProof(b []byte) (LogProof, error) {
	if len(b) > maxLogProof {
		return LogProof{}, fmt.Errorf("log proof of %d bytes: %w", len(b), abi.CodeTooLarge)
	}
	head, checkpoint, ok := bytes.Cut(b, []byte("\n\n"))
	lines := bytes.Split(bytes.TrimPrefix(head, []byte(logProofHead)), []byte("\n"))
	index, err := strconv.ParseUint(string(lines[0]), 10, 64)
	if !ok || err != nil || len(lines) > 1+maxLogPath {
		return LogProof{}, fmt.Errorf("no log proof: %w", abi.CodeMalformed)
	}
	p := LogProof{Index: index, Checkpoint: checkpoint}
	for _, line := range lines[1:] {
		h, err := base64.StdEncoding.Strict().AppendDecode(nil, line)
		if err != nil || len(h) != len(abi.Hash{}) {
			return LogProof{}, fmt.Errorf("a hash of a log proof: %w", abi.CodeMalformed)
		}
		p.Path = append(p.Path, abi.Hash(h))
	}
	if _, err := ParseCheckpoint(checkpoint); err != nil {
		return LogProof{}, err
	}
	if !bytes.Equal(p.Append(nil), b) {
		return LogProof{}, fmt.Errorf("a log proof in another form: %w", abi.CodeMalformed)
	}
	return p, nil
}
