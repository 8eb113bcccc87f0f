package consensus

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hyperledger-labs/SmartBFT/pkg/types"
	"github.com/hyperledger-labs/SmartBFT/smartbftprotos"
	"google.golang.org/protobuf/proto"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

func metadata(t testing.TB, height uint64) []byte {
	t.Helper()
	b, err := proto.Marshal(&smartbftprotos.ViewMetadata{ViewId: 1, LatestSequence: height, DecisionsInView: 2})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func testProposal(t testing.TB) types.Proposal {
	block := &chain.Block{Header: chain.Header{Chain: testChain, Protocol: 1, Height: 7, Time: 5}, Txs: [][]byte{{1}, {2, 3}}}
	return newProposal(block, metadata(t, 7), 3)
}

func TestProposalRefusals(t *testing.T) {
	for name, spoil := range map[string]func(*types.Proposal){
		"no header":        func(p *types.Proposal) { p.Header = nil },
		"longer header":    func(p *types.Proposal) { p.Header = append(p.Header, 0) },
		"no payload":       func(p *types.Proposal) { p.Payload = nil },
		"longer payload":   func(p *types.Proposal) { p.Payload = append(p.Payload, 0) },
		"large payload":    func(p *types.Proposal) { p.Payload = make([]byte, abi.MaxBlock+1) },
		"other height":     func(p *types.Proposal) { p.Metadata = metadata(t, 8) },
		"no metadata":      func(p *types.Proposal) { p.Metadata = nil },
		"garbage metadata": func(p *types.Proposal) { p.Metadata = []byte{0xff} },
		"large metadata":   func(p *types.Proposal) { p.Metadata = append(p.Metadata, make([]byte, maxMetadata)...) },
		"moved border": func(p *types.Proposal) {
			p.Header, p.Payload = append(p.Header, p.Payload[0]), p.Payload[1:]
		},
	} {
		p := testProposal(t)
		if _, err := parseProposal(p); err != nil {
			t.Fatal(err)
		}
		spoil(&p)
		if _, err := parseProposal(p); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// The certificate's signatures are sorted, single, and verify by chain's rule.
func TestCertificate(t *testing.T) {
	a := newApp(t, 4)
	h := a.Head()
	block := a.execute(&h, 9, [][]byte{transaction(t, 1)})
	raw := newProposal(block, metadata(t, 1), 0)
	p, err := parseProposal(raw)
	if err != nil {
		t.Fatal(err)
	}
	var votes []types.Signature
	for _, id := range []uint64{4, 2, 1, 2} {
		sig, err := newKey(id).Sign(p.vote())
		if err != nil {
			t.Fatal(err)
		}
		votes = append(votes, types.Signature{ID: id, Value: sig})
	}
	c := p.certificate(votes)
	if err := c.Verify(&block.Header, a.set); err != nil {
		t.Fatal(err)
	}
	parsed, err := chain.ParseCertificate(c.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	if d := decision(block, &parsed); d.Proposal.Digest() != raw.Digest() || len(d.Signatures) != 3 {
		t.Error("the decision read back is another")
	}
}

// A signature for a change of view is none for a block, and the other way.
func TestDomains(t *testing.T) {
	p, err := parseProposal(testProposal(t))
	if err != nil {
		t.Fatal(err)
	}
	if view := appendViewData(nil, testChain, p.vote()); bytes.Equal(view, p.vote()) || bytes.Contains(view, []byte("postern/block")) {
		t.Error("view data can be passed off as a vote")
	}
	if bytes.Equal(appendViewData(nil, testChain, nil), appendViewData(nil, abi.Hash{}, nil)) {
		t.Error("view data of another chain")
	}
}

func TestTickIDs(t *testing.T) {
	tick, err := chain.ParseTx(chain.AppendTick(nil, 5))
	if err != nil {
		t.Fatal(err)
	}
	if poolID(tick, 1) == poolID(tick, 2) {
		t.Error("a tick has the same id at two heights")
	}
	if id := tick.ID; poolID(tick, 1) == id || tick.ID != id {
		t.Error("the tick's own id")
	}
}

func FuzzProposal(f *testing.F) {
	p := testProposal(f)
	f.Add(p.Header, p.Payload, p.Metadata)
	f.Add([]byte{}, []byte{0x80}, []byte{})
	f.Fuzz(func(t *testing.T, header, payload, metadata []byte) {
		raw := types.Proposal{Header: header, Payload: payload, Metadata: metadata}
		p, err := parseProposal(raw)
		if err != nil {
			return
		}
		if p.hash != p.block.Header.Hash() {
			t.Fatal("the hash is not that of the parsed header")
		}
		if again := newProposal(p.block, p.metadata, p.sequence); again.Digest() != raw.Digest() {
			t.Fatal("two encodings of one proposal")
		}
	})
}

func TestSignedFile(t *testing.T) {
	dir := t.TempDir()
	reopen := func() *signedFile {
		t.Helper()
		s, err := openSigned(dir, testChain, true)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for h := range uint64(5) {
		s := reopen()
		if s.height != h {
			t.Fatalf("height %d, want %d", s.height, h)
		}
		if err := s.raise(h + 1); err != nil {
			t.Fatal(err)
		}
		if err := s.raise(h); err != nil || s.height != h+1 {
			t.Fatalf("lowered to %d: %v", s.height, err)
		}
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := openSigned(dir, abi.Hash{1}, true); err == nil || !strings.Contains(err.Error(), "belongs to chain") {
		t.Errorf("another chain's: %v", err)
	}
	path := filepath.Join(dir, signedName)
	spoil := func(offset int64) {
		t.Helper()
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteAt([]byte{0xff}, offset); err != nil {
			t.Fatal(err)
		}
	}
	spoil(signedSlot + 20) // the record of height 5, torn
	if s := reopen(); s.height != 4 || s.close() != nil {
		t.Errorf("height %d beside a torn record", s.height)
	}
	spoil(20)
	if _, err := openSigned(dir, testChain, true); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("both torn: %v", err)
	}
}

func FuzzSigned(f *testing.F) {
	f.Add((&signedFile{chain: testChain, height: 9}).record())
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) != signedSize {
			return
		}
		if height, id, ok := parseSigned(b); ok && !bytes.Equal((&signedFile{chain: id, height: height}).record(), b) {
			t.Fatal("two encodings of one record")
		}
	})
}
