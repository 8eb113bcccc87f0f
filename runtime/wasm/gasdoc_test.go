package wasm

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm/internal/module"
)

const gasPage = "../../docs/gas.md"

// opNames are the opcodes' names in the text format, from 0x00 on; "-" is none
// or one that is not admitted.
var opNames = strings.Fields(`unreachable nop block loop if else - - - - - end br br_if br_table return
call call_indirect - - - - - - - - drop select select_t - - -
local.get local.set local.tee global.get global.set - - -
i32.load i64.load f32.load f64.load i32.load8_s i32.load8_u i32.load16_s i32.load16_u
i64.load8_s i64.load8_u i64.load16_s i64.load16_u i64.load32_s i64.load32_u
i32.store i64.store f32.store f64.store i32.store8 i32.store16 i64.store8 i64.store16 i64.store32
memory.size memory.grow i32.const i64.const f32.const f64.const
i32.eqz i32.eq i32.ne i32.lt_s i32.lt_u i32.gt_s i32.gt_u i32.le_s i32.le_u i32.ge_s i32.ge_u
i64.eqz i64.eq i64.ne i64.lt_s i64.lt_u i64.gt_s i64.gt_u i64.le_s i64.le_u i64.ge_s i64.ge_u
f32.eq f32.ne f32.lt f32.gt f32.le f32.ge f64.eq f64.ne f64.lt f64.gt f64.le f64.ge
i32.clz i32.ctz i32.popcnt i32.add i32.sub i32.mul i32.div_s i32.div_u i32.rem_s i32.rem_u
i32.and i32.or i32.xor i32.shl i32.shr_s i32.shr_u i32.rotl i32.rotr
i64.clz i64.ctz i64.popcnt i64.add i64.sub i64.mul i64.div_s i64.div_u i64.rem_s i64.rem_u
i64.and i64.or i64.xor i64.shl i64.shr_s i64.shr_u i64.rotl i64.rotr
f32.abs f32.neg f32.ceil f32.floor f32.trunc f32.nearest f32.sqrt f32.add f32.sub f32.mul f32.div f32.min f32.max f32.copysign
f64.abs f64.neg f64.ceil f64.floor f64.trunc f64.nearest f64.sqrt f64.add f64.sub f64.mul f64.div f64.min f64.max f64.copysign
i32.wrap_i64 i32.trunc_f32_s i32.trunc_f32_u i32.trunc_f64_s i32.trunc_f64_u i64.extend_i32_s i64.extend_i32_u
i64.trunc_f32_s i64.trunc_f32_u i64.trunc_f64_s i64.trunc_f64_u
f32.convert_i32_s f32.convert_i32_u f32.convert_i64_s f32.convert_i64_u f32.demote_f64
f64.convert_i32_s f64.convert_i32_u f64.convert_i64_s f64.convert_i64_u f64.promote_f32
i32.reinterpret_f32 i64.reinterpret_f64 f32.reinterpret_i32 f64.reinterpret_i64
i32.extend8_s i32.extend16_s i64.extend8_s i64.extend16_s i64.extend32_s`)

// prefixedNames are those behind 0xFC.
var prefixedNames = strings.Fields(`i32.trunc_sat_f32_s i32.trunc_sat_f32_u i32.trunc_sat_f64_s i32.trunc_sat_f64_u
i64.trunc_sat_f32_s i64.trunc_sat_f32_u i64.trunc_sat_f64_s i64.trunc_sat_f64_u - - memory.copy memory.fill`)

func opName(op module.Op) string {
	switch {
	case int(op) < len(opNames):
		return opNames[op]
	case op >= 0xfc00 && int(op-0xfc00) < len(prefixedNames):
		return prefixedNames[op-0xfc00]
	}
	return "-"
}

// classOps lists the names of a class's opcodes.
func classOps(c module.Class) (names []string) {
	for op := range module.Op(0xfd00) {
		if (op < 0x100 || op >= 0xfc00) && op.Info().Class == c {
			names = append(names, "`"+opName(op)+"`")
		}
	}
	return names
}

// Every admitted opcode has a name here, and no other has.
func TestOpNames(t *testing.T) {
	for op := range module.Op(0xfd00) {
		if admitted := op.Info().Class != module.ClassNone; (op < 0x100 || op >= 0xfc00) && admitted != (opName(op) != "-") {
			t.Errorf("%#x is named %s", op, opName(op))
		}
	}
}

