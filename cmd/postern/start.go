package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/net/blocksync"
	"github.com/seed79541315/postern/storage"
)

var portFlags = []cli.Flag{
	&cli.StringFlag{Name: "quic", Usage: "UDP address `ADDR` of the device port; port 0 picks a free one"},
	&cli.StringFlag{Name: "web", Usage: "TCP address `ADDR` of the HTTPS API; \"off\" for none"},
	&cli.StringFlag{Name: "peer", Usage: "UDP address `ADDR` for other nodes; \"off\" for none"},
	&cli.StringSliceFlag{Name: "peers", Usage: "address `HOST:PORT` of another node; may be given several times"},
}

func startCommand() *cli.Command {
	return &cli.Command{
		Name:  "start",
		Usage: "run the node of a home until a signal",
		Description: `Its log goes to standard error. With --json the first line on standard output
says when the node answers, and where.

Example:

   postern start --home /var/lib/postern`,
		Flags: append([]cli.Flag{homeFlag, jsonFlag,
			&cli.BoolFlag{Name: "adopt-ledger", Usage: "go on with the ledger as it is, when its only validator refuses because votes or blocks were lost; see docs/operate.md"},
		}, portFlags...),
		Action: func(c *cli.Context) error {
			h := home(c.String("home"))
			cfg, err := h.config()
			if err != nil {
				return err
			}
			overridePorts(c, &cfg)
			cfg.adoptLedger = c.Bool("adopt-ledger")
			return start(c.Context, h, cfg, printer(c))
		},
	}
}

// start runs the node of a home, and opens it anew when it asks for that.
func start(ctx context.Context, h home, cfg config, out output) error {
	for {
		n, err := openNode(ctx, h, cfg, newLogger(cfg.Log))
		if err != nil {
			return withRemedy(err)
		}
		err = n.run(ctx, func() error { return out.show(n.readyOutput(""), "%s", n.readyText()) })
		if !n.again(err, &cfg) {
			return withRemedy(err)
		}
	}
}

// withRemedy says what to do about a disk that refuses, where the part that
// met it does not know that it was one.
func withRemedy(err error) error {
	if errors.Is(err, storage.ErrFatal) { // it says so
		return err
	}
	for _, refusal := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG, syscall.EIO, syscall.EROFS} {
		if errors.Is(err, refusal) {
			return fmt.Errorf("%w; free the disk's space or replace it, then start the node again", err)
		}
	}
	return err
}

// again says whether a run that ended so is to be followed by another one, and
// makes the configuration ready for it.
func (n *node) again(err error, cfg *config) bool {
	cfg.adoptLedger = false
	if cfg.pruned = errors.Is(err, blocksync.ErrPruned) && !cfg.pruned; cfg.pruned {
		cfg.above = n.ledger.Head().Height
	}
	switch {
	case errors.Is(err, errShutOut):
		cfg.asNext = !cfg.asNext
		return true
	case errors.Is(err, errReopen):
		cfg.asNext = false
		return true
	}
	return cfg.pruned
}

func overridePorts(c *cli.Context, cfg *config) {
	if c.IsSet("quic") {
		cfg.Quic = c.String("quic")
	}
	if c.IsSet("web") {
		cfg.Web = c.String("web")
	}
	if c.IsSet("peer") {
		cfg.Peer = c.String("peer")
	}
	if c.IsSet("peers") {
		cfg.Peers = c.StringSlice("peers")
	}
}

func newLogger(level string) *slog.Logger {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		l = slog.LevelInfo
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: l, ReplaceAttr: hashesInHex}))
}

// hashesInHex writes ids in the log as commands take them.
func hashesInHex(_ []string, a slog.Attr) slog.Attr {
	if h, ok := a.Value.Any().(abi.Hash); ok {
		a.Value = slog.StringValue(hexOf(h).String())
	}
	return a
}

// readyOutput is the first line of start and dev with --json.
type readyOutput struct {
	Ready  bool     `json:"ready"`
	Home   string   `json:"home"`
	Quic   string   `json:"quic"`
	Web    string   `json:"web,omitempty"`
	Peer   string   `json:"peer,omitempty"`
	Role   string   `json:"role"`
	Token  string   `json:"token,omitempty"`
	Chain  hexBytes `json:"chain"`
	Height uint64   `json:"height"`
	State  hexBytes `json:"state_root"`
}

func (n *node) readyOutput(token string) readyOutput {
	h := n.ledger.Head()
	v := readyOutput{Ready: true, Home: string(n.home), Quic: reachable(n.quicAddr), Web: n.webURL(), Role: n.currentRole().String(),
		Token: token, Chain: h.Chain[:], Height: h.Height, State: h.State[:]}
	if n.peerAddr != "" {
		v.Peer = reachable(n.peerAddr)
	}
	return v
}

func (n *node) readyText() string {
	v := n.readyOutput("")
	return fmt.Sprintf("chain   %s %s\nheight  %d\nrole    %s\nquic    %s\nweb     %s\npeer    %s\nhome    %s",
		n.genesis.Name, v.Chain, v.Height, v.Role, v.Quic, cmp.Or(v.Web, "off"), cmp.Or(v.Peer, "off"), v.Home)
}
