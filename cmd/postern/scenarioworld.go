package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/runtime/scratch"
	"github.com/seed79541315/postern/sdk/client"
	"github.com/seed79541315/postern/sdk/key"
)

// nodeWorld plays scripts on nodes, over the same client that people have. It
// implements scratch.World.
type nodeWorld struct {
	stage   *stage
	dir     string // of the script's files and people's keys, in which commands run
	program string // this one
	suffix  string // of names on a chain that others use too
	keys    map[string]*key.Key
	clients map[seat]*client.Client
	made    map[string]bool // contracts of the script, as the chain knows them
	at      int             // the node that people talk to, from 0 on
	height  uint64          // of the newest block that a step came to stand in
}

// seat is a person at a node.
type seat struct {
	who  string
	node int
}

func newNodeWorld(dir string, s *stage) (*nodeWorld, error) {
	w := &nodeWorld{stage: s, dir: dir, keys: map[string]*key.Key{scratch.Operator: s.operator}, clients: map[seat]*client.Client{}, made: map[string]bool{}}
	var err error
	if w.program, err = os.Executable(); err != nil {
		return nil, err
	}
	if !s.own {
		var random [4]byte
		rand.Read(random[:])
		w.suffix = "-" + hex.EncodeToString(random[:])
	}
	return w, os.Mkdir(dir, 0o700)
}

// furnish puts the script's files where its commands run.
func (w *nodeWorld) furnish(files fs.FS, folder string) error {
	beside, err := fs.Sub(files, folder)
	if err != nil {
		return err
	}
	if err = os.CopyFS(filepath.Join(w.dir, folder), beside); errors.Is(err, fs.ErrNotExist) { // there are none
		return nil
	}
	return err
}

func (w *nodeWorld) close() {
	for _, cl := range w.clients {
		cl.Close()
	}
}

func (w *nodeWorld) Chain() abi.Hash { return w.stage.bundle.Chain() }

func (w *nodeWorld) Now() int64 { return time.Now().UnixMilli() }

func (w *nodeWorld) Unique(name string) string { return name + w.suffix }

func (w *nodeWorld) Key(name string) (chain.Signer, error) { return w.key(name) }

func (w *nodeWorld) key(name string) (*key.Key, error) {
	if k := w.keys[name]; k != nil {
		return k, nil
	}
	k, err := key.Generate()
	w.keys[name] = k
	return k, err
}

// File writes a person's key where commands find it.
func (w *nodeWorld) File(name string) (string, error) {
	k, err := w.key(name)
	if err != nil {
		return "", err
	}
	path := filepath.Join(w.dir, name+".key")
	if fileExists(path) {
		return path, nil
	}
	return path, k.Save(path)
}

// client is a person's connection to the node that people talk to.
func (w *nodeWorld) client(ctx context.Context, who string) (*client.Client, error) {
	s := seat{who, w.at}
	if cl := w.clients[s]; cl != nil {
		return cl, nil
	}
	k, err := w.key(who)
	if err != nil {
		return nil, err
	}
	cl, err := dial(ctx, w.stage.bundle, k, w.stage.nodes[w.at].addr)
	if err == nil {
		w.clients[s] = cl
	}
	return cl, err
}

// abreast is client at a node that has every block a step came to stand in:
// the others hear of a block a moment after the one that its sender talks to.
func (w *nodeWorld) abreast(ctx context.Context, who string) (*client.Client, error) {
	cl, err := w.client(ctx, who)
	if err != nil || len(w.stage.nodes) == 1 {
		return cl, err
	}
	for {
		s, err := cl.Status(ctx)
		if err != nil || s.Height >= w.height {
			return cl, err
		}
		if err := pauseFor(ctx, pollEvery); err != nil {
			return nil, err
		}
	}
}

func (w *nodeWorld) Transact(ctx context.Context, who string, op chain.Op, args scratch.Args) (*scratch.Came, error) {
	cl, err := w.client(ctx, who)
	if err != nil {
		return cameBy(err)
	}
	raw, err := cl.Sign(op, args, 0)
	if err != nil {
		return nil, err
	}
	done, err := cl.SubmitWait(ctx, raw)
	if done != nil {
		return w.committed(done.Height, &done.Outcome), nil
	}
	switch {
	case isCode(err, abi.CodeUnknownKey): // of whom the ledger would say the same
		err = abi.CodeUnknownAccount
	case isCode(err, abi.CodeDeviceInactive):
		return w.overtaken(ctx, raw)
	}
	return cameBy(err)
}

func (w *nodeWorld) committed(height uint64, o *chain.Outcome) *scratch.Came {
	w.height = max(w.height, height)
	return &scratch.Came{Code: o.Code, Abort: o.Abort, Result: o.Result, Events: o.Events, Gas: o.Gas, Height: height}
}

