package blocksync

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
)

// state is a small state with what proves it.
type state struct {
	entries []proof.ChunkEntry // in order of their hashes
	hashes  []abi.Hash

	mu    sync.Mutex
	nodes map[[3]int]abi.Hash // guarded by mu
}

func newState(keys, size int) *state {
	s := &state{nodes: map[[3]int]abi.Hash{}}
	for i := range keys {
		s.entries = append(s.entries, proof.ChunkEntry{Key: fmt.Appendf(nil, "key %d", i), Value: bytes.Repeat([]byte{byte(i)}, size)})
	}
	slices.SortFunc(s.entries, func(a, b proof.ChunkEntry) int {
		x, y := proof.KeyHash(a.Key), proof.KeyHash(b.Key)
		return bytes.Compare(x[:], y[:])
	})
	for _, e := range s.entries {
		s.hashes = append(s.hashes, proof.KeyHash(e.Key))
	}
	return s
}

// split is the place of the first of [from, to) whose bit at depth is set.
func (s *state) split(from, to, depth int) int {
	return from + sort.Search(to-from, func(i int) bool { return proof.Bit(s.hashes[from+i], depth) == 1 })
}

// node is the hash of the subtree of the entries [from, to) at a depth.
func (s *state) node(from, to, depth int) abi.Hash {
	at := [3]int{from, to, depth}
	s.mu.Lock()
	h, ok := s.nodes[at]
	s.mu.Unlock()
	if ok {
		return h
	}
	h = s.hash(from, to, depth)
	s.mu.Lock()
	s.nodes[at] = h
	s.mu.Unlock()
	return h
}

func (s *state) hash(from, to, depth int) abi.Hash {
	switch to - from {
	case 0:
		return abi.Hash{}
	case 1:
		return proof.Leaf(s.hashes[from], proof.ValueHash(s.entries[from].Value))
	}
	middle := s.split(from, to, depth)
	return proof.Inner(s.node(from, middle, depth+1), s.node(middle, to, depth+1))
}

func (s *state) root() abi.Hash { return s.node(0, len(s.entries), 0) }

func (s *state) chunk(prefix uint64, depth uint8) *proof.Chunk {
	c := &proof.Chunk{Siblings: []abi.Hash{}, Entries: []proof.ChunkEntry{}}
	from, to := 0, len(s.entries)
	for i := range int(depth) {
		if to-from <= 1 {
			break
		}
		middle := s.split(from, to, i)
		if prefix>>(63-i)&1 == 0 {
			c.Siblings = append(c.Siblings, s.node(middle, to, i+1))
			to = middle
		} else {
			c.Siblings = append(c.Siblings, s.node(from, middle, i+1))
			from = middle
		}
	}
	if to-from == 1 && !proof.InChunk(s.hashes[from], prefix, depth) {
		c.Other = &proof.OtherLeaf{Key: s.hashes[from], Value: proof.ValueHash(s.entries[from].Value)}
		return c
	}
	c.Entries = append(c.Entries, s.entries[from:to]...)
	return c
}

// guardPages are n replay guards on pages of a few.
func guardPages(n int) (pages [][]byte) {
	var list []proof.Guard
	for i := range n {
		list = append(list, proof.Guard{Minute: uint64(i / 7), ID: sha256.Sum256(fmt.Append(nil, i)), Height: uint64(i), Index: 1})
	}
	slices.SortFunc(list, func(a, b proof.Guard) int { return bytes.Compare(a.Key(), b.Key()) })
	for page := range slices.Chunk(list, 5) {
		pages = append(pages, proof.AppendGuards(nil, page))
	}
	return append(pages, proof.AppendGuards(nil, nil))
}

// snapshots is a SnapshotSource over snapshots of a history.
type snapshots struct {
	most int // bytes of a chunk; 0: any

	mu       sync.Mutex
	manifest []byte // guarded by mu
	states   map[uint64]*state
	guards   [][]byte
}

