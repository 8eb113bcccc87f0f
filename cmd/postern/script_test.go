package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets scripts run this test binary as the program itself.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"postern": main,
		"echo":    runEcho,
		"child":   runFakeChild,
	})
}

// TestScripts runs the command line as a person would: every script in
// testdata/script has a directory of its own and real nodes on loopback.
func TestScripts(t *testing.T) {
	p := scriptParams()
	p.Dir = "testdata/script"
	testscript.Run(t, p)
}

func scriptParams() testscript.Params {
	return testscript.Params{
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("POSTERN_HOME", env.WorkDir+"/home")
			for name, dir := range goFolders() {
				env.Setenv(name, dir)
			}
			// Contracts that do what they are told: small ones, and one in Go.
			root, err := filepath.Abs("../..")
			if err != nil {
				return err
			}
			env.Setenv("ROOT", root)
			env.Setenv("GUESTS", filepath.Join(root, "runtime/ledger/testdata"))
			env.Setenv("GOGUEST", filepath.Join(root, "sdk/contract/testdata/script-v1.wasm"))
			nodes := &scriptNodes{running: map[string]*exec.Cmd{}}
			env.Values["nodes"] = nodes
			env.Defer(nodes.killAll)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"node":      scriptNode,
			"node-stop": scriptStop,
			"receiver":  scriptReceiver,
			"received":  scriptReceived,
			"node-kill": scriptKill,
			"https":     scriptHTTPS,
			"damage":    scriptDamage,
			"field":     scriptField,
			"after":     scriptAfter,
			"unhex":     scriptUnhex,
			"seal":      scriptSeal,
			"forge":     scriptForge,
			"report":    scriptReport,
			"judge":     scriptJudge,
		},
	}
}

// goFolders are the caches of the person who runs the tests: in an empty home, a
// script that builds something would compile Go's library and fetch modules.
var goFolders = sync.OnceValue(func() map[string]string {
	folders := map[string]string{}
	for _, name := range []string{"GOCACHE", "GOMODCACHE"} {
		if dir, err := exec.Command("go", "env", name).Output(); err == nil {
			folders[name] = strings.TrimSpace(string(dir))
		}
	}
	return folders
})

type scriptNodes struct {
	mu       sync.Mutex
	running  map[string]*exec.Cmd // guarded by mu
	receiver *hookReceiver        // of webhooks, where there is one
}

func (s *scriptNodes) killAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, cmd := range s.running {
		cmd.Process.Kill()
		cmd.Wait()
	}
}

// scriptNode: node NAME COMMAND [ARG …] runs "postern COMMAND --json ARG …" in
// the background until it says that it is ready, and sets $QUIC, $WEB, $TOKEN,
// $CHAIN, $STATE and $NODEHOME from that line.
func scriptNode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: node NAME COMMAND [ARG …]")
	}
	self, err := os.Executable()
	ts.Check(err)
	// The test binary acts as the program by its name: testscript put it on PATH.
	path, err := exec.LookPath("postern")
	if err != nil {
		path = self
	}
	cmd := exec.Command(path, append([]string{args[1], "--json"}, args[2:]...)...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = append(os.Environ(), "HOME="+ts.Getenv("HOME"), "POSTERN_HOME="+ts.Getenv("POSTERN_HOME"))
	var log bytes.Buffer
	cmd.Stderr = &log
	stdout, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	nodes := ts.Value("nodes").(*scriptNodes)
	nodes.mu.Lock()
	nodes.running[args[0]] = cmd
	nodes.mu.Unlock()
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		cmd.Wait()
		ts.Fatalf("node %s did not start: %v\n%s", args[0], err, log.String())
	}
	var ready readyOutput
	ts.Check(json.Unmarshal(line, &ready))
	for name, value := range map[string]string{"QUIC": ready.Quic, "WEB": ready.Web, "TOKEN": ready.Token,
		"CHAIN": ready.Chain.String(), "STATE": ready.State.String(), "NODEHOME": ready.Home} {
		ts.Setenv(name, value)
	}
}

// scriptStop: node-stop NAME ends a node with SIGTERM; it must exit with code 0.
func scriptStop(ts *testscript.TestScript, _ bool, args []string) {
	cmd := takeNode(ts, args)
	ts.Check(cmd.Process.Signal(syscall.SIGTERM))
	ts.Check(cmd.Wait())
}

// scriptKill: node-kill NAME ends a node with SIGKILL.
func scriptKill(ts *testscript.TestScript, _ bool, args []string) {
	cmd := takeNode(ts, args)
	ts.Check(cmd.Process.Kill())
	cmd.Wait()
}

func takeNode(ts *testscript.TestScript, args []string) *exec.Cmd {
	nodes := ts.Value("nodes").(*scriptNodes)
	nodes.mu.Lock()
	defer nodes.mu.Unlock()
	if len(args) != 1 || nodes.running[args[0]] == nil {
		ts.Fatalf("no such node: %v", args)
	}
	cmd := nodes.running[args[0]]
	delete(nodes.running, args[0])
	return cmd
}

// scriptHTTPS: https METHOD PATH [BODY] asks $WEB with $TOKEN and prints the
// status code and the body.
func scriptHTTPS(ts *testscript.TestScript, _ bool, args []string) {
	body := ""
	if len(args) > 2 {
		body = args[2]
	}
	req, err := http.NewRequest(args[0], ts.Getenv("WEB")+args[1], strings.NewReader(body))
	ts.Check(err)
	req.Header.Set("Authorization", "Bearer "+ts.Getenv("TOKEN"))
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	cl := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	resp, err := cl.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	ts.Check(err)
	fmt.Fprintf(ts.Stdout(), "%d %s\n", resp.StatusCode, text)
}

// scriptDamage: damage DIR inverts a byte in the middle of every table and log
// of a database.
func scriptDamage(ts *testscript.TestScript, _ bool, args []string) {
	damaged := 0
	for _, pattern := range []string{"*.sst", "*.log", "*/*.sst", "*/*.log"} {
		files, err := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), pattern))
		ts.Check(err)
		for _, path := range files {
			b, err := os.ReadFile(path)
			ts.Check(err)
			if len(b) == 0 {
				continue
			}
			b[len(b)/2] ^= 0xff
			ts.Check(os.WriteFile(path, b, 0o600))
			damaged++
		}
	}
	if damaged == 0 {
		ts.Fatalf("no file to damage in %s", args[0])
	}
}

// scriptField: field NAME KEY sets $NAME to a field of the JSON object that
// the last command printed.
func scriptField(ts *testscript.TestScript, _ bool, args []string) {
	var v map[string]any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &v))
	ts.Setenv(args[0], fmt.Sprint(v[args[1]]))
}

// scriptAfter: after NAME PREFIX sets $NAME to what stands behind the prefix on
// a line that the last command printed.
func scriptAfter(ts *testscript.TestScript, _ bool, args []string) {
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		if rest, ok := strings.CutPrefix(line, args[1]); ok {
			ts.Setenv(args[0], strings.TrimSpace(rest))
			return
		}
	}
	ts.Fatalf("no line begins with %q", args[1])
}

// scriptUnhex: unhex FILE DIGITS writes a file of bytes.
func scriptUnhex(ts *testscript.TestScript, _ bool, args []string) {
	b, err := hex.DecodeString(args[1])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o600))
}
