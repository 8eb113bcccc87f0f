package main

import (
	"bufio"
	"context"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/contracts"
	"github.com/seed79541315/postern/sdk/client"
	"github.com/seed79541315/postern/sdk/key"
)

//go:embed demo
var demoFiles embed.FS

func demoCommand() *cli.Command {
	return &cli.Command{
		Name:  "demo",
		Usage: "the main job in front of you, in under 20 seconds",
		Description: `It starts a node in a temporary home as a process of its own and goes the whole
way: deploy, policy, devices, decisions, a changed policy, a proof, a crash.
Exit code 0 only if every step held. Example:

   postern demo`,
		Flags: []cli.Flag{jsonFlag},
		Action: func(c *cli.Context) error {
			dir, err := os.MkdirTemp("", "postern-demo-")
			if err != nil {
				return err
			}
			defer os.RemoveAll(dir)
			d := &demonstration{out: printer(c), home: home(dir), began: time.Now()}
			err = errors.Join(d.play(c.Context), d.close())
			return d.summary(err)
		},
	}
}

// demonstration is the state that the steps of the demo share.
type demonstration struct {
	out    output
	home   home
	began  time.Time
	steps  []demoStep
	node   *exec.Cmd
	ready  readyOutput
	cl     *client.Client
	owner  *key.Key
	device map[string]*key.Key
}

type demoStep struct {
	Step   string `json:"step"`
	Result string `json:"result"`
	Millis int64  `json:"ms"`
}

func (d *demonstration) play(ctx context.Context) error {
	d.device = map[string]*key.Key{}
	steps := []struct {
		title string
		do    func(context.Context) (string, error)
	}{
		{"start a node with a chain of its own", d.start},
		{"deploy the access contract", d.deploy},
		{"enrol a door lock, a technician's badge reader and a camera", d.enrolAll},
		{"load the policy of a smart building", d.load},
		{"the badge reader asks to open the plant room", d.permit},
		{"the camera asks to open the plant room", d.deny},
		{"the badge reader asks for the vault, which is closed at this hour", d.outside},
		{"a device that nobody enrolled asks", d.stranger},
		{"change the policy by transaction: the plant room is sealed", d.seal},
		{"prove a state entry to a light client that knows only the genesis", d.prove},
		{"kill the node without warning and start it again", d.crash},
	}
	for i, s := range steps {
		began := time.Now()
		result, err := s.do(ctx)
		if err != nil {
			return fmt.Errorf("step %d, %s: %w", i+1, s.title, err)
		}
		d.steps = append(d.steps, demoStep{s.title, result, time.Since(began).Milliseconds()})
		d.out.progressf("%2d  %s\n    → %s", i+1, s.title, result)
	}
	return nil
}

func (d *demonstration) summary(err error) error {
	if err != nil {
		return err
	}
	v := struct {
		OK    bool       `json:"ok"`
		Steps []demoStep `json:"steps"`
	}{true, d.steps}
	return d.out.show(v, "\nEvery step held, in %.1f s. Go on with: postern dev", time.Since(d.began).Seconds())
}

