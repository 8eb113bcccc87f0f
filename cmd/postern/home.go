package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"

	"github.com/BurntSushi/toml"
	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/key"
	"github.com/seed79541315/postern/storage"
)

// home is a node's directory:
//
//	postern.toml           configuration
//	genesis.cbor           what the chain began with; its hash is the chain id
//	bundle.json            the trust bundle that devices and tools are given
//	node.key               the node's key: it votes, and is the TLS key
//	node.key.next          the one that a proposal gives it; .former: the one before
//	operator.key           the operator's account
//	enforcement-point.key  the account behind the HTTPS tokens
//	reset.key              makes QUIC stateless resets that survive a restart
//	data/ wal/ cache/      database, consensus log, compiled contracts
//	snapshots/             states that joining nodes are given
//	peers.cbor             addresses of other nodes, and which of them misbehaved
//	outbox                 the node's own transactions that no block has yet
//	spool/                 what devices handed in while the node was cut off
//	decisions/             what this gateway decided, under the key in decisions.key
//	webhooks/              how far each webhook is, and its dead letters
//	hook.told              devices of which the hook was told that they may not work
//	restored               there until a restored validator may vote again
//	run.json               addresses and pid while the node runs
//	lock                   held while the node runs
type home string

func (h home) path(name string) string { return filepath.Join(string(h), name) }

var homeFlag = &cli.StringFlag{Name: "home", Usage: "directory `DIR` of the node", EnvVars: []string{"POSTERN_HOME"}, Value: defaultHome()}

func defaultHome() string {
	dir, err := os.UserHomeDir()
	if err != nil {
		return ".postern"
	}
	return filepath.Join(dir, ".postern")
}

// config is postern.toml. Zero values mean the defaults that are written into
// a new file as comments.
type config struct {
	adoptLedger bool                            // for this start only, so it is no setting
	pruned      bool                            // likewise: no peer keeps the blocks that follow this node's
	asNext      bool                            // likewise: the node shows its peers its next key
	above       uint64                          // likewise: the height at which that was found
	store       storage.Config                  // tests inject a disk
	listen      listenFunc                      // tests inject a network; nil is the host's
	clock       func() (ms int64, trusted bool) // tests inject a clock; nil is as Clock says

	Quic        string   `toml:"quic"`         // UDP address of the device port
	Peer        string   `toml:"peer"`         // UDP address for other nodes; "off" for none
	Peers       []string `toml:"peers"`        // addresses of other nodes
	Advertise   string   `toml:"advertise"`    // address at which others reach this node
	Learn       bool     `toml:"learn"`        // learn addresses of nodes from other nodes
	Local       bool     `toml:"local"`        // find nodes on the local network by mDNS
	Join        string   `toml:"join"`         // auto, blocks or snapshot: how a node far behind catches up
	KeepBlocks  uint64   `toml:"keep_blocks"`  // blocks kept behind the newest snapshot; 0: all
	Web         string   `toml:"web"`          // TCP address of HTTPS; "off" for none
	Engine      string   `toml:"engine"`       // auto, compiler or interpreter
	Clock       string   `toml:"clock"`        // auto: ask the kernel; trusted: the operator vouches
	Log         string   `toml:"log"`          // debug, info, warn or error
	Decisions   int      `toml:"decisions"`    // MiB of decisions that are kept
	Anchor      int      `toml:"anchor"`       // seconds between anchors of the decision log
	Memory      int      `toml:"memory"`       // MiB that the process should stay within
	RequestRate int      `toml:"request_rate"` // requests a device may make a second; negative: unlimited
	TxRate      int      `toml:"tx_rate"`      // transactions a second of one payer
	TxBurst     int      `toml:"tx_burst"`     // transactions of one payer on their way
	Metric      string   `toml:"metrics"`      // local: to loopback only; all; off

	Certificates string            `toml:"device_certificates"` // off, accept or require
	Anchors      map[string]string `toml:"device_anchors"`      // PEM files of authorities, by manufacturer

	Hook hookConfig `toml:"hook"` // a command to run when a device's status changes

	Webhooks []webhookConfig `toml:"webhook"` // where events are pushed to
}

