package storage

import (
	"bytes"
	"fmt"
	"log/slog"
	"testing"

	"github.com/cockroachdb/pebble/vfs"

	"github.com/seed79541315/postern/abi"
)

// testConfig is a small store on fs; a memory file system if fs is nil.
func testConfig(fs vfs.FS) Config {
	if fs == nil {
		fs = vfs.NewMem()
	}
	return Config{Dir: "home", FS: fs, Logger: slog.New(slog.DiscardHandler)}
}

func mustOpen(t testing.TB, cfg Config) *Store {
	t.Helper()
	s, err := Open(cfg)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return s
}

func mustClose(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

// commit adds a block of changes on top of the head.
func commit(s *Store, changes, plain []Change) (abi.Hash, error) {
	v, err := s.HeadView()
	if err != nil {
		return abi.Hash{}, err
	}
	defer v.Release()
	u, err := v.Update(changes)
	if err != nil {
		return abi.Hash{}, err
	}
	height := v.version
	return u.Root(), s.Commit(Block{
		Height: height, Update: u, Plain: plain,
		Block: fmt.Appendf(nil, "block %d", height), Certificate: fmt.Appendf(nil, "certificate %d", height), Outcomes: []byte{},
	})
}

func mustCommit(t testing.TB, s *Store, changes []Change) abi.Hash {
	t.Helper()
	root, err := commit(s, changes, nil)
	if err != nil {
		t.Fatalf("commit: %v", err)
	}
	return root
}

func mustView(t testing.TB, s *Store) *View {
	t.Helper()
	v, err := s.View()
	if err != nil {
		t.Fatalf("view: %v", err)
	}
	return v
}

func set(key, value string) Change { return Change{Key: []byte(key), Value: []byte(value)} }

func remove(key string) Change { return Change{Key: []byte(key)} }

func wantValue(t testing.TB, v *View, key, want string) {
	t.Helper()
	got, ok, err := v.Get([]byte(key))
	if err != nil || !ok || !bytes.Equal(got, []byte(want)) {
		t.Fatalf("get %q at %d: %q, %v, %v; want %q", key, v.Height(), got, ok, err, want)
	}
}

func wantNone(t testing.TB, v *View, key string) {
	t.Helper()
	if got, ok, err := v.Get([]byte(key)); err != nil || ok {
		t.Fatalf("get %q at %d: %q, %v, %v; want none", key, v.Height(), got, ok, err)
	}
}