// eighths shows a price in units.
func eighths(n int64) string {
	if n%8 == 0 {
		return fmt.Sprint(n / 8)
	}
	return strings.TrimRight(fmt.Sprintf("%.3f", float64(n)/8), "0")
}

const gasIntro = `# Gas

What a contract does is counted in gas, by fixed prices: those of this page, which
is made from the tables in %[1]s by %[2]s. They belong to the protocol version, are the same on every processor and engine,
and change with the version alone. This page has those of version %[11]d, with which new
chains begin; what was otherwise before stands [at its end](#earlier-versions).

## What a unit is

About half a nanosecond of compiled code on one core of a server of 2023, and about
eight nanoseconds on the interpreter. Prices are set by measurement so that nothing
costs more than about three times the median time for a unit, on each engine:
%[3]s. On the compiler code that is made to be slow, by loads
and calls that miss every cache, costs about four times the median. A wide chain's contracts
have more memory and code than a processor's caches, so loads, calls and branches cost
more there. The package's DESIGN.md has the figures.

## Who pays

- A **transaction** declares its gas. A block takes transactions while their
  declared gas fits, so declare little more than you need; the account's quota is
  charged what was used.
- A **timer** is charged to who set it, a **query** and a **decision** to nobody:
  they have a cap each, and so has a transaction. The caps are parameters of the chain.
- Gas that was used stays used: a call that traps, aborts or runs out is charged up
  to that point, one that runs out all it had. What a nested call used is its
  caller's.

## What is charged when

- A call, before its first instruction: %[4]d units, %[5]d for each page (64 KiB) of
  the memory that the module begins with, and %[6]s for each byte of its input. The
  result costs %[6]s for each byte when the contract returns it.
- Instructions, by stretches: code from one label to the next is charged whole
  where it begins. A stretch that a branch leaves early, or that traps, has paid
  for its rest.
- A small function that calls nothing and has no loop, up to %[8]d units (wide: %[9]d),
  is charged as part of its callers, all branches together.
- Host functions: a base price before they look at anything, then for each byte
  that goes in or out. They pay whether they succeed or not.
- The initialisation of a code (its start function, and ` + "`_initialize`" + `) runs when a
  node loads it, with at most %[7]d units (wide: %[10]d), and no call pays for it. How much
  code one block may run is bounded instead: 4 MiB (wide: 16 MiB), each code counted as
  256 KiB at least. One transaction finds at least half of that free; beyond it a call
  fails with ` + "`block-full`" + `.

## How to estimate

` + "`postern contract bench`" + ` and ` + "`postern contract test`" + ` show the gas of each call; declare
that and a fifth more. On paper: 20,000 units and 20 for each byte for a write, 12,000 for
a read, 120,000 for a signature, one or two units for an instruction that does not touch
memory, eight for a load (wide: 80). A call of a Go contract costs 80,000 for its memory,
and some 100,000 for what little it does; a panic two to three million more. Time on a gateway
without a compiler is about 8 ns for a unit of instructions on the machine named above; ask
the gateway itself with ` + "`postern contract bench --engine interpreter`" + `.

A block must execute within 500 ms on every validator. The default of a lean chain,
100,000,000 units, takes at most 160 ms compiled on a machine like the one named, that of a
wide chain, 350,000,000, at most 490 ms. A validator is expected to compile (amd64,
arm64). One that interprets does 24,000,000 units of the dearest instructions in
500 ms; code made to be slow takes three times as long. Where such nodes vote, give ` + "`postern init`" + `
--block-gas 24000000 --tx-gas 12000000, which is as much as completing an upload of
256 KiB needs.

## Instructions

Units for one on a lean and a wide chain; a stretch's sum is rounded up.

| lean | wide | instructions |
| ---: | ---: | --- |
`

