package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	texttemplate "text/template"

	"github.com/urfave/cli/v2"
)

func serviceCommand() *cli.Command {
	return &cli.Command{
		Name:  "service",
		Usage: "print the systemd unit of a node",
		Description: `The unit fits the node's configuration: it lets the process write to its home
alone, gives it no capability that its ports do not need, and forbids memory that
is writable and executable where the contract engine is the interpreter. Print it
again after changing postern.toml.

Example:

   postern service --home /var/lib/postern | sudo tee /etc/systemd/system/postern.service
   sudo systemctl daemon-reload
   sudo systemctl enable --now postern`,
		Flags: []cli.Flag{
			homeFlag, jsonFlag,
			&cli.StringFlag{Name: "user", Usage: "the `USER` that the node runs as, who owns the home", Value: "postern"},
			&cli.StringFlag{Name: "program", Usage: "`PATH` of the program (default: this one)"},
		},
		Action: func(c *cli.Context) error {
			dir, err := filepath.Abs(c.String("home"))
			if err != nil {
				return err
			}
			cfg, err := home(dir).config()
			if err != nil {
				return err
			}
			program := c.String("program")
			if program == "" {
				if program, err = os.Executable(); err != nil {
					return err
				}
			}
			u, err := newUnit(dir, c.String("user"), program, &cfg)
			if err != nil {
				return err
			}
			text, err := u.text()
			if err != nil {
				return err
			}
			v := struct {
				Home string `json:"home"`
				Unit string `json:"unit"`
			}{u.Home, text}
			return printer(c).show(v, "%s", strings.TrimSuffix(text, "\n"))
		},
	}
}

// unit is what the template of a systemd unit is filled with.
type unit struct {
	Program, Home, User string
	Memory              int    // MiB
	State               string // the home below /var/lib, or ""
	Protected           bool   // the home lies where ProtectHome hides everything
	LowPorts            bool
	Local               bool // mDNS
	Executable          bool // the engine writes code and runs it
}

// newUnit fits a unit to an absolute home and its checked configuration.
func newUnit(dir, user, program string, cfg *config) (*unit, error) {
	u := &unit{Program: program, Home: dir, User: user, Memory: limitOf(cfg.Memory), Local: cfg.Local}
	for _, word := range []string{u.Program, u.Home, u.User} {
		if strings.ContainsAny(word, " \t\r\n\"'\\%$;") {
			return nil, usagef("%q: a unit takes no path or name with spaces, quotes or any of \\%%$;", word)
		}
	}
	for _, temporary := range []string{"/tmp", "/var/tmp"} {
		if within(dir, temporary) {
			return nil, usagef("%s: a service has no home below %s, which is emptied; choose another, such as /var/lib/postern", dir, temporary)
		}
	}
	if rest, below := strings.CutPrefix(dir, "/var/lib/"); below {
		u.State = rest
	}
	u.Protected = within(dir, "/home") || within(dir, "/root") || within(dir, "/run/user")
	u.LowPorts = isLow(cfg.Quic) || isLow(cfg.Web) || isLow(cfg.Peer)
	u.Executable = cfg.Engine == "compiler" || cfg.Engine == "auto" && hasCompiler(runtime.GOARCH)
	return u, nil
}

func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// limitOf is the memory at which the kernel ends the process, in MiB: half as
// much again as it works to stay within, so that it is a fault that ends it.
func limitOf(memory int) int { return memory + memory/2 }

// hasCompiler says for which processors the contract engine compiles.
func hasCompiler(arch string) bool { return arch == "amd64" || arch == "arm64" }

// isLow says whether listening there takes a capability.
func isLow(addr string) bool {
	_, port, err := net.SplitHostPort(addr)
	n, err2 := strconv.Atoi(port)
	return err == nil && err2 == nil && n > 0 && n < 1024
}

func (u *unit) text() (string, error) {
	var b bytes.Buffer
	err := unitTemplate.Execute(&b, u)
	return b.String(), err
}

var unitTemplate = texttemplate.Must(texttemplate.New("unit").Parse(`# Made by: postern service --home {{.Home}}
[Unit]
Description=Postern node
After=network-online.target time-sync.target
Wants=network-online.target
# A node that has stopped is started again for as long as it takes.
StartLimitIntervalSec=0

[Service]
ExecStart={{.Program}} start --home {{.Home}}
User={{.User}}
Restart=always
RestartSec=5
RestartPreventExitStatus=2
TimeoutStopSec=30
MemoryMax={{.Memory}}M
MemorySwapMax=0
TasksMax=256
UMask=0077

# It writes to its home and nowhere else.
{{if .State}}StateDirectory={{.State}}
StateDirectoryMode=0700
{{else}}ReadWritePaths={{.Home}}
{{end -}}
ProtectSystem=strict
{{if .Protected}}ProtectHome=tmpfs
BindPaths={{.Home}}
BindReadOnlyPaths={{.Program}}
{{else}}ProtectHome=yes
{{end -}}
PrivateTmp=yes
PrivateDevices=yes
ProtectProc=invisible
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectHostname=yes
RestrictNamespaces=yes
RemoveIPC=yes

# {{if .LowPorts}}It listens on ports below 1024.
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
{{else}}It needs no capability.
CapabilityBoundingSet=
PrivateUsers=yes
{{end -}}
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
{{if .Local}}# AF_NETLINK: multicast DNS asks for the network interfaces.
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
{{else}}RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
{{end -}}
SystemCallArchitectures=native
# adjtimex: the node asks the kernel whether the clock is synchronised. It may
# not set it; ProtectClock would forbid asking, too.
SystemCallFilter=@system-service adjtimex clock_adjtime
SystemCallErrorNumber=EPERM
{{if .Executable}}# The engine compiles contracts. With engine = "interpreter" in postern.toml the
# unit forbids memory that is writable and executable.
MemoryDenyWriteExecute=no
{{else}}# Contracts are interpreted: no memory needs to be writable and executable.
MemoryDenyWriteExecute=yes
{{end}}
[Install]
WantedBy=multi-user.target
`))
