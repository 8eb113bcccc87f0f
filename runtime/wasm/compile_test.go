package wasm

import (
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm/internal/wasmtest"
)

// The cache directory is its owner's alone, and a damaged one is no obstacle.
func TestCacheDir(t *testing.T) {
	if !compilerSupported() {
		return // the interpreter keeps no cache
	}
	dir := filepath.Join(t.TempDir(), "code")
	run := func() {
		t.Helper()
		r, err := New(context.Background(), Config{Engine: EngineCompiler, Protocol: Protocol, CacheDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close(context.Background())
		res, err := r.Call(context.Background(), callOf(echo(), abi.EntryExecute, noEnv()))
		if o := outcomeOf(t, res, err); o.out != "input" {
			t.Fatal(o)
		}
	}
	run()
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Fatal(info, err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if err != nil || len(files) == 0 {
		t.Fatal("nothing was cached", err)
	}
	run()
	for _, damage := range []func(b []byte) []byte{
		func(b []byte) []byte { return b[:len(b)/2] },
		func(b []byte) []byte { return nil },
		func(b []byte) []byte { b[len(b)/2] ^= 0xff; return b },
	} {
		for _, f := range files {
			content, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(f, damage(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		run()
	}
	if err := os.Chmod(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	if _, err := New(context.Background(), Config{Engine: EngineCompiler, Protocol: Protocol, CacheDir: dir}); err == nil {
		t.Error("a cache open to others was taken")
	}
}

func TestConfig(t *testing.T) {
	ctx := context.Background()
	if _, err := New(ctx, Config{Protocol: Protocol + 1}); !errors.Is(err, abi.CodeUnknownVersion) {
		t.Error(err)
	}
	if _, err := New(ctx, Config{Protocol: 1, Profile: 9}); err == nil {
		t.Error("an unknown profile was taken")
	}
	r, err := New(ctx, Config{Protocol: 1})
	if err != nil || r.Engine() != engines()[0] {
		t.Fatal(r.Engine(), err)
	}
	if err := r.Close(ctx); err != nil {
		t.Error(err)
	}
}

// Ready, Compile and Load agree on what is compiled, and a code that cannot
// be loaded is our fault.
func TestReadyAndLoad(t *testing.T) {
	ctx := context.Background()
	r := newRuntime(t, EngineInterpreter)
	blob := echo()
	hash := abi.Hash(sha256.Sum256(blob))
	if r.Ready(Protocol, hash) {
		t.Error("ready before it was compiled")
	}
	fault := errors.New("no such file")
	call := callOf(blob, abi.EntryExecute, noEnv())
	call.Load = func() ([]byte, error) { return nil, fault }
	if _, err := r.Call(ctx, call); !errors.Is(err, fault) {
		t.Error(err)
	}
	call.Load = nil
	if _, err := r.Call(ctx, call); err == nil {
		t.Error("a code from nowhere was called")
	}
	for range 2 {
		if err := r.Compile(ctx, Protocol, hash, blob); err != nil || !r.Ready(Protocol, hash) {
			t.Error(err)
		}
	}
	if _, err := r.Call(ctx, call); err != nil {
		t.Error(err)
	}
	var refusal *Refusal
	if err := r.Compile(ctx, Protocol, abi.Hash{1}, []byte("no module")); !errors.As(err, &refusal) || r.Ready(Protocol, abi.Hash{1}) {
		t.Error(err)
	}
	call.Code, call.Load = abi.Hash{1}, func() ([]byte, error) { return []byte("no module"), nil }
	var trap *Trap
	if _, err := r.Call(ctx, call); err == nil || errors.As(err, &trap) {
		t.Error(err)
	}
}

// started is a contract with a start function; query returns the memory's
// first 8 bytes.
func started(start *wasmtest.Asm) []byte {
	m := wasmtest.Contract(abi.HostLog)
	f := m.Func("", "", "i", start)
	m.Start = &f
	return m.Entry(abi.EntryQuery, wasmtest.Code().I64(8)).Bytes()
}

// A start function runs once, metered; every call begins with what it left.
func TestStart(t *testing.T) {
	write := wasmtest.Code().I32(0).I32(0).Mem(0x28, 0).I32('a').Op(0x6a).Mem(0x36, 0)
	if o := both(t, started(write), abi.EntryQuery, 1<<30, noEnv); o.out != "a\x00\x00\x00\x00\x00\x00\x00" {
		t.Errorf("%+v", o)
	}
	for name, c := range map[string]struct {
		start *wasmtest.Asm
		want  abi.Code
	}{
		"loops":    {wasmtest.Code().Loop(void).Br(0).End(), abi.CodeOutOfGas},
		"traps":    {wasmtest.Code().Op(0x00), abi.CodeUnreachable},
		"grows":    {wasmtest.Code().I32(1).Grow().Op(0x1a), abi.OK},
		"grows on": {wasmtest.Code().Loop(void).I32(1).Grow().Op(0x1a).Br(0).End(), abi.CodeMemoryLimit},
		"calls us": {wasmtest.Code().I32(0).I32(0).Call(0), abi.CodeNotAllowedHere},
	} {
		if o := both(t, started(c.start), abi.EntryQuery, 1<<30, noEnv); o.code != c.want {
			t.Errorf("%s: %+v", name, o)
		}
	}
	if o := both(t, started(write), abi.EntryExecute, 1<<30, noEnv); o.code != abi.CodeNoEntryPoint {
		t.Errorf("%+v", o)
	}
}
