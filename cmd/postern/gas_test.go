package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/runtime/wasm"
)

// A validator that interprets is told when blocks are made for compiled code.
func TestWarningOfSlowBlocks(t *testing.T) {
	for _, c := range []struct {
		engine wasm.Engine
		gas    uint64
		warns  bool
	}{
		{wasm.EngineInterpreter, chain.ParamsOf(abi.ProfileLean).BlockGas, true},
		{wasm.EngineInterpreter, chain.ParamsOf(abi.ProfileWide).BlockGas, true},
		{wasm.EngineInterpreter, interpretedBlockGas, false},
		{wasm.EngineCompiler, chain.ParamsOf(abi.ProfileWide).BlockGas, false},
	} {
		var out bytes.Buffer
		warnOfSlowBlocks(slog.New(slog.NewTextHandler(&out, nil)), c.engine, c.gas)
		if warned := strings.Contains(out.String(), "level=WARN") && strings.Contains(out.String(), "--block-gas"); warned != c.warns {
			t.Errorf("%v, %d: %q", c.engine, c.gas, out.String())
		}
	}
}
