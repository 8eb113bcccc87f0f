package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/schema"
	"github.com/seed79541315/postern/runtime/wasm"
)

// language is one in which contracts are written.
type language struct {
	name    string
	marker  string // the file that tells a project of this language
	profile abi.Profile
	label   *regexp.Regexp // finds the project's name in the marker file
	build   func(ctx context.Context, p *project) error
}

var languages = []language{
	{"rust", "Cargo.toml", abi.ProfileLean, regexp.MustCompile(`(?m)^name\s*=\s*"([^"]+)"`), buildRust},
	{"go", "go.mod", abi.ProfileWide, regexp.MustCompile(`(?m)^module\s+(?:\S*/)?([^\s/]+)`), buildGo},
}

// project is a folder with a contract's sources.
type project struct {
	dir  string
	name string
	lang *language
}

// findProject finds the project in a folder.
func findProject(dir string) (*project, error) {
	switch info, err := os.Stat(dir); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, usagef("there is no folder %s; make a project with: postern contract new --lang rust|go NAME", dir)
	case err != nil:
		return nil, err
	case !info.IsDir():
		return nil, usagef("%s is no folder; name the one with the project's Cargo.toml or go.mod", dir)
	}
	for i := range languages {
		l := &languages[i]
		text, err := os.ReadFile(filepath.Join(dir, l.marker))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		m := l.label.FindSubmatch(text)
		if m == nil {
			return nil, fmt.Errorf("%s names no project", filepath.Join(dir, l.marker))
		}
		if name := string(m[1]); name != filepath.Base(name) || name == ".." || strings.HasPrefix(name, "-") {
			return nil, fmt.Errorf("%s names the project %q, which can be no file's name", filepath.Join(dir, l.marker), name)
		}
		return &project{dir: dir, name: string(m[1]), lang: l}, nil
	}
	return nil, usagef("%s holds no Cargo.toml and no go.mod; make a project with: postern contract new --lang rust|go NAME", dir)
}

// wasm is the built module's file.
func (p *project) wasm() string { return filepath.Join(p.dir, p.name+".wasm") }

// subject is a module that a command works on: a file, a project that was
// built, or a standard contract.
type subject struct {
	name    string
	code    []byte
	schema  []byte // the schema.json beside it, nil where there is none
	dir     string // where its test scripts' files lie
	profile abi.Profile
	scripts []string
}

// subjectOf takes the command's argument: a folder (the present one by
// default), which is built, or a module.
func subjectOf(c *cli.Context, out output) (*subject, error) {
	arg := c.Args().First()
	if arg == "" {
		arg = "."
	}
	info, err := os.Stat(arg)
	if err != nil || !info.IsDir() {
		code, err := moduleBytes(arg)
		if err != nil {
			return nil, err
		}
		name := strings.TrimSuffix(filepath.Base(arg), ".wasm")
		return newSubject(name, filepath.Dir(arg), code)
	}
	p, err := findProject(arg)
	if err != nil {
		return nil, err
	}
	if err := p.build(c.Context, out); err != nil {
		return nil, err
	}
	code, err := os.ReadFile(p.wasm())
	if err != nil {
		return nil, err
	}
	return newSubject(p.name, p.dir, code)
}

// newSubject finds the profile that a module needs and the scripts beside it.
func newSubject(name, dir string, code []byte) (*subject, error) {
	if !abi.ValidName(name) {
		name = "contract"
	}
	s := &subject{name: name, code: code, dir: dir}
	var err error
	if s.profile, _, err = admission(code); err != nil {
		return nil, err
	}
	if s.schema, err = schemaBeside(dir); err != nil {
		return nil, err
	}
	s.scripts, err = filepath.Glob(filepath.Join(dir, "tests", "*.steps"))
	return s, err
}

// schemaBeside reads the schema in a module's folder, which need not have one.
func schemaBeside(dir string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(dir, "schema.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		_, err = schema.Parse(text)
	}
	return text, err
}

// admission finds the smallest profile that admits a module. Where none does,
// the error is that of the profile that the module was made for.
func admission(code []byte) (abi.Profile, wasm.Info, error) {
	lean, leanErr := wasm.Check(code, abi.ProfileLean)
	if leanErr == nil {
		return abi.ProfileLean, lean, nil
	}
	wide, wideErr := wasm.Check(code, abi.ProfileWide)
	if wideErr == nil {
		return abi.ProfileWide, wide, nil
	}
	if madeForWide(code) {
		return abi.ProfileWide, wide, wideErr
	}
	return abi.ProfileLean, lean, leanErr
}

// madeForWide says whether a module asks for what only the wide profile has.
func madeForWide(code []byte) bool { return bytes.Contains(code, []byte("wasi_snapshot_preview1")) }

func profileName(p abi.Profile) string {
	if p == abi.ProfileWide {
		return "wide"
	}
	return "lean"
}

