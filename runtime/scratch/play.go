package scratch

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm"
)

// Trial is what a script is played with in memory.
type Trial struct {
	Name    string // of the contract under test
	Code    []byte // its Wasm
	Schema  []byte // its schema in JSON, nil where there is none
	Dir     string // where the files that a script names lie
	Engine  wasm.Engine
	Profile abi.Profile
	// Standard and Resolve are a Player's.
	Standard func(name string) (code, schema []byte, ok bool)
	Resolve  func(pack []byte, now int64) (payload []byte, err error)
}

// Play runs a script on a chain of its own, to its first step that fails. The
// error is a fault of chain or host, never of the contract.
func (t *Trial) Play(ctx context.Context, s *Script) (*Report, error) {
	m, _, r, err := t.play(ctx, s)
	if err != nil {
		return nil, err
	}
	return r, m.chain.Close()
}

// play is Play that leaves the chain open.
func (t *Trial) play(ctx context.Context, s *Script) (*memory, *Player, *Report, error) {
	m, err := openMemory(ctx, t)
	if err != nil {
		return nil, nil, nil, err
	}
	p := &Player{
		World: m, Contract: t.Name, Code: t.Code, Schema: t.Schema, Standard: t.Standard, Resolve: t.Resolve,
		Read: func(file string) ([]byte, error) { return os.ReadFile(filepath.Join(t.Dir, file)) },
	}
	r, err := p.Play(ctx, s)
	if err != nil {
		return nil, nil, nil, errors.Join(err, m.chain.Close())
	}
	r.Entries = m.entries
	return m, p, r, nil
}
