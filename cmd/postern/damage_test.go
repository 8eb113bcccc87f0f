package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/net/peer"
)

var (
	damageCount = flag.Int("damages", 1, "bytes that are changed in each kind of file of a node's home")
	damageSeed  = flag.Uint64("damage-seed", 1, "what chooses file and byte")
)

// fileKind is a kind of file in a node's home, and what docs/operate.md says
// becomes of it when a byte in it is not as it was written.
type fileKind struct {
	name  string
	glob  string
	says  []string                                      // what a refusal tells at least; nil: the node must not refuse
	mends func(h home, file string, whole []byte) error // does what a refusal advises
}

// fileKinds are all kinds; see TestEveryFileOfAHomeIsDamaged.
var fileKinds = []fileKind{
	{"tables of the database", "data/ledger.db/*.sst", []string{"database is corrupt", "remove the database"}, withoutData},
	{"log of the database", "data/ledger.db/*.log", []string{"database is corrupt", "remove the database"}, withoutData},
	{"manifest of the database", "data/ledger.db/MANIFEST-*", []string{"database is corrupt", "remove the database"}, withoutData},
	{"options of the database", "data/ledger.db/OPTIONS-*", []string{"database is corrupt", "remove the database"}, withoutData},
	// Put back as the advice says; without it the node would follow for longer
	// than the next kinds leave it. TestLostVotes has it moved away.
	{"consensus log", "wal/*.wal", []string{"wal", "put the directory back"}, putBack},
	{"last signed height", "wal/last-signed", []string{"wal/last-signed", "move it away"}, withoutWAL},
	{"outbox", "outbox", []string{"outbox", "move it away"}, withoutFile},
	{"verdicts", "verdicts", []string{"verdicts", "move it away"}, withoutFile},
	{"decisions", "decisions/*.records", []string{"decision log", "move decisions and decisions.key away"}, withoutDecisions},
	{"key of the decisions", "decisions.key", []string{"decision log", "decisions.key"}, putBack},
	{"genesis", "genesis.cbor", []string{"genesis.cbor", "put it back"}, putBack},
	{"node's key", nodeKeyFile, []string{nodeKeyFile, "put it back"}, putBack},
	{"configuration", "postern.toml", []string{"postern.toml"}, putBack},
	{"operator's key", operatorKeyFile, nil, nil},
	{"enforcement point's key", enforcementKeyFile, nil, nil},
	{"reset key", "reset.key", nil, nil},
	{"trust bundle", "bundle.json", nil, nil},
	{"peers", "peers.cbor", nil, nil},
	{"snapshots", "snapshots/*/*/*", nil, nil},
	{"compiled contracts", "cache/*/*", nil, nil},
	{"run file", "run.json", nil, nil},
	{"lock", "lock", nil, nil},
}

func withoutData(h home, _ string, _ []byte) error { return os.RemoveAll(h.path("data")) }

func withoutWAL(h home, _ string, _ []byte) error {
	return errors.Join(os.RemoveAll(h.path("wal.aside")), os.Rename(h.path("wal"), h.path("wal.aside")))
}

