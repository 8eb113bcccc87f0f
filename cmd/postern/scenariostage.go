package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
	"github.com/seed79541315/postern/sdk/key"
)

// stage is where a scenario is played: nodes of its own, or one that runs.
type stage struct {
	nodes    []stageNode
	bundle   *client.Bundle
	operator *key.Key
	own      bool         // nobody else is on the chain
	end      func() error // ends what was started for the scenario
}

// stageNode is a node as people and commands reach it.
type stageNode struct {
	addr string // of its device port
	home home   // that commands are given
}

// stage finds or makes the nodes that the script needs.
func (p *play) stage(ctx context.Context, c *cli.Context, dir string, out output) (*stage, error) {
	// A home that only the environment names is not asked for: nobody's chain
	// gets contracts and devices by mistake.
	named := c.IsSet("home") && c.String("home") != os.Getenv("POSTERN_HOME")
	running := c.IsSet("node") || c.IsSet("bundle") || named
	switch {
	case running && p.script.Nodes > 1:
		return nil, usagef("%s needs a network of %d nodes of its own; leave --node and --home out", p.name, p.script.Nodes)
	case running:
		return attachedStage(c, dir)
	case p.script.Nodes > 1:
		out.progressf("starting a network of %d validators, each a process of its own", p.script.Nodes)
		return networkStage(ctx, dir, p.script.Nodes)
	}
	out.progressf("starting a node of its own")
	return ownStage(ctx, dir)
}

// ownStage runs a node in this process.
func ownStage(ctx context.Context, dir string) (*stage, error) {
	params := chain.DefaultParams()
	params.ActivationDelay = 0 // there is nobody else who would have to be ready
	h := home(filepath.Join(dir, "n1"))
	if _, err := initHome(h, newHome{name: "scenario", clock: "trusted", params: params}); err != nil {
		return nil, err
	}
	cfg, err := h.config()
	if err != nil {
		return nil, err
	}
	cfg.Quic, cfg.Web, cfg.Peer = "127.0.0.1:0", "127.0.0.1:0", "off"
	n, err := openNode(ctx, h, cfg, newLogger("error"))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- n.run(ctx, func() error { close(ready); return nil }) }()
	end := func() error { cancel(); return <-ended }
	select {
	case <-ready:
	case err := <-ended:
		cancel()
		return nil, errors.Join(err, ctx.Err())
	}
	s, err := stageOf(h, end, stageNode{reachable(n.quicAddr), h})
	if err != nil {
		return nil, errors.Join(err, end())
	}
	return s, nil
}

// networkStage runs validators as testnet does.
func networkStage(ctx context.Context, dir string, validators int) (*stage, error) {
	params := chain.DefaultParams()
	params.ActivationDelay = 0
	t := &testnet{dir: dir, out: output{w: io.Discard}, alarm: os.Stderr, nursery: newNursery(), furnished: make(chan struct{})}
	if err := t.makeHomes(ctx, testnetShape{validators: validators, params: params}); err != nil {
		return nil, err
	}
	if err := t.connect(true); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- t.run(ctx) }()
	end := func() error { cancel(); return <-ended }
	select {
	case <-t.furnished:
	case err := <-ended:
		cancel()
		return nil, errors.Join(err, ctx.Err())
	}
	var nodes []stageNode
	for _, m := range t.members {
		nodes = append(nodes, stageNode{t.servesOf(m).Quic, m.home})
	}
	s, err := stageOf(t.members[0].home, end, nodes...)
	if err != nil {
		return nil, errors.Join(err, end())
	}
	return s, nil
}

// stageOf is the stage of nodes that were started for it.
func stageOf(h home, end func() error, nodes ...stageNode) (*stage, error) {
	operator, err := key.Load(h.path(operatorKeyFile))
	if err != nil {
		return nil, err
	}
	bundle, err := readBundle(h.path("bundle.json"))
	if err != nil {
		return nil, err
	}
	return &stage{nodes: nodes, bundle: bundle, operator: operator, own: true, end: end}, nil
}

// attachedStage is a node that runs. Commands of the script are given a home
// that has what they need of it, and nothing else.
func attachedStage(c *cli.Context, dir string) (*stage, error) {
	cl, operator, err := connect(c, operatorKeyFile)
	if err != nil {
		return nil, err
	}
	bundle := cl.Bundle()
	if err := cl.Close(); err != nil {
		return nil, err
	}
	addr, err := nodeAddr(c.String("node"), home(c.String("home")), bundle)
	if err != nil {
		return nil, err
	}
	h := home(filepath.Join(dir, "home"))
	if err := h.makeStub(bundle, operator, addr); err != nil {
		return nil, fmt.Errorf("making the home of the script's commands: %w", err)
	}
	return &stage{nodes: []stageNode{{addr, h}}, bundle: bundle, operator: operator, end: func() error { return nil }}, nil
}

// makeStub makes a home without a node: a key, a trust bundle, an address.
func (h home) makeStub(bundle *client.Bundle, operator *key.Key, addr string) error {
	if err := os.MkdirAll(string(h), 0o700); err != nil {
		return err
	}
	if err := operator.Save(h.path(operatorKeyFile)); err != nil {
		return err
	}
	f, err := os.Create(h.path("bundle.json"))
	if err != nil {
		return err
	}
	if err := errors.Join(bundle.Write(f), f.Close()); err != nil {
		return err
	}
	run, err := json.Marshal(runFile{PID: os.Getpid(), Quic: addr})
	if err != nil {
		return err
	}
	return os.WriteFile(h.path("run.json"), run, 0o600)
}
