package main

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/urfave/cli/v2"
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
			n, err := openNode(c.Context, h, cfg, newLogger(cfg.Log))
			if err != nil {
				return err
			}
			out := printer(c)
			return n.run(c.Context, func() error { return out.show(n.readyOutput(""), "%s", n.readyText()) })
		},
	}
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
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: l}))
}

// readyOutput is the first line of start and dev with --json.
type readyOutput struct {
	Ready  bool     `json:"ready"`
	Home   string   `json:"home"`
	Quic   string   `json:"quic"`
	Web    string   `json:"web,omitempty"`
	Token  string   `json:"token,omitempty"`
	Chain  hexBytes `json:"chain"`
	Height uint64   `json:"height"`
	State  hexBytes `json:"state_root"`
}

func (n *node) readyOutput(token string) readyOutput {
	h := n.ledger.Head()
	return readyOutput{true, string(n.home), reachable(n.quicAddr), n.webURL(), token, h.Chain[:], h.Height, h.State[:]}
}

func (n *node) readyText() string {
	v := n.readyOutput("")
	return fmt.Sprintf("chain   %s %s\nheight  %d\nquic    %s\nweb     %s\nhome    %s",
		n.genesis.Name, v.Chain, v.Height, v.Quic, v.Web, v.Home)
}