func withoutFile(_ home, file string, _ []byte) error {
	err := os.Remove(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func withoutDecisions(h home, _ string, _ []byte) error {
	return errors.Join(os.RemoveAll(h.path(decisionsDir)), os.Remove(h.path(decisionsKey)))
}

func putBack(_ home, file string, whole []byte) error { return os.WriteFile(file, whole, 0o600) }

// TestEveryFileOfAHomeIsDamaged changes a byte in every kind of file of a
// validator that was killed. Started again it has to tell nothing but what the
// others tell, or refuse with a message that names the file; after what the
// message advises it must be back among the others.
func TestEveryFileOfAHomeIsDamaged(t *testing.T) {
	dir := t.ArtifactDir()
	newFleetGenesis(t, dir, 0, func(p *chain.Params) { p.SnapshotBlocks = 20 })
	d := &damage{fleet: startFleet(t, dir), rng: rand.New(rand.NewPCG(*damageSeed, 0)), victim: 1}
	d.home = home(d.nodes[d.victim].Home)
	d.writeMany(0, 50)
	d.refuse()
	for range *damageCount {
		var harmless []fileKind
		for _, kind := range fileKinds {
			if kind.says == nil {
				harmless = append(harmless, kind)
			} else {
				d.damage(kind)
			}
		}
		d.damage(harmless...) // at once: a start takes a second
	}
}

type damage struct {
	*fleet
	rng    *rand.Rand
	victim int
	home   home
}

// refuse has the victim know of a node that misbehaved: peers.cbor.
func (d *damage) refuse() {
	d.t.Helper()
	d.stop(d.victim) // an orderly end writes files that a kill does not
	conn, err := listenUDP("127.0.0.1:0")
	if err != nil {
		d.t.Fatal(err)
	}
	keys, err := makeKeys(d.home)
	if err != nil {
		d.t.Fatal(err)
	}
	network, err := peer.New(peer.Config{
		Conn: conn, Key: keys.node.Private(), Class: func(peer.Key) peer.Class { return peer.Stranger },
		Handler: unopened{}, StateFile: d.home.path("peers.cbor"), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		d.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(d.t.Context())
	done := make(chan error)
	go func() { done <- network.Run(ctx) }()
	for !fileExists(d.home.path("peers.cbor")) {
		network.Misbehaved(peer.Key{1}, errors.New("so the test says"))
		runtime.Gosched()
	}
	cancel()
	if err := <-done; err != nil {
		d.t.Fatal(err)
	}
	d.order("heal")
}

// damage damages one file of a kind, or one of each of several that do no harm.
func (d *damage) damage(kinds ...fileKind) {
	d.t.Helper()
	name := memberName(d.victim)
	d.writeMany(0, 2) // so that there is something to fetch, and a log that is not empty
	d.order("kill", name)
	var what, file string
	var whole []byte
	for _, kind := range kinds {
		file, whole = d.choose(kind)
		what += d.flip(kind, file, whole)
	}
	said := d.judge(what, name)
	if said == "" {
		d.t.Logf("%sworks", what)
		return
	}
	kind := kinds[0]
	d.t.Logf("%s%s", what, said)
	if kind.says == nil {
		d.t.Fatalf("%sit ought to work", what)
	}
	for _, part := range kind.says {
		if !strings.Contains(said, part) {
			d.t.Errorf("%sthe message lacks %q", what, part)
		}
	}
	if err := kind.mends(d.home, file, whole); err != nil {
		d.t.Fatal(err)
	}
	if said := d.judge(what+"mended: ", name); said != "" {
		d.t.Fatalf("%safter what was advised: %s", what, said)
	}
}

// flip changes a bit of a file and tells where.
func (d *damage) flip(kind fileKind, file string, whole []byte) (what string) {
	d.t.Helper()
	at := d.rng.IntN(max(len(whole), 1))
	broken := append([]byte{}, whole...)
	if len(whole) == 0 {
		broken = []byte{'x'}
	} else {
		broken[at] ^= 1 << d.rng.IntN(8)
	}
	if err := os.WriteFile(file, broken, 0o600); err != nil {
		d.t.Fatal(err)
	}
	return fmt.Sprintf("%s: %s, byte %d of %d: ", kind.name, strings.TrimPrefix(file, string(d.home)+"/"), at, len(whole))
}

func (d *damage) choose(kind fileKind) (file string, whole []byte) {
	d.t.Helper()
	files, err := filepath.Glob(d.home.path(kind.glob))
	if err != nil || len(files) == 0 {
		d.t.Fatalf("%s: there is none (%v)", kind.name, err)
	}
	file = files[d.rng.IntN(len(files))]
	if whole, err = os.ReadFile(file); err != nil {
		d.t.Fatal(err)
	}
	return file, whole
}

// judge starts the victim and compares all that it tells with what another
// node does. What it says when it cannot start or read is the answer.
func (d *damage) judge(what, name string) (said string) {
	d.t.Helper()
	d.writeMany(0, 1)
	height := d.status(0).Height
	if err := d.try("heal", name); err != nil {
		return err.Error()
	}
	want, err := d.tell(0, height)
	if err != nil {
		d.t.Fatal(err)
	}
	got, err := d.tell(d.victim, height)
	if err != nil {
		said = err.Error() + "; " + lastLines(d.home.path(nodeLog), 3)
		if err := d.try("kill", name); err != nil {
			d.t.Log(err) // it has ended by itself
		}
		return said
	}
	if err := want.differs(got); err != nil {
		d.t.Errorf("%sit serves what is wrong: %v", what, err)
	}
	return ""
}
