package rewrite_test

import (
	"context"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero/api"

	"github.com/seed79541315/postern/runtime/wasm/internal/module"
	"github.com/seed79541315/postern/runtime/wasm/internal/rewrite"
	"github.com/seed79541315/postern/runtime/wasm/internal/wasmtest"
)

// briefModule exports f(x, y), which calls functions small enough to be
// charged with it, and g, which calls one through the table.
func briefModule() []byte {
	code := wasmtest.Code
	m := &wasmtest.Module{}
	m.Memory = &module.Size{Min: 1}
	quotient := m.Func("ii", "i", "", code().Get(0).Get(1).Op(0x6d))
	early := m.Func("i", "i", "i", code().Get(0).If(wasmtest.Void).I32(7).Op(0x0f).End().I32(5).Set(1).Get(1).Get(1).Op(0x6c))
	store := m.Func("ii", "", "", code().Get(0).Get(1).Mem(0x36, 0))
	m.Export("f", m.Func("ii", "i", "", code().
		Get(0).Get(1).Call(store).
		Get(0).Get(1).Call(quotient).Get(0).Call(early).Op(0x6a).
		Get(0).Mem(0x28, 0).Op(0x6a)))
	table := m.Func("i", "i", "", code().Get(0).I32(3).Op(0x6a))
	m.Table = &module.Size{Min: 1, Max: 1, HasMax: true}
	m.Elems = []module.Elem{{Funcs: []uint32{table}}}
	m.Export("g", m.Func("ii", "i", "", code().Get(0).I32(0).CallIndirect(m.Funcs[table]).Get(1).Call(table).Op(0x6a)))
	return m.Bytes()
}

// Functions that are charged where they are called do what they did, trap as
// they did, and cost the same whichever way goes through them and wherever
// they trap, on every engine.
func TestBriefFunctions(t *testing.T) {
	ctx := context.Background()
	blob := briefModule()
	for _, name := range []string{"f", "g"} {
		gas := map[string]int64{}
		for _, args := range [][]uint64{{0, 1}, {8, 2}, {9, 0}, {1 << 16, 1}, {100, 3}} {
			original, _ := load(ctx, t, newEngine(ctx, t, interpreterConfig()), blob, name)
			want, wantErr := original.Call(ctx, args...)
			for engine, rc := range engineConfigs() {
				for variant, bin := range map[string][]byte{"metered": rewriteAll(t, blob), "marked": rewriteTracked(t, blob)} {
					f, reset := load(ctx, t, newEngine(ctx, t, rc), bin, name)
					got, err := f.Call(ctx, args...)
					used := reset()
					if (err == nil) != (wantErr == nil) || err == nil && uint32(got[0]) != uint32(want[0]) {
						t.Errorf("%s%v, %s, %s: %v, %v; want %v, %v", name, args, engine, variant, got, err, want, wantErr)
					}
					if first, ok := gas[name]; ok && used != first || used <= 0 {
						t.Errorf("%s%v, %s, %s: %d gas, %d before", name, args, engine, variant, used, first)
					}
					gas[name] = used
				}
			}
		}
	}
}

// A function is charged where it is called only while that is little.
func TestLongFunctionsMeterThemselves(t *testing.T) {
	ctx := context.Background()
	m := &wasmtest.Module{}
	long := wasmtest.Code().Get(0).If(wasmtest.Void)
	for range 5000 {
		long.Get(0).Op(0x1a)
	}
	f := m.Func("i", "", "", long.End())
	m.Export("f", m.Func("i", "", "", wasmtest.Code().Get(0).Call(f)))
	for engine, rc := range engineConfigs() {
		f, reset := load(ctx, t, newEngine(ctx, t, rc), rewriteAll(t, m.Bytes()), "f")
		used := func(arg uint64) int64 {
			if _, err := f.Call(ctx, arg); err != nil {
				t.Fatal(err)
			}
			return reset()
		}
		if short, all := used(0), used(1); all < short+1000 {
			t.Errorf("%s: %d gas for the short way, %d for the long one", engine, short, all)
		}
	}
}

func TestFuel(t *testing.T) {
	for _, gas := range []int64{0, 1, -1, 12345, rewrite.MaxGas, -rewrite.MaxGas} {
		for _, height := range []int64{0, 1, 250, rewrite.MaxHeight, -1, -256} {
			if g, h := rewrite.Split(rewrite.Fuel(gas, height)); g != gas || h != height {
				t.Errorf("%d, %d become %d, %d", gas, height, g, h)
			}
		}
	}
}

// A frame heavier than any height, and one that is exactly too heavy, end at
// the height and leave the gas as it is.
func TestHeavyFrames(t *testing.T) {
	ctx := context.Background()
	for _, locals := range []int{250 * 64, 100 * 64 * 64} {
		m := &wasmtest.Module{}
		inner := m.Func("", "", "", wasmtest.Code().Loop(wasmtest.Void).End())
		m.Export("f", m.Func("", "", strings.Repeat("l", locals), wasmtest.Code().Call(inner)))
		for engine, rc := range engineConfigs() {
			mod, err := newEngine(ctx, t, rc).Instantiate(ctx, rewriteAll(t, m.Bytes()))
			if err != nil {
				t.Fatal(err)
			}
			refill(mod, plenty)
			_, err = mod.ExportedFunction("f").Call(ctx)
			gas, height := rewrite.Split(mod.ExportedGlobal(rewrite.FuelExport).(api.MutableGlobal).Get())
			if err == nil || gas <= 0 || height >= 0 {
				t.Errorf("%s, %d locals: %v, gas %d, height %d", engine, locals, err, gas, height)
			}
		}
	}
}