// start runs this very program as a node and waits until it answers.
func (d *demonstration) start(ctx context.Context) (string, error) {
	if _, err := initHome(d.home, newHome{name: "demo", clock: "trusted"}); err != nil {
		return "", err
	}
	var err error
	if d.owner, err = key.Load(d.home.path(operatorKeyFile)); err != nil {
		return "", err
	}
	if err := d.run(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("chain %s answers on %s and %s", short(d.ready.Chain), d.ready.Quic, d.ready.Web), nil
}

func (d *demonstration) run(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	d.node = exec.CommandContext(ctx, self, "start", "--json", "--home", string(d.home), "--quic", "127.0.0.1:0", "--web", "127.0.0.1:0", "--peer", "off")
	log, err := os.OpenFile(d.home.path("node.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own descriptor
	d.node.Stderr = log
	stdout, err := d.node.StdoutPipe()
	if err != nil {
		return err
	}
	if err := d.node.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		text, _ := os.ReadFile(d.home.path("node.log"))
		return fmt.Errorf("the node did not start: %w\n%s", errors.Join(err, d.node.Wait()), text)
	}
	d.ready = readyOutput{}
	if err := json.Unmarshal(line, &d.ready); err != nil {
		return err
	}
	d.cl, err = dialHome(ctx, d.home, d.ready.Quic, operatorKeyFile)
	return err
}

// kill ends the node as a power cut would: no signal handler runs.
func (d *demonstration) kill() error {
	if d.cl != nil {
		d.cl.Close()
		d.cl = nil
	}
	if d.node == nil || d.node.Process == nil {
		return nil
	}
	err := d.node.Process.Kill()
	d.node.Wait() // its error is the kill
	d.node = nil
	return err
}

func (d *demonstration) close() error { return d.kill() }

func (d *demonstration) deploy(ctx context.Context) (string, error) {
	err := deployAndBind(ctx, d.cl, client.Deployment{Name: devContract, Code: contracts.Access().Wasm, Note: "postern demo"}, abi.DefaultDomain)
	if err != nil {
		return "", err
	}
	hash := contracts.Access().Hash
	return fmt.Sprintf("%d bytes of Wasm, code %s, active for domain %q", len(contracts.Access().Wasm), short(hash[:]), abi.DefaultDomain), nil
}

func (d *demonstration) enrolAll(ctx context.Context) (string, error) {
	devices := []struct {
		name, model, serial string
		labels              chain.Labels
	}{
		{"lock", "DoorLock 2", "L-0001", chain.Labels{"role": "lock", "floor": "basement"}},
		{"reader", "BadgeReader 7", "R-0042", chain.Labels{"role": "technician"}},
		{"camera", "Camera X", "C-0007", chain.Labels{"role": "camera"}},
	}
	for _, v := range devices {
		k, err := key.Generate()
		if err != nil {
			return "", err
		}
		d.device[v.name] = k
		e := chain.Enrolment{Manufacturer: "Example Works", Model: v.model, Serial: v.serial}
		if _, err := enrol(ctx, d.cl, d.owner, k, e, v.labels); err != nil {
			return "", fmt.Errorf("%s: %w", v.name, err)
		}
	}
	return "each signed by its owner and by the device itself", nil
}

// policy is the building's document; the vault's hours are such that it is
// closed now, whenever now is.
func (d *demonstration) policy() ([]byte, error) {
	text, err := demoFiles.ReadFile("demo/building.json")
	if err != nil {
		return nil, err
	}
	// The vault opens for one hour that begins twelve hours from now.
	opens := time.Now().UTC().Add(12 * time.Hour).Hour()
	r := strings.NewReplacer("VAULT-FROM", fmt.Sprintf("%02d:00", opens), "VAULT-TO", fmt.Sprintf("%02d:59", opens))
	return []byte(r.Replace(string(text))), nil
}

func (d *demonstration) load(ctx context.Context) (string, error) {
	doc, err := d.policy()
	if err != nil {
		return "", err
	}
	loaded, err := loadPolicy(ctx, d.cl, devContract, doc, nil)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("version %d with %d rules is active, each checked by the contract", loaded.Version, loaded.Rules), nil
}

// ask asks as a device, over a connection of its own.
func (d *demonstration) ask(ctx context.Context, k *key.Key, action, resource string) (abi.Answer, error) {
	bundle, err := readBundle(d.home.path("bundle.json"))
	if err != nil {
		return abi.Answer{}, err
	}
	cl, err := dial(ctx, bundle, k, d.ready.Quic)
	if err != nil {
		return abi.Answer{}, err
	}
	defer cl.Close()
	q := &abi.DecisionRequest{Action: abi.Action{Name: action}, Resource: abi.Entity{Type: "room", ID: resource}}
	return cl.Decide(ctx, abi.DefaultDomain, q)
}

// expect asks and compares the answer with what must come.
func (d *demonstration) expect(ctx context.Context, k *key.Key, resource string, permit bool, reason string) (string, error) {
	a, err := d.ask(ctx, k, "open", resource)
	if err != nil && a.Code == abi.OK {
		return "", err
	}
	text := answerText(&a)
	if a.Permit != permit || reason != "" && a.ReasonID != reason {
		return "", fmt.Errorf("got %s, want permit=%v %s", text, permit, reason)
	}
	return text, nil
}

func (d *demonstration) permit(ctx context.Context) (string, error) {
	return d.expect(ctx, d.device["reader"], "plant", true, "technicians-open-plant")
}

func (d *demonstration) deny(ctx context.Context) (string, error) {
	return d.expect(ctx, d.device["camera"], "plant", false, "cameras-only-watch")
}

func (d *demonstration) outside(ctx context.Context) (string, error) {
	return d.expect(ctx, d.device["reader"], "vault", false, "vault-hours")
}

func (d *demonstration) stranger(ctx context.Context) (string, error) {
	k, err := key.Generate()
	if err != nil {
		return "", err
	}
	a, err := d.ask(ctx, k, "open", "plant")
	if a.Permit || a.Code != abi.CodeUnknownKey {
		return "", fmt.Errorf("got permit=%v code %v (%v), want %v", a.Permit, a.Code, err, abi.CodeUnknownKey)
	}
	return answerText(&a), nil
}

func (d *demonstration) seal(ctx context.Context) (string, error) {
	rule, err := demoFiles.ReadFile("demo/seal.json")
	if err != nil {
		return "", err
	}
	if err := putRule(ctx, d.cl, devContract, rule); err != nil {
		return "", err
	}
	return d.expect(ctx, d.device["reader"], "plant", false, "plant-sealed")
}

func (d *demonstration) prove(ctx context.Context) (string, error) {
	id := chain.AccountID(d.device["lock"].Public())
	e, err := d.cl.Get(ctx, chain.DeviceKey(id))
	if err != nil {
		return "", err
	}
	if !e.Present {
		return "", fmt.Errorf("the lock's record: %w", abi.CodeNotFound)
	}
	device, err := chain.ParseDevice(e.Value)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("serial %s is %s, proved at height %d by %d bytes and %d signature(s)", device.Serial, device.Status, e.Height, len(e.Proof), e.Signers), nil
}

func (d *demonstration) crash(ctx context.Context) (string, error) {
	before, err := d.cl.Status(ctx)
	if err != nil {
		return "", err
	}
	if err := d.kill(); err != nil {
		return "", err
	}
	if err := d.run(ctx); err != nil {
		return "", err
	}
	after, err := d.cl.Status(ctx)
	if err != nil {
		return "", err
	}
	if before.State != after.State || before.Height != after.Height {
		return "", fmt.Errorf("height %d and root %x before, height %d and root %x after", before.Height, before.State, after.Height, after.State)
	}
	if _, err := d.expect(ctx, d.device["reader"], "plant", false, "plant-sealed"); err != nil {
		return "", err
	}
	return fmt.Sprintf("same height %d, same state root %s, same answers", after.Height, short(after.State[:])), nil
}

func short(b []byte) string { return hex.EncodeToString(b[:6]) + "…" }