func contractBuildCommand() *cli.Command {
	return &cli.Command{
		Name: "build", Usage: "build a contract's module and check it", ArgsUsage: "[DIR]",
		Description: `DIR (the present directory by default) holds a Cargo.toml or a go.mod. The
module is NAME.wasm beside it. What is run:

   rust  cargo build --release --offline --target wasm32-unknown-unknown
   go    GOOS=wasip1 GOARCH=wasm go build -trimpath -buildvcs=false -ldflags='-w -buildid=' -buildmode=c-shared

Example:

   postern contract build counter`,
		Flags:  []cli.Flag{jsonFlag},
		Action: contractBuild,
	}
}

func contractBuild(c *cli.Context) error {
	dir := c.Args().First()
	if dir == "" {
		dir = "."
	}
	p, err := findProject(dir)
	if err != nil {
		return err
	}
	out := printer(c)
	if err := p.build(c.Context, out); err != nil {
		return err
	}
	return checkModule(out, p.wasm(), "", false)
}

// build builds the project's module with the compiler that its author has.
func (p *project) build(ctx context.Context, out output) error {
	began := time.Now()
	if err := p.lang.build(ctx, p); err != nil {
		return fmt.Errorf("building %s: %w", p.name, err)
	}
	info, err := os.Stat(p.wasm())
	if err != nil {
		return err
	}
	out.progressf("built %s, %d bytes, in %.1f s", p.wasm(), info.Size(), time.Since(began).Seconds())
	return nil
}

// goFlags are the flags of a Go contract's build. Paths, the state of a
// repository and symbol tables stay out; function names stay, so that traps
// can be named.
var goFlags = []string{"build", "-trimpath", "-buildvcs=false", "-ldflags=-w -buildid=", "-buildmode=c-shared"}

func buildGo(ctx context.Context, p *project) error {
	tool, err := exec.LookPath("go")
	if err != nil {
		return errors.New("there is no go on the PATH; install Go 1.26 or newer from https://go.dev/dl")
	}
	args := append(append([]string{}, goFlags...), "-o", filepath.Base(p.wasm()), ".")
	return runTool(ctx, p.dir, append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off", "GOTOOLCHAIN=local"), tool, args...)
}

const wasmTarget = "wasm32-unknown-unknown"

func buildRust(ctx context.Context, p *project) error {
	cargo, env, err := rustToolchain(ctx)
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(p.dir)
	if err != nil {
		return err
	}
	// Panics name source files: without this the project's path gets into the
	// module, and the same sources make another one elsewhere.
	remap := "target." + wasmTarget + ".rustflags=[" + strconv.Quote("--remap-path-prefix="+dir+"=.") + "]"
	if err := runTool(ctx, p.dir, env, cargo, "build", "--release", "--offline", "--quiet", "--target", wasmTarget, "--config", remap); err != nil {
		return err
	}
	built := filepath.Join(p.dir, "target", wasmTarget, "release", strings.ReplaceAll(p.name, "-", "_")+".wasm")
	code, err := os.ReadFile(built)
	if err != nil {
		return err
	}
	return os.WriteFile(p.wasm(), code, 0o644)
}

// rustToolchain finds a cargo whose compiler has the library for Wasm: that on
// the PATH, else the distribution's.
func rustToolchain(ctx context.Context) (cargo string, env []string, err error) {
	// RUSTFLAGS would replace the flags of the project's .cargo/config.toml.
	env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "RUSTFLAGS=") })
	if tool, err := exec.LookPath("cargo"); err == nil && hasWasmTarget(ctx, "rustc") {
		return tool, env, nil
	}
	const distribution = "/usr/bin/rustc"
	if _, err := os.Stat("/usr/bin/cargo"); err == nil && hasWasmTarget(ctx, distribution) {
		return "/usr/bin/cargo", append(env, "RUSTC="+distribution, "PATH=/usr/bin:/bin"), nil
	}
	return "", nil, errors.New("no Rust compiler with the target " + wasmTarget + ` was found; install one with
  rustup target add ` + wasmTarget + `
or, on Debian and Ubuntu,
  apt-get install --no-install-recommends rustc cargo libstd-rust-dev-wasm32 lld`)
}

func hasWasmTarget(ctx context.Context, rustc string) bool {
	root, err := exec.CommandContext(ctx, rustc, "--print", "sysroot").Output()
	if err != nil {
		return false
	}
	_, err = os.Stat(filepath.Join(strings.TrimSpace(string(root)), "lib", "rustlib", wasmTarget, "lib"))
	return err == nil
}

// runTool runs a tool. What it writes is part of the error if it fails, and
// goes to standard error if it does not: warnings.
func runTool(ctx context.Context, dir string, env []string, tool string, args ...string) error {
	cmd := exec.CommandContext(ctx, tool, args...)
	cmd.Dir, cmd.Env = dir, env
	text, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w\n%s", filepath.Base(tool), strings.Join(args, " "), err, bytes.TrimSpace(text))
	}
	_, err = os.Stderr.Write(text)
	return err
}
