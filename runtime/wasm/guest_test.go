package wasm

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/seed79541315/postern/abi"
)

// goGuest is the contract in testdata/guest, as the toolchain at hand
// compiles it.
var goGuest = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "guest")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "guest.wasm")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-w", "-buildmode=c-shared", "-o", out, "./testdata/guest")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS=")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, err
	}
	return os.ReadFile(out)
})

func guestBlob(t testing.TB) []byte {
	t.Helper()
	blob, err := goGuest()
	if err != nil {
		t.Fatal(err)
	}
	return blob
}

// A Go program does the same on both engines, call after call: maps in one
// order, no time but what it slept, no randomness, no files.
func TestGoGuest(t *testing.T) {
	blob := guestBlob(t)
	var runtimes []*Runtime
	for _, e := range engines() {
		runtimes = append(runtimes, newWideRuntime(t, e))
	}
	for name, c := range map[string]struct {
		out  string
		code abi.Code
		log  string // beginning of what is logged
	}{
		"maps":       {out: "1 4950 key 0 de2a0090"},
		"json":       {out: `1 {"a":[1,2500000000,"x"],"b":{"c":null}}`},
		"floats":     {out: "1 7ff8000000000000 7ff8000000000000 24.705294220065465 7fc00000"},
		"goroutines": {out: "1 [0 1 4 9 16 25 36 49 64 81 100 121 144 169 196 225 256 289 324 361]"},
		"sleep":      {out: "1 1h0m0s 1"},
		"random":     {out: "1 0000000000000000 <nil>"},
		"files":      {out: "1 open /etc/passwd: Bad file number 0 0"},
		"hash":       {out: "1 ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
		"print":      {out: "1 <nil>", log: "to the log|and more"},
		"panic":      {code: abi.CodeUnreachable, log: "panic: at the disco|goroutine 1 [running]:|main.init.func4()"},
		"index":      {code: abi.CodeUnreachable, log: "panic: runtime error: index out of range [6] with length 1"},
		"nil":        {code: abi.CodeUnreachable, log: "panic: runtime error: invalid memory address or nil pointer dereference"},
		"exit":       {code: abi.CodeExited},
		"deadlock":   {code: abi.CodeUnreachable, log: "fatal error: all goroutines are asleep - deadlock!"},
		"recursion":  {code: abi.CodeStackLimit},
		"allocation": {code: abi.CodeMemoryLimit},
		"garbage":    {out: "1 41943040"},
	} {
		var first wideOutcome
		for i, r := range runtimes {
			for round := range 2 {
				env := newMemEnv()
				call := callOf(blob, abi.EntryQuery, env)
				call.Input = []byte(name)
				res, err := r.Call(context.Background(), call)
				o := wideOutcome{outcomeOf(t, res, err), strings.Join(env.logs, "|")}
				if i+round == 0 {
					first = o
				}
				if o != first {
					t.Errorf("%v, %s: %+v, want %+v", r.Engine(), name, o, first)
				}
			}
		}
		if first.code != c.code || !strings.HasPrefix(first.out, c.out) || !strings.HasPrefix(first.logs, c.log) {
			t.Errorf("%s: %+v", name, first)
		}
	}
}

// A trap tells why a Go program panicked, and in which function.
func TestGoPanicIsNamed(t *testing.T) {
	call := callOf(guestBlob(t), abi.EntryQuery, newMemEnv())
	call.Input = []byte("panic")
	_, err := newWideRuntime(t, engines()[0]).Call(context.Background(), call)
	trap, ok := err.(*Trap)
	if !ok || trap.Text != "panic: at the disco" || !strings.Contains(trap.Func, "main.init.func4") {
		t.Errorf("%+v", err)
	}
}

// The guest keeps within the limits with room to spare, and lean chains
// refuse it for what it imports.
func TestGoGuestLimits(t *testing.T) {
	blob := guestBlob(t)
	info, err := Check(blob, abi.ProfileWide)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range info.Uses {
		t.Log(u)
		if 4*u.Used > 3*u.Limit && u.Limit > 1 && u.Name != "bytes" {
			t.Errorf("%s: %d of %d", u.Name, u.Used, u.Limit)
		}
	}
	_, err = Check(blob, abi.ProfileLean)
	if r, ok := err.(*Refusal); !ok || r.Code != abi.CodeModuleTooLarge {
		t.Error(err)
	}
}

// BenchmarkAdmitGoGuest is what block execution does with a Go guest when it
// is deployed.
func BenchmarkAdmitGoGuest(b *testing.B) {
	blob := guestBlob(b)
	r := newWideRuntime(b, EngineInterpreter)
	b.SetBytes(int64(len(blob)))
	b.ReportAllocs()
	start := cpuTime(b)
	for b.Loop() {
		if _, err := r.Admit(Protocol, blob); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(cpuTime(b)-start)/float64(b.N), "cpu-ns/op")
}
