package main

import (
	"log/slog"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/runtime/ledger"
	"github.com/seed79541315/postern/runtime/wasm"
)

// gasFlags are for the commands that make a chain.
var gasFlags = []cli.Flag{
	&cli.Uint64Flag{Name: "block-gas", Usage: "most `GAS` of a block (default: lean 100000000, wide 350000000)"},
	&cli.Uint64Flag{Name: "tx-gas", Usage: "most `GAS` of a transaction, up to half of a block's (default: lean 20000000, wide 175000000)"},
	&cli.Uint64Flag{Name: "protocol", Usage: "protocol `VERSION` to begin with, for nodes with older programs; the validators can raise it", DefaultText: "the newest"},
}

// chosenParams are the parameters of the chain that the flags ask for. Where
// only the block is made smaller, a transaction is half of it at most.
func chosenParams(c *cli.Context) (chain.Params, error) {
	profile, err := chosenProfile(c)
	if err != nil {
		return chain.Params{}, err
	}
	p := chain.ParamsOf(profile)
	if c.IsSet("block-gas") {
		p.BlockGas = c.Uint64("block-gas")
		p.TxGas = min(p.TxGas, p.BlockGas/2)
	}
	if c.IsSet("protocol") {
		p.Protocol = c.Uint64("protocol")
	}
	if p.Protocol == 0 || p.Protocol > chain.Protocol {
		return p, usagef("--protocol %d: this program knows versions 1 to %d", p.Protocol, chain.Protocol)
	}
	if c.IsSet("tx-gas") {
		p.TxGas = c.Uint64("tx-gas")
	}
	if least := ledger.PriceOf(chain.OpCall, 0); p.TxGas < least {
		return p, usagef("--tx-gas %d: an empty call takes %d, and a block holds twice what a transaction may take", p.TxGas, least)
	}
	if p.TxGas > p.BlockGas/2 {
		return p, usagef("--tx-gas %d: at most half of a block's gas, which is %d", p.TxGas, p.BlockGas)
	}
	return p, nil
}

// interpretedBlockGas is what the interpreter executes of the dearest
// instructions in the 500 ms that a block may take: 20.5 ns a unit, measured on
// a server of 2023 (runtime/wasm/DESIGN.md). It is also what completing the
// largest upload of a lean chain takes, twice.
const interpretedBlockGas = 24_000_000

// warnOfSlowBlocks says so where a node that votes interprets blocks which are
// made for compiled code.
func warnOfSlowBlocks(log *slog.Logger, e wasm.Engine, blockGas uint64) {
	if e != wasm.EngineInterpreter || blockGas <= interpretedBlockGas {
		return
	}
	log.Warn("this node votes and has no compiler: a full block may take it longer than 500 ms, and the chain waits for it; "+
		"run validators on amd64 or arm64 with engine = \"auto\", or make the chain with a smaller postern init --block-gas",
		"block-gas", blockGas, "interpreter", interpretedBlockGas)
}
