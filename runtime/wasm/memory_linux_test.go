package wasm

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm/internal/wasmtest"
)

// memoryKinds are the ways in which memories can be set back here; each makes
// a new Runtime use it.
func memoryKinds() map[string]func(*Runtime) {
	return map[string]func(*Runtime){
		"the best there is": func(*Runtime) {},
		"no pagemap": func(r *Runtime) {
			if r.images != nil {
				r.images.closePagemap()
			}
		},
		"plain": func(r *Runtime) {
			if r.images != nil {
				r.images.close()
				r.images = nil
			}
		},
	}
}

// held counts the mappings of images, and the open files.
func held(t *testing.T) (mappings, files int) {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(maps), "memfd:postern-images"), len(fds)
}

// What instances and codes map is unmapped when they are evicted, and all of
// it when the runtime is closed.
func TestNoMappingIsLeft(t *testing.T) {
	ctx := context.Background()
	mappings, files := held(t)
	r, err := New(ctx, Config{Engine: EngineInterpreter, Protocol: Protocol, PoolBytes: 1, CodeBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 24 {
		blob := append(vandal(), 0, 2, 1, byte('a'+i)) // a custom section: another hash
		res, err := r.Call(ctx, callOf(blob, []abi.Entry{abi.EntryInit, abi.EntryExecute}[i%2], noEnv()))
		outcomeOf(t, res, err)
	}
	var stat unix.Stat_t
	if err := unix.Fstat(r.images.fd, &stat); err != nil {
		t.Fatal(err)
	}
	if now, _ := held(t); now != mappings+1 { // the image of the last code
		t.Errorf("%d mappings, there were %d", now, mappings)
	}
	if blocks := stat.Blocks * 512; blocks > 40<<10 { // up to the page with its data segment
		t.Errorf("images take %d bytes", blocks)
	}
	if err := r.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if m, f := held(t); m != mappings || f != files {
		t.Errorf("%d mappings and %d files, there were %d and %d", m, f, mappings, files)
	}
}

// A memory that was written to all over gives its pages back after a while.
func TestPagesAreGivenUp(t *testing.T) {
	r := newRuntime(t, EngineInterpreter)
	r.paranoid = false // it writes as well
	w := wrecker{pages: 3}
	blob := w.build()
	c := wreckerCase{"", w, r}
	c.wreck(t, blob, 1, 0)
	code := r.codes[codeKey{Protocol, callOf(blob, 0, nil).Code}]
	want := 3 * wasmPage
	if r.images.pagemap < 0 {
		want = 0 // given up after each call
	}
	if n := code.idle[0].memory.resident(); n != want {
		t.Fatalf("%d bytes are the instance's own", n)
	}
	for range freshEvery {
		c.wreck(t, blob, 2, 0)
	}
	if n := code.idle[0].memory.resident(); n > 8*os.Getpagesize() {
		t.Errorf("%d bytes are the instance's own", n)
	}
	if s := r.Stats(); s.IdleBytes != code.idle[0].bytes() || s.Idle != 1 || s.Codes != 1 || s.SharedBytes != 3*wasmPage {
		t.Errorf("%+v", s)
	}
}

// A machine that has no more memory is a fault of this host: a guest that saw
// its growth fail would leave another state than on other nodes.
func TestGrowthThatTheMachineRefuses(t *testing.T) {
	ctx := context.Background()
	m := wasmtest.Contract().Entry(abi.EntryExecute, returnStatic(wasmtest.Code().I32(1).Grow().Op(0x1a), 0, 0))
	for _, e := range engines() {
		r := newRuntime(t, e)
		if r.images == nil {
			t.Fatal("there are no mapped memories")
		}
		call := callOf(m.Bytes(), abi.EntryExecute, noEnv())
		res, err := r.Call(ctx, call)
		if o := outcomeOf(t, res, err); o.code != abi.OK || res.Pages != 2 {
			t.Fatalf("%v: %+v, %d pages", e, o, res.Pages)
		}
		memory := r.codes[codeKey{Protocol, call.Code}].idle[0].memory.(*mappedMemory)
		reserved := memory.reserved
		memory.reserved, memory.usable = memory.image.size, memory.image.size
		if res, err = r.Call(ctx, call); err == nil {
			t.Errorf("%v: the call ends with %+v", e, res)
		}
		var trap *Trap
		if errors.As(err, &trap) {
			t.Errorf("%v: %v is taken for the contract's doing", e, err)
		}
		memory.reserved = reserved
		res, err = r.Call(ctx, call)
		if o := outcomeOf(t, res, err); o.code != abi.OK || res.Pages != 2 {
			t.Errorf("%v: afterwards %+v, %d pages", e, o, res.Pages)
		}
	}
}
