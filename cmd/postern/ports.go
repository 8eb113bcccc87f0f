package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/net/gateway"
	"github.com/seed79541315/postern/net/web"
)

// openPorts opens the ports for devices and enforcement points.
func (n *node) openPorts(cfg config) error {
	conn, err := cfg.listen(cfg.Quic)
	if err != nil {
		return portError("quic", cfg.Quic, err)
	}
	n.quicAddr = conn.LocalAddr().String()
	reset, err := resetKey(n.home.path("reset.key"))
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	anchors, err := n.home.anchors(cfg.Anchors)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	n.searches = newSearchSeal()
	n.gateway, err = gateway.New(gateway.Config{
		Conn: conn, Key: n.key.Private(), Account: n.account, ResetKey: reset, Node: service{n}, Searcher: service{n}, RequestRate: cfg.RequestRate, Logger: n.log,
		Certificates: certificateModes[cfg.Certificates], Anchors: anchors, Attack: n.behaviour.Attack,
	})
	if err != nil {
		return errors.Join(fmt.Errorf("opening the device port: %w", err), conn.Close())
	}
	n.evidence = newEvidenceTimes()
	n.ledger.OnAccounts(func(ids []abi.Hash) { n.gateway.Recheck(ids...) })
	if cfg.Web == "off" {
		return nil
	}
	return n.openWeb(cfg)
}

func (n *node) openWeb(cfg config) error {
	listener, err := net.Listen("tcp", cfg.Web)
	if err != nil {
		return portError("web", cfg.Web, err)
	}
	n.webAddr = listener.Addr().String()
	cert, err := n.key.Certificate()
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	registry := prometheus.NewRegistry()
	var gatherer prometheus.Gatherer
	if cfg.Metric != "off" {
		gatherer = registry
	}
	n.web, err = web.New(web.Config{
		Listener: listener, Certificate: cert, Node: service{n}, Search: service{n}, Events: service{n}, Metrics: gatherer, ServeMetrics: cfg.Metric == "all", Logger: n.log,
	})
	if err != nil {
		return errors.Join(fmt.Errorf("opening HTTPS: %w", err), listener.Close())
	}
	return n.registerMetrics(registry)
}

func portError(name, addr string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s address %s is in use by another program: stop it, or set %q in postern.toml or on the command line", name, addr, name)
	}
	return fmt.Errorf("listening on %s address %q (%s in postern.toml or --%s): %w", name, addr, name, name, err)
}

// resetKey reads the key of QUIC stateless resets, or makes it.
func resetKey(path string) (k [32]byte, err error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		rand.Read(k[:])
		return k, writeNew(path, k[:], 0o600)
	}
	if err == nil && copy(k[:], b) != len(b) || len(b) != len(k) {
		err = fmt.Errorf("%s is damaged; remove it and start again", path)
	}
	return k, err
}

// reachable turns a listening address into one that a client on this host
// can use: an unspecified host becomes loopback.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// service is what the ports see of the node.
type service struct{ n *node }

// Submit hands a transaction to consensus and, if wait, returns when it is in
// a block, or when it is kept for later because there are none.
func (s service) Submit(ctx context.Context, raw []byte, wait bool) (abi.TxResult, error) {
	if !s.n.votes() {
		return abi.TxResult{}, abi.CodeClockUntrusted
	}
	return s.n.submitFromDevice(ctx, raw, wait)
}

func (s service) Status() abi.NodeStatus {
	n, h := s.n, s.n.ledger.Head()
	status := abi.NodeStatus{
		Chain: h.Chain, Name: n.genesis.Name, Height: h.Height, Block: h.Hash(), Time: h.Time, State: h.State,
		Protocol: n.ledger.Params().Protocol, Engine: n.runtime.Engine().String(), Program: version,
		Role: n.currentRole(), Validators: uint64(len(n.ledger.ValidatorSet())), Staleness: n.staleness(), Base: n.ledger.Base(),
	}
	if n.peering != nil {
		status.Peers = uint64(len(n.peering.network.Connected()))
		if height, behind := n.peering.heads.Behind(); behind {
			status.Target = height
		}
	}
	return status
}

func (s service) Prove(stateKey []byte) ([]byte, error) {
	e, err := s.n.ledger.Prove(stateKey)
	if err != nil {
		return nil, err
	}
	return e.Append(nil), nil
}

func (s service) Query(ctx context.Context, contract string, message []byte) ([]byte, uint64, error) {
	return s.n.ledger.Query(ctx, contract, message)
}

func (s service) Scan(prefix, start []byte, limit int) ([][2][]byte, bool, uint64, error) {
	return s.n.ledger.Scan(prefix, start, limit)
}

func (s service) Block(height uint64) (block, certificate, outcomes []byte, err error) {
	return s.n.ledger.Block(height)
}

func (s service) Tx(id abi.Hash) (abi.TxResult, error) { return s.n.lookUp(id) }

func (s service) Steps(after uint64, limit int) ([][]byte, bool, error) {
	return s.n.ledger.Steps(after, limit)
}

func (s service) Token(token abi.Hash) (chain.Token, error) { return s.n.ledger.Token(token) }

// Domains lists the policy domains of the chain.
func (s service) Domains() ([]string, error) {
	const most = 1000 // discovery needs no more; a chain with more domains names them itself
	pairs, _, _, err := s.n.ledger.Scan(chain.DomainKey(""), nil, most)
	names := make([]string, 0, len(pairs))
	for _, p := range pairs {
		names = append(names, string(p[0][1:]))
	}
	return names, err
}

// Ready is nil when the node can decide.
func (s service) Ready() error {
	select {
	case <-s.n.role.ready:
	default:
		return abi.CodeNotReady
	}
	if !s.n.votes() {
		return abi.CodeNotReady
	}
	return nil
}