// overtakenTimeout is how long is asked for a transaction that may have ended
// its sender's connection.
const overtakenTimeout = time.Second

// overtaken is what came of a transaction whose sender the gateway turned away:
// because of what the transaction did, or before it took it.
func (w *nodeWorld) overtaken(ctx context.Context, raw []byte) (*scratch.Came, error) {
	tx, err := chain.ParseTx(raw)
	if err != nil {
		return nil, err
	}
	cl, err := w.client(ctx, scratch.Operator)
	if err != nil {
		return nil, err
	}
	for began := time.Now(); time.Since(began) < overtakenTimeout; {
		if t, err := cl.Tx(ctx, tx.ID); err == nil && t.Height != 0 {
			o, err := chain.ParseOutcome(t.Outcome)
			return w.committed(t.Height, &o), err
		}
		if err := pauseFor(ctx, pollEvery); err != nil {
			return nil, err
		}
	}
	return &scratch.Came{Code: abi.CodeDeviceInactive}, nil
}

// cameBy tells a refusal, which may be what is expected, from a fault.
func cameBy(err error) (*scratch.Came, error) {
	var code abi.Code
	switch own, ok := client.AbortOf(err); {
	case ok:
		return &scratch.Came{Code: abi.CodeAborted, Abort: own}, nil
	case err == nil || errors.As(err, &code):
		return &scratch.Came{Code: code}, nil
	}
	return nil, err
}

func (w *nodeWorld) Deploy(ctx context.Context, name string, code, init []byte) (*scratch.Came, error) {
	cl, err := w.client(ctx, scratch.Operator)
	if err != nil {
		return nil, err
	}
	w.made[w.Unique(name)] = true
	return w.since(ctx, cl, func() error {
		return deployAndBind(ctx, cl, client.Deployment{Name: w.Unique(name), Code: code, Init: init, Note: "scenario"}, w.Unique(name))
	})
}

func (w *nodeWorld) Upgrade(ctx context.Context, name string, code, migrate []byte) (*scratch.Came, error) {
	cl, err := w.client(ctx, scratch.Operator)
	if err != nil {
		return nil, err
	}
	return w.since(ctx, cl, func() error {
		_, err := cl.Upgrade(ctx, client.Upgrade{Name: w.Unique(name), Code: code, Migrate: migrate, Note: "scenario"})
		return err
	})
}

// since does something and adds what the script's contracts told in the blocks
// that came meanwhile: others may use the chain, too.
func (w *nodeWorld) since(ctx context.Context, cl *client.Client, do func() error) (*scratch.Came, error) {
	before, err := cl.Status(ctx)
	if err != nil {
		return nil, err
	}
	got, err := cameBy(do())
	if err != nil {
		return nil, err
	}
	after, err := cl.Status(ctx)
	if err != nil {
		return nil, err
	}
	for h := before.Height + 1; h <= after.Height; h++ {
		b, err := cl.Block(ctx, h)
		if err != nil {
			return nil, err
		}
		for _, o := range b.Outcomes {
			for _, e := range o.Events {
				if w.made[e.Contract] {
					got.Events = append(got.Events, e)
				}
			}
		}
	}
	w.height = max(w.height, after.Height)
	return got, nil
}

func (w *nodeWorld) At(node int) error {
	if node > len(w.stage.nodes) {
		return fmt.Errorf("there is no node %d: the script asked for %d", node, len(w.stage.nodes))
	}
	w.at = node - 1
	return nil
}

func (w *nodeWorld) Write(file, text string) error {
	path := filepath.Join(w.dir, file)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o600)
}

// Run runs this program as a process of its own, with the node's home.
func (w *nodeWorld) Run(ctx context.Context, args []string) (*scratch.Came, error) {
	cmd := exec.CommandContext(ctx, w.program, args...)
	cmd.Dir = w.dir
	cmd.Env = append(os.Environ(), "POSTERN_HOME="+string(w.stage.nodes[w.at].home))
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err := cmd.Run()
	got := &scratch.Came{Printed: out.String(), Complained: complaint.String()}
	var exit *exec.ExitError
	if errors.As(err, &exit) && ctx.Err() == nil {
		got.Exit = exit.ExitCode()
		err = nil
	}
	if err != nil {
		return nil, err
	}
	return got, w.catchUp(ctx)
}

// catchUp takes note of the blocks that a command may have made.
func (w *nodeWorld) catchUp(ctx context.Context) error {
	cl, err := w.client(ctx, scratch.Operator)
	if err != nil {
		return err
	}
	s, err := cl.Status(ctx)
	w.height = max(w.height, s.Height)
	return err
}