// manifestAt is the manifest of the state at a height.
func manifestAt(h *history, height int, s *state) []byte {
	b := h.blocks[height]
	m := Manifest{Header: b.header, Block: b.block, Certificate: b.certificate, Outcomes: b.outcomes, Keys: uint64(len(s.entries))}
	for _, raw := range h.steps {
		if step, _ := proof.ParseStep(raw); step.Header.Height <= uint64(height) {
			m.Steps = append(m.Steps, raw)
		}
	}
	return m.Append(nil)
}

// trustedOf is what the genesis of a history makes trusted.
func trustedOf(h *history) proof.Trusted {
	return proof.Trusted{Chain: h.blocks[0].header.Chain, Validators: setOf(h.seats[0])}
}

// genesisOf is the encoded genesis of a history.
func genesisOf(h *history) []byte {
	k, _ := chain.ParseBlock(h.blocks[0].block)
	return k.Txs[0]
}

func (p *snapshots) Manifest() ([]byte, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.manifest, p.manifest != nil
}

func (p *snapshots) Chunk(height, prefix uint64, depth uint8) ([]byte, error) {
	p.mu.Lock()
	s := p.states[height]
	p.mu.Unlock()
	if s == nil {
		return nil, abi.CodeNotFound
	}
	raw := s.chunk(prefix, depth).Append(nil)
	if p.most > 0 && len(raw) > p.most {
		return nil, abi.CodeTooLarge
	}
	return raw, nil
}

func (p *snapshots) Guards(height uint64, after []byte) (page, next []byte, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.states[height] == nil {
		return nil, nil, abi.CodeNotFound
	}
	i := 0
	if after != nil {
		i = int(after[0])
	}
	if i+1 < len(p.guards) {
		next = []byte{byte(i + 1)}
	}
	return p.guards[i], next, nil
}

// sink is a SnapshotSink that keeps what it is given and complains of what is
// not right.
type sink struct {
	t      testing.TB
	want   *state
	guards [][]byte // that are right

	mu       sync.Mutex
	manifest *Manifest
	done     map[piece]bool
	got      map[string]string
	pages    [][]byte
	chunks   int // that came
	finished bool
	onChunk  func(n int) error
}

func newSink(t testing.TB, want *state, guards [][]byte) *sink {
	return &sink{t: t, want: want, guards: guards, done: map[piece]bool{}, got: map[string]string{}}
}

func (s *sink) Begin(m *Manifest) (func(uint64, uint8) bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.manifest != nil && s.manifest.Header != m.Header {
		clear(s.done)
		clear(s.got)
	}
	s.manifest, s.pages = m, nil
	return s.has, nil
}

func (s *sink) has(prefix uint64, depth uint8) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.covers(prefix, depth)
}

// covers says whether a chunk is there, or both of its halves. mu is held.
func (s *sink) covers(prefix uint64, depth uint8) bool {
	const deepest = 12 // that these tests come to
	return s.done[piece{prefix: prefix, depth: depth}] ||
		depth < deepest && s.covers(prefix, depth+1) && s.covers(prefix|1<<(63-depth), depth+1)
}