const configText = `# Configuration of a Postern node. Every line shows its default.

%squic    = %-16q # UDP address of the device port
#web     = "0.0.0.0:7443"   # TCP address of the HTTPS API; "off" for none
%speer    = %-16q # UDP address for other nodes; "off" for none
%speers   = %s               # addresses of other nodes: ["192.0.2.1:7423", "gate.example:7423"]
#advertise = ""             # address at which other nodes reach this one, where they do not see it themselves
#learn   = true             # learn the addresses of further nodes from other nodes
#local   = false            # find nodes on the local network by multicast DNS
#join    = "auto"           # how a node far behind catches up: blocks, snapshot, or auto
#keep_blocks = 0            # how many blocks stay below the newest snapshot; 0 keeps all
#decisions = 256            # MiB of decisions to keep; older ones go once they are anchored
#anchor  = 60               # seconds at least between heads of the decision log on the ledger, unless a receipt is asked for
#engine  = "auto"           # Wasm engine: auto, compiler or interpreter
%sclock   = %q           # auto: the kernel must say that the clock is synchronised; trusted: you say so
#log     = "info"           # debug, info, warn or error
%smemory  = %-16d # MiB that the node works to stay within
#request_rate = 1000       # requests of one device a second; negative for no limit
#tx_rate = 200             # transactions a second of one account, or of an owner with all devices
#tx_burst = 2000           # how many of these may be on their way at once
#metrics = "local"          # who may read /metrics: local (loopback), all or off
#device_certificates = "off" # X.509 certificates of devices: off, accept, or require
#device_anchors = {}        # PEM files of who vouches for a manufacturer's devices: { "Acme" = "acme.pem" }
#hook = { command = ["/usr/local/sbin/isolate"], timeout = 10 } # program, and seconds for it, when a device's status changes
%s
# Events pushed to another's server, signed; as many tables as there are servers.
#[[webhook]]
#name     = "police"        # 1 to 64 of a-z, 0-9, '-', '.' and '_'
#url      = "https://hooks.example/postern"
#contract = ""              # only of this contract; "" for the ledger's own events; without the line, all
#device   = ""              # only of the device with this id
#topic    = ""              # only with this topic, such as "device.status"
#origin   = ""              # who asks the target for its consent; this host's name
`

// Where a node listens that is not told otherwise.
const (
	peerPort, quicPort = "7423", "7433"
	defaultPeer        = "0.0.0.0:" + peerPort
	defaultQuic        = "0.0.0.0:" + quicPort
)

func (c *config) validate() error {
	defaults := []struct {
		name   string
		value  *string
		def    string
		choice []string
	}{
		{"quic", &c.Quic, defaultQuic, nil},
		{"web", &c.Web, "0.0.0.0:7443", nil},
		{"engine", &c.Engine, "auto", []string{"auto", "compiler", "interpreter"}},
		{"peer", &c.Peer, defaultPeer, nil},
		{"join", &c.Join, "auto", []string{"auto", "blocks", "snapshot"}},
		{"clock", &c.Clock, "auto", []string{"auto", "trusted"}},
		{"log", &c.Log, "info", []string{"debug", "info", "warn", "error"}},
		{"device_certificates", &c.Certificates, "off", []string{"off", "accept", "require"}},
		{"metrics", &c.Metric, "local", []string{"local", "all", "off"}},
	}
	for _, d := range defaults {
		if *d.value == "" {
			*d.value = d.def
		}
		if d.choice != nil && !slices.Contains(d.choice, *d.value) {
			return fmt.Errorf("%s = %q: choose one of %v", d.name, *d.value, d.choice)
		}
	}
	for _, addr := range append([]string{c.Peer}, c.Peers...) {
		if _, _, err := net.SplitHostPort(addr); err != nil && addr != "off" {
			return fmt.Errorf("%q among the addresses of nodes: want host:port", addr)
		}
	}
	if err := c.Hook.validate(); err != nil {
		return err
	}
	if _, _, err := c.targets(); err != nil {
		return err
	}
	if c.TxRate < 0 || c.TxBurst < 0 {
		return fmt.Errorf("tx_rate = %d, tx_burst = %d: want numbers above 0, or 0 for the default", c.TxRate, c.TxBurst)
	}
	if c.Memory == 0 {
		c.Memory = leanMemory
	}
	if c.Decisions < 0 || c.Decisions > maxDecisions {
		return fmt.Errorf("decisions = %d: between 1 and %d MiB, 0 for the default", c.Decisions, maxDecisions)
	}
	if c.Anchor < 0 || c.Anchor > maxAnchor {
		return fmt.Errorf("anchor = %d: between 1 and %d seconds, 0 for the default", c.Anchor, maxAnchor)
	}
	if c.Memory < minMemory {
		return fmt.Errorf("memory = %d: a node needs at least %d MiB", c.Memory, minMemory)
	}
	return nil
}

