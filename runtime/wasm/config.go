package wasm

import (
	"fmt"
	"log/slog"
	"runtime"

	"golang.org/x/sys/cpu"

	"github.com/seed79541315/postern/abi"
)

// Engine is the way in which rewritten modules are executed. Results, traps
// and gas are the same on all; speed is not.
type Engine uint8

// The engines.
const (
	EngineAuto        Engine = iota // the compiler where there is one, else the interpreter
	EngineCompiler                  // amd64 and arm64
	EngineInterpreter               // everywhere, 20 to 50 times slower
)

func (e Engine) String() string {
	return [...]string{"auto", "compiler", "interpreter"}[e]
}

// Protocol is the newest protocol version whose gas table, limits and rewriter
// this package holds. It holds those of all earlier ones as well.
const Protocol = 3

// Default budgets.
const (
	DefaultPoolBytes  = 4 << 20
	DefaultCodeBytes  = 16 << 20
	DefaultCacheBytes = 256 << 20
)

// Config says how a Runtime works.
type Config struct {
	Engine Engine
	// CacheDir keeps native code across restarts; "" keeps none. It is
	// created with mode 0700 and refused when others may enter it: what lies
	// in it is executed.
	CacheDir string
	// CacheBytes bounds the files in CacheDir, 0 means DefaultCacheBytes.
	CacheBytes int
	// Protocol is the newest protocol version whose contracts the Runtime
	// runs, and the one of calls that name none; 0 means the constant.
	Protocol uint64
	// Profile is the chain's profile. Zero means abi.ProfileLean.
	Profile abi.Profile
	// PoolBytes bounds the memory of idle instances, 0 means DefaultPoolBytes.
	PoolBytes int
	// CodeBytes bounds compiled code that no call is using (estimated), 0
	// means DefaultCodeBytes. The code used last stays whatever it takes.
	CodeBytes int
	// Trace, where it is set, sees every call that ran, nested ones before
	// those around them. It must not keep what it is handed.
	Trace  func(*Call, *Result, error)
	Logger *slog.Logger
}

// validate fills defaults.
func (c *Config) validate() error {
	if c.Profile == 0 {
		c.Profile = abi.ProfileLean
	}
	if c.Protocol == 0 {
		c.Protocol = Protocol
	}
	if c.PoolBytes == 0 {
		c.PoolBytes = DefaultPoolBytes
	}
	if c.CodeBytes == 0 {
		c.CodeBytes = DefaultCodeBytes
	}
	if c.CacheBytes == 0 {
		c.CacheBytes = DefaultCacheBytes
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Engine == EngineAuto {
		c.Engine = EngineInterpreter
		if compilerSupported() {
			c.Engine = EngineCompiler
		}
	}
	if c.Engine == EngineCompiler && !compilerSupported() {
		return fmt.Errorf("there is no compiler for %s/%s; use the interpreter", runtime.GOOS, runtime.GOARCH)
	}
	return nil
}

// compilerSupported says whether wazero has a compiler for this processor.
func compilerSupported() bool {
	switch runtime.GOOS {
	case "linux", "darwin", "freebsd", "windows":
	default:
		return false
	}
	switch runtime.GOARCH {
	case "amd64":
		return cpu.X86.HasSSE41
	case "arm64":
		return true
	}
	return false
}