func (s *sink) Chunk(prefix uint64, depth uint8, c *proof.Chunk) error {
	if err := c.Verify(s.manifest.Header.State, prefix, depth); err != nil {
		s.t.Errorf("a chunk that is not verified reached the sink: %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.chunks++
	if s.onChunk != nil {
		if err := s.onChunk(s.chunks); err != nil {
			return err
		}
	}
	s.done[piece{prefix: prefix, depth: depth}] = true
	for _, e := range c.Entries {
		s.got[string(e.Key)] = string(e.Value)
	}
	return nil
}

func (s *sink) Guards(page []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pages = append(s.pages, page)
	return nil
}

func (s *sink) Finish(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.EqualFunc(s.pages, s.guards, bytes.Equal) {
		return fmt.Errorf("guards: %w", abi.CodeBadProof)
	}
	if len(s.got) != len(s.want.entries) {
		s.t.Errorf("%d of %d keys", len(s.got), len(s.want.entries))
	}
	for _, e := range s.want.entries {
		if s.got[string(e.Key)] != string(e.Value) {
			s.t.Errorf("%s has another value", e.Key)
		}
	}
	s.finished = true
	return nil
}

func TestManifest(t *testing.T) {
	changes := map[uint64][]seat{3: seats(2, 3, 4, 5), 9: seats(5, 6, 7, 8), 20: seats(20, 21, 22, 23)}
	h := build(20, 10, changes)
	raw := manifestAt(h, 20, newState(10, 10))
	verify := func(m *Manifest) error {
		trusted := trustedOf(h)
		return m.Verify(&trusted)
	}
	m, err := ParseManifest(raw)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(m.Append(nil), raw) {
		t.Fatal("the encoding changed")
	}
	if err := verify(m); err != nil {
		t.Fatal(err)
	}
	strange, _ := ParseManifest(manifestAt(build(20, 11, changes), 20, newState(10, 10)))
	for name, spoil := range map[string]func(m *Manifest){
		"no steps":                 func(m *Manifest) { m.Steps = nil },
		"a step left out":          func(m *Manifest) { m.Steps = m.Steps[1:] },
		"the newest step left out": func(m *Manifest) { m.Steps = m.Steps[:2] },
		"steps out of order":       func(m *Manifest) { m.Steps = [][]byte{m.Steps[1], m.Steps[0], m.Steps[2]} },
		"a step twice":             func(m *Manifest) { m.Steps = [][]byte{m.Steps[0], m.Steps[0], m.Steps[1], m.Steps[2]} },
		"a step that is none":      func(m *Manifest) { m.Steps = append([][]byte{{0xa0}}, m.Steps...) },
		"a step above the height": func(m *Manifest) {
			m.Steps = append(slices.Clone(m.Steps), build(21, 10, map[uint64][]seat{21: seats(1)}).steps[0])
		},
		"a step of a forked chain":   func(m *Manifest) { m.Steps = [][]byte{m.Steps[0], m.Steps[1], strange.Steps[2]} },
		"the certificate of another": func(m *Manifest) { m.Certificate = strange.Certificate },
		"no certificate":             func(m *Manifest) { m.Certificate = nil },
		"certified by too few":       func(m *Manifest) { m.Certificate = certify(&m.Header, h.seats[20], 2) },
		"certified by the next set":  func(m *Manifest) { m.Certificate = certify(&m.Header, seats(20, 21, 22, 23), 3) },
		"another block":              func(m *Manifest) { m.Block, m.Header = strange.Block, strange.Header },
		"another's transactions": func(m *Manifest) {
			m.Block = chain.AppendBlock(nil, &chain.Block{Header: m.Header, Txs: [][]byte{{1}}})
		},
		"another's outcomes":     func(m *Manifest) { m.Outcomes = chain.AppendOutcomes(nil, [][]byte{{1}}) },
		"outcomes that are none": func(m *Manifest) { m.Outcomes = []byte{0xff} },
		"a forged state root": func(m *Manifest) {
			m.Header.State[0] ^= 1
			m.Block = chain.AppendBlock(nil, &chain.Block{Header: m.Header, Txs: [][]byte{{1}}})
		},
		"the genesis": func(m *Manifest) { m.Block, m.Header, m.Certificate = h.blocks[0].block, h.blocks[0].header, nil },
	} {
		m, _ := ParseManifest(raw)
		spoil(m)
		if err := verify(m); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for i := range raw {
		spoilt := slices.Clone(raw)
		spoilt[i] ^= 1
		if m, err := ParseManifest(spoilt); err == nil && verify(m) == nil && m.Keys == 10 {
			t.Errorf("byte %d changed: accepted", i)
		}
	}
	if _, err := ParseManifest(raw[:len(raw)-1]); !errors.Is(err, abi.CodeMalformed) {
		t.Errorf("cut short: %v", err)
	}
}
