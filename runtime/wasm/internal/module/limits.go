package module

// Limits bound what a module may hold. They are consensus rules: nodes with
// different limits disagree on which code is admitted.
type Limits struct {
	Blob           int // bytes of the module
	Types          int
	Imports        int
	Funcs          int // imported and defined
	Params         int // of one type
	Results        int // of one type
	Locals         int // of one function, parameters included
	Body           int // bytes of one function body
	Blocks         int // structured blocks of one function
	Branches       int // targets of br_if and br_table in one function
	Loops          int // of one function: each costs the compiler its live locals
	Calls          int // in one function, indirect ones included
	Accesses       int // loads and stores in one function
	FloatOps       int // float instructions in one function that become calls
	Nesting        int // blocks within one another
	BrTable        int // targets of one br_table, default excluded
	Table          int // elements of the table
	Globals        int
	Exports        int
	Segments       int // data and element segments together
	CustomSections int
	CompileMemory  int64 // bytes that compiling takes at its peak, as package check estimates
	CompileWork    int64 // units of check.Cost
	MemoryPages    int   // initial and grown, 64 KiB each
	ChainPages     int   // of all instances in one chain of nested calls
	Frames         int   // call depth in frames of up to 64 values
	Floats         bool  // whether floating point is admitted
	WASI           bool  // whether functions of wasi_snapshot_preview1 can be imported
}

// Lean is the profile of small guests. Wasm call depth stays far below the
// interpreter's own limit of 2,000 frames.
var Lean = Limits{
	Blob:           256 << 10,
	Types:          256,
	Imports:        32,
	Funcs:          2000,
	Params:         16,
	Results:        1,
	Locals:         100,
	Body:           32 << 10,
	Blocks:         512,
	Branches:       1024,
	Loops:          128,
	Calls:          2048,
	Accesses:       2048,
	Nesting:        128,
	BrTable:        256,
	Table:          1024,
	Globals:        64,
	Exports:        64,
	Segments:       512,
	CustomSections: 16,
	CompileMemory:  15 << 20,
	CompileWork:    256 << 20,
	MemoryPages:    16,
	ChainPages:     32,
	Frames:         250,
}

// Wide is the profile that also admits what Go compiles to: functions that
// nest a block for each place where a goroutine may resume and dispatch by one
// br_table, and as many data segments as there are gaps between zeros. The
// values are about twice what guests with fmt, encoding/json and crypto/sha256
// take.
var Wide = Limits{
	Blob:           4 << 20,
	Types:          256,
	Imports:        64,
	Funcs:          8000,
	Params:         16,
	Results:        1,
	Locals:         100,
	Body:           64 << 10,
	Blocks:         2048,
	Branches:       4096,
	Loops:          128,
	Calls:          2048,
	Accesses:       4096,
	FloatOps:       2048,
	Nesting:        1024,
	BrTable:        2048,
	Table:          16 << 10,
	Globals:        64,
	Exports:        64,
	Segments:       64 << 10,
	CustomSections: 16,
	CompileMemory:  192 << 20,
	CompileWork:    6 << 30,
	MemoryPages:    128,
	ChainPages:     256,
	Frames:         250,
	Floats:         true,
	WASI:           true,
}