// gasDoc makes docs/gas.md.
func gasDoc() []byte {
	r, wide := leanRules, wideRules
	var b bytes.Buffer
	fmt.Fprintf(&b, gasIntro, "`runtime/wasm/gas.go`", "`go test ./runtime/wasm -run TestGasPage -update`",
		"instructions, host functions and calls alike", r.callBase, r.callPage, eighths(r.callByte), r.start,
		r.costs.Brief/8, wide.costs.Brief/8, wide.start, Protocol)
	for c := module.ClassNone + 1; c < module.ClassCount; c++ {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", eighths(int64(r.costs.Classes[c])), eighths(int64(wide.costs.Classes[c])), strings.Join(classOps(c), " "))
	}
	fmt.Fprintf(&b, `
Beside these:

| units | for |
| ---: | --- |
| %s | each stretch of code that costs anything |
| %s | each round of a loop |
| %s | entering and leaving a function |
| %s | each local that is not a parameter, when its function is entered |
| %d + %d a page | `+"`memory.grow`"+` |
| %d (wide: %d) + 1 for each %d bytes | `+"`memory.copy`, `memory.fill`"+` |

## Host functions

| function | units | for each byte |
| --- | ---: | ---: |
`, eighths(int64(r.costs.Charge)), eighths(int64(r.costs.Loop)), eighths(int64(r.costs.Entry)), eighths(int64(r.costs.Local)),
		r.costs.Grow, r.costs.GrowPage, r.costs.Bulk, wide.costs.Bulk, 1<<r.costs.BulkShift)
	for fn := range abi.HostFuncCount {
		hostRow(&b, abi.HostFuncs[fn].Name, r.host[fn])
	}
	b.WriteString("\nBytes are those of keys, values, topics, messages and results; what does not fit into\nthe guest's buffer is charged too.\n\n## WASI functions (wide profile)\n\n| function | units | for each byte |\n| --- | ---: | ---: |\n")
	for _, f := range wide.wasi {
		hostRow(&b, f.name, f.cost)
	}
	b.WriteString(gasVersions)
	for version := uint64(1); version < Protocol; version++ {
		versionRows(&b, version)
	}
	return b.Bytes()
}

const gasVersions = `
## Earlier versions

A chain runs by the version that its parameters name, which ` + "`postern status`" + ` shows. The
validators may raise it by one, and the next block runs by the new prices: contracts
that were there before as well as those that come.

| version | lean | wide | was then the price of |
| ---: | ---: | ---: | --- |
`

// versionRows shows where a version's prices differ from the newest.
func versionRows(b *bytes.Buffer, version uint64) {
	lean, wide := prices(protocols[version][abi.ProfileLean]), prices(protocols[version][abi.ProfileWide])
	leanNow, wideNow := prices(leanRules), prices(wideRules)
	for i := range lean {
		if lean[i] != leanNow[i] || wide[i] != wideNow[i] {
			fmt.Fprintf(b, "| %d | %s | %s | %s |\n", version, lean[i].units, wide[i].units, lean[i].name)
		}
	}
}

// price is a price with its name.
type price struct{ name, units string }

// prices lists all of a version, in an order that is the same for all.
func prices(r *rules) (list []price) {
	add := func(name string, eighthsOf int64) { list = append(list, price{name, eighths(eighthsOf)}) }
	for c := module.ClassNone + 1; c < module.ClassCount; c++ {
		add(strings.Join(classOps(c), " "), int64(r.costs.Classes[c]))
	}
	add("each stretch of code that costs anything", int64(r.costs.Charge))
	add("each round of a loop", int64(r.costs.Loop))
	add("entering and leaving a function", int64(r.costs.Entry))
	add("each local that is not a parameter", int64(r.costs.Local))
	add("`memory.grow`", 8*r.costs.Grow)
	add("each page of `memory.grow`", 8*r.costs.GrowPage)
	add("`memory.copy`, `memory.fill`", 8*r.costs.Bulk)
	add("a call", 8*r.callBase)
	add("each page that a module begins with", 8*r.callPage)
	add("each byte of input and output", r.callByte)
	add("an initialisation, at most", 8*r.start)
	for fn := range abi.HostFuncCount {
		add("`"+abi.HostFuncs[fn].Name+"`", 8*r.host[fn].Base)
		add("`"+abi.HostFuncs[fn].Name+"`, each byte", r.host[fn].Byte)
	}
	for _, f := range r.wasi {
		add("`"+f.name+"`", 8*f.cost.Base)
		add("`"+f.name+"`, each byte", f.cost.Byte)
	}
	return list
}

func hostRow(b *bytes.Buffer, name string, c hostCost) {
	fmt.Fprintf(b, "| `%s` | %d | %s |\n", name, c.Base, eighths(c.Byte))
}

// The page for developers says what the code does.
func TestGasPage(t *testing.T) {
	made := gasDoc()
	if *update {
		if err := os.WriteFile(gasPage, made, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if stored, err := os.ReadFile(gasPage); err != nil || !bytes.Equal(stored, made) {
		t.Errorf("%s is not what this code makes (%v); run this test with -update", gasPage, err)
	}
}
