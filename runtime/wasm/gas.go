package wasm

import (
	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/wasm/internal/module"
	"github.com/seed79541315/postern/runtime/wasm/internal/rewrite"
)

// The gas table of protocol version 1. A unit is about a nanosecond of
// compiled code on the machine that DESIGN.md names. A change of any number
// here is a change of the protocol version.

// GasMax is the highest gas of a call: it leaves room in 64 bits for every
// charge that can be made before gas is tested.
const GasMax = rewrite.MaxGas

// Prices of a call, in units.
const (
	GasCallBase = 1500 // an instance, its globals, alloc and entry
	GasCallPage = 1500 // each page of initial memory set back
	GasStart    = 50_000_000
)

// gasCosts prices instructions.
var gasCosts = rewrite.Costs{
	Classes: [module.ClassCount]uint16{
		module.ClassFree:     0,
		module.ClassLocal:    1,
		module.ClassSimple:   2,
		module.ClassMul:      4,
		module.ClassDivide:   40,
		module.ClassLoad:     4,
		module.ClassStore:    4,
		module.ClassGlobal:   4,
		module.ClassBranch:   4,
		module.ClassTable:    16,
		module.ClassCall:     16,
		module.ClassIndirect: 32,
		module.ClassTrap:     8,
		module.ClassBulk:     16,
		module.ClassFloat:    8,
		module.ClassConvert:  24,
	},
	Entry:      16,
	Local:      1,
	Grow:       1000,
	GrowPage:   20_000,
	Bulk:       10,
	BulkShift:  3,
	FrameSlots: 64,
}

// hostCost prices a host function: Base units, and Byte eighths of a unit
// for each byte that goes in or out.
type hostCost struct{ Base, Byte int64 }

// gasHost prices the host functions, with what the ledger does for them.
var gasHost = [abi.HostFuncCount]hostCost{
	abi.HostStateGet:        {1500, 4},
	abi.HostStateSet:        {10_000, 160},
	abi.HostStateDelete:     {10_000, 160},
	abi.HostStateScan:       {10_000, 8},
	abi.HostScanNext:        {2000, 4},
	abi.HostLocalGet:        {1000, 4},
	abi.HostLocalSet:        {5000, 16},
	abi.HostEmit:            {1000, 80},
	abi.HostCall:            {5000, 4},
	abi.HostQuery:           {5000, 4},
	abi.HostDeviceGet:       {1500, 4},
	abi.HostDeviceSetStatus: {20_000, 80},
	abi.HostSchedule:        {20_000, 160},
	abi.HostNow:             {100, 0},
	abi.HostSHA256:          {300, 24},
	abi.HostVerify:          {120_000, 24},
	abi.HostLog:             {500, 8},
	abi.HostAbort:           {100, 4},
}
