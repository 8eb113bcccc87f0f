package wasm

import (
	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm/internal/module"
	"github.com/seed79541315/postern/runtime/wasm/internal/rewrite"
)

// The gas tables. A unit is about half a nanosecond of compiled code on the
// machine that DESIGN.md names. No number here changes while a chain has it: a
// new protocol version gets tables of its own, which say where they differ from
// those before.

// GasMax is the highest gas of a call: it leaves room in 64 bits for every
// charge that can be made before gas is tested.
const GasMax = rewrite.MaxGas

// Prices of a call, in units.
const (
	GasCallBase = 1500 // an instance, its globals, alloc and entry
	GasCallPage = 2000 // each page of initial memory set back
	GasCallByte = 2    // eighths, each byte of input and output
)

// Gas of a start function. Those of Go's standard library use a tenth of it.
const (
	GasStart     = 10_000_000
	GasStartWide = 50_000_000
)

// leanCosts prices instructions under the lean profile of version 1, whose
// memory and code the second cache of a processor holds.
var leanCosts = rewrite.Costs{
	Classes: [module.ClassCount]uint16{
		module.ClassFree:     0,
		module.ClassLocal:    2,
		module.ClassSimple:   3,
		module.ClassAnd:      8,
		module.ClassMul:      4,
		module.ClassDivide:   40,
		module.ClassLoad:     64,
		module.ClassStore:    8,
		module.ClassGlobal:   4,
		module.ClassBranch:   16,
		module.ClassTable:    24,
		module.ClassCall:     48,
		module.ClassIndirect: 64,
		module.ClassTrap:     8,
		module.ClassBulk:     32,
		module.ClassFloat:    64,
		module.ClassRoot:     72,
		module.ClassConvert:  64,
	},
	Charge:     8,
	Loop:       16,
	Entry:      40,
	Local:      2,
	Grow:       200,
	GrowPage:   20_000,
	Bulk:       16,
	BulkShift:  3,
	FrameSlots: 64,
	Brief:      128 * 8,
}

// wideCosts are those under the wide profile. Its memory and code are larger
// than that cache: a load may wait for memory, and a branch or call for the code
// that it leads to.
var wideCosts = func() rewrite.Costs {
	c := leanCosts
	c.Classes[module.ClassLoad] = 640
	c.Classes[module.ClassStore] = 16
	c.Classes[module.ClassBranch] = 120
	c.Classes[module.ClassTable] = 128
	c.Classes[module.ClassCall] = 160
	c.Classes[module.ClassIndirect] = 128
	c.Bulk = 48
	c.Brief = 512 * 8
	return c
}()

// In version 2 a page that memory grows by, and under the wide profile a
// division, cost what they were measured to: in version 1 they were the only
// ones dearer than three times the median (DESIGN.md, "Versions").
const (
	growPage2   = 25_000
	wideDivide2 = 48
)

var leanCosts2 = func() rewrite.Costs {
	c := leanCosts
	c.GrowPage = growPage2
	return c
}()

var wideCosts2 = func() rewrite.Costs {
	c := wideCosts
	c.GrowPage = growPage2
	c.Classes[module.ClassDivide] = wideDivide2
	return c
}()

// hostCost prices a host function: Base units, and Byte eighths of a unit
// for each byte that goes in or out.
type hostCost struct{ Base, Byte int64 }

// gasHost prices the host functions, with what the ledger does for them.
var gasHost = [abi.HostFuncCount]hostCost{
	abi.HostStateGet:        {12_000, 4},
	abi.HostStateSet:        {20_000, 160},
	abi.HostStateDelete:     {20_000, 160},
	abi.HostStateScan:       {10_000, 8},
	abi.HostScanNext:        {12_000, 4},
	abi.HostLocalGet:        {1000, 4},
	abi.HostLocalSet:        {5000, 16},
	abi.HostEmit:            {1000, 80},
	abi.HostCall:            {5000, 4},
	abi.HostQuery:           {5000, 4},
	abi.HostDeviceGet:       {12_000, 4},
	abi.HostDeviceSetStatus: {40_000, 80},
	abi.HostSchedule:        {60_000, 160},
	abi.HostNow:             {100, 0},
	abi.HostSHA256:          {300, 24},
	abi.HostVerify:          {120_000, 24},
	abi.HostLog:             {500, 12},
	abi.HostAbort:           {100, 4},
}