// maxDecisions is the greatest budget of the decision log, in MiB.
const maxDecisions = 1 << 20

// maxAnchor is how seldom a decision log may be anchored, in seconds: what lies
// behind the last anchor is the gateway's word alone.
const maxAnchor = 24 * 60 * 60

// What a node is set to stay within, in MiB, by the profile of its chain. With
// one Go contract a node took 72 MiB, and 108 while it was deployed.
const (
	leanMemory = 64
	wideMemory = 256
)

// listenFunc opens a UDP port.
type listenFunc func(addr string) (net.PacketConn, error)

func listenUDP(addr string) (net.PacketConn, error) { return net.ListenPacket("udp", addr) }

// minMemory is what an idle node takes, in MiB, and a little to work with.
const minMemory = 48

func (h home) config() (config, error) {
	c := config{Learn: true}
	path := h.path("postern.toml")
	meta, err := toml.DecodeFile(path, &c)
	if errors.Is(err, fs.ErrNotExist) {
		return c, fmt.Errorf("%s is no home of a node; make one with: postern init --home %s", h, h)
	}
	if err != nil {
		return c, fmt.Errorf("reading %s: %w", path, err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return c, fmt.Errorf("%s: no setting is named %q", path, unknown[0].String())
	}
	if err := c.validate(); err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// exists says whether the directory holds a node already.
func (h home) exists() bool {
	_, err := os.Stat(h.path("genesis.cbor"))
	return err == nil
}

// lock makes this process the only one that runs the home, until it ends.
func (h home) lock() (*os.File, error) {
	f, err := lockFile(h.path("lock"))
	if errors.Is(err, errLocked) {
		err = fmt.Errorf("the node of %s is running (its lock is held); stop it first", h)
	}
	return f, err
}

// errLocked says that another process holds a lock.
var errLocked = errors.New("locked by another process")

// lockFile holds a lock until the file is closed or the process ends.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, errLocked
	}
	return f, nil
}

func (h home) genesis() ([]byte, *chain.Genesis, error) {
	raw, err := os.ReadFile(h.path("genesis.cbor"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("%s is no home of a node; make one with: postern init --home %s", h, h)
	}
	if err != nil {
		return nil, nil, err
	}
	g, err := chain.ParseGenesis(raw)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w; %s", h.path("genesis.cbor"), err, genesisRemedy)
	}
	return raw, g, nil
}

// genesisRemedy is for a genesis that is not what it was.
const genesisRemedy = "put it back from a backup or from another node of the chain: they all have the same"

// writeNew writes a file that must not exist yet, durably.
func writeNew(path string, data []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// homeKeys are the keys that init makes.
type homeKeys struct{ node, operator, enforcement *key.Key }

const (
	nodeKeyFile        = "node.key"
	operatorKeyFile    = "operator.key"
	enforcementKeyFile = "enforcement-point.key"
)

// operatorRoles are what the operator of a chain of one needs; others are
// granted by transaction.
const operatorRoles = abi.RoleOperator | abi.RoleDeveloper | abi.RoleOwner | abi.RoleAuditor

func (k *homeKeys) genesis(name string, params chain.Params, now int64) *chain.Genesis {
	return &chain.Genesis{
		Name: name, Time: now, Params: params,
		Validators: chain.ValidatorSet{{ID: 1, Key: k.node.Public()}},
		Accounts: []chain.Grant{
			{Key: k.node.Public(), Roles: abi.RoleValidator | abi.RoleGateway},
			{Key: k.operator.Public(), Roles: operatorRoles},
			{Key: k.enforcement.Public(), Roles: abi.RoleEnforcementPoint},
		},
	}
}

// lockExisting locks a home that must be there.
func (h home) lockExisting() (*os.File, error) {
	if !h.exists() {
		return nil, fmt.Errorf("%s is no home of a node; name one with --home", h)
	}
	return h.lock()
}
