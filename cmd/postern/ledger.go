package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/schema"
	"github.com/seed79541315/postern/sdk/client"
)

// txOutput is what commands print of a transaction.
type txOutput struct {
	Tx     hexBytes      `json:"tx"`
	Height uint64        `json:"height"`
	Code   string        `json:"code"`
	Abort  uint16        `json:"abort,omitempty"`
	Gas    uint64        `json:"gas"`
	Result hexBytes      `json:"result,omitempty"`
	Events []eventOutput `json:"events,omitempty"`

	// What a contract's schema says of it, where one is known.
	AbortName  string          `json:"abort_name,omitempty"`
	AbortAbout string          `json:"abort_about,omitempty"`
	Value      json.RawMessage `json:"value,omitempty"` // the result
}

type eventOutput struct {
	Contract string   `json:"contract"`
	Topic    string   `json:"topic"`
	Data     hexBytes `json:"data"`

	Value json.RawMessage `json:"value,omitempty"` // the data in the schema's names
}

func txOf(id abi.Hash, height uint64, o *chain.Outcome) txOutput {
	t := txOutput{Tx: hexOf(id), Height: height, Code: o.Code.Name(), Abort: o.Abort, Gas: o.Gas, Result: o.Result}
	for _, e := range o.Events {
		t.Events = append(t.Events, eventOutput{Contract: e.Contract, Topic: string(e.Topic), Data: e.Data})
	}
	return t
}

// transact signs, submits and waits; an outcome other than OK is an error.
func transact(ctx context.Context, cl *client.Client, op chain.Op, args client.Args) (txOutput, error) {
	res, err := cl.Transact(ctx, op, args, 0)
	if err != nil {
		return txOutput{}, err
	}
	return txOf(res.ID, res.Height, &res.Outcome), nil
}

// getProved reads a state entry, its proof checked against the trust bundle.
func getProved(ctx context.Context, cl *client.Client, key []byte, what string) ([]byte, uint64, error) {
	e, err := cl.Get(ctx, key)
	if err != nil {
		return nil, 0, err
	}
	if !e.Present {
		return nil, 0, fmt.Errorf("%s: %w (proved at height %d)", what, abi.CodeNotFound, e.Height)
	}
	return e.Value, e.Height, nil
}

// scanAll hands every entry of the state under a prefix to each (unproven).
func scanAll(ctx context.Context, cl *client.Client, prefix []byte, each func(key, value []byte) error) error {
	for p, err := range cl.All(ctx, prefix) {
		if err == nil {
			err = each(p.Key, p.Value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func txCommand() *cli.Command {
	return &cli.Command{
		Name:  "tx",
		Usage: "transactions",
		Subcommands: []*cli.Command{{
			Name: "show", Usage: "show a transaction and its outcome", ArgsUsage: "ID", Description: example("postern tx show 9b1d…   # as --json of the command tells that made it"), Flags: withConnect(),
			Action: func(c *cli.Context) error {
				id, err := parseHash(c.Args().First(), "transaction id")
				if err != nil {
					return err
				}
				return onNode(c, func(ctx context.Context, cl *client.Client) error { return showTx(ctx, cl, printer(c), id) })
			},
		}},
	}
}

type txShowOutput struct {
	txOutput
	Op     string   `json:"op"`
	Sender hexBytes `json:"sender_key"`
	Bytes  int      `json:"bytes"`

	Contract string          `json:"contract,omitempty"` // that is called
	Message  json.RawMessage `json:"message,omitempty"`  // in the names of its schema, where one is known
}

func showTx(ctx context.Context, cl *client.Client, out output, id abi.Hash) error {
	res, err := cl.Tx(ctx, id)
	if err != nil {
		return err
	}
	tx, err := chain.ParseTx(res.Tx)
	if err != nil {
		return err
	}
	o, err := chain.ParseOutcome(res.Outcome)
	if err != nil {
		return err
	}
	v := txShowOutput{txOutput: txOf(id, res.Height, &o), Op: tx.Op.String(), Sender: tx.Key(), Bytes: len(res.Tx)}
	if tx.Tick != 0 {
		v.Op = "tick"
	}
	nameTx(ctx, cl, &v, tx)
	outcome := o.Code.Error()
	if o.Code == abi.CodeAborted {
		outcome += fmt.Sprintf(": %d", o.Abort)
	}
	if v.AbortName != "" {
		outcome += fmt.Sprintf(" %s: %s", v.AbortName, v.AbortAbout)
	}
	operation := v.Op
	if v.Message != nil {
		operation += fmt.Sprintf(" %s %s", v.Contract, v.Message)
	}
	return out.show(v, "transaction  %s\noperation    %s, %d bytes\nsigned by    %s\nblock        %d\noutcome      %s\ngas          %d%s",
		v.Tx, operation, v.Bytes, v.Sender, v.Height, outcome, v.Gas, effectText(&v.txOutput, "result       ", "event        "))
}

// nameTx gives a call its contract's words, as far as they are known.
func nameTx(ctx context.Context, cl *client.Client, v *txShowOutput, tx *chain.Tx) {
	var contract string
	var message []byte
	if call, err := chain.ParseCall(tx.Args); tx.Op == chain.OpCall && err == nil {
		contract, message = call.Contract, call.Message
	}
	w := &words{cl: cl, known: map[string]*schema.Schema{}}
	w.name(ctx, &v.txOutput, contract, message)
	if v.Contract = contract; contract == "" {
		return
	}
	if o := called(w.of(ctx, contract), message); o != nil {
		if text, err := o.JSON(message); err == nil {
			v.Message = text
		}
	}
}

func blockCommand() *cli.Command {
	return &cli.Command{
		Name:  "block",
		Usage: "blocks",
		Subcommands: []*cli.Command{{
			Name: "show", Usage: "show a block (default: the newest), its certificate checked", ArgsUsage: "[HEIGHT]", Description: example("postern block show\n   postern block show 5"), Flags: withConnect(),
			Action: func(c *cli.Context) error {
				return onNode(c, func(ctx context.Context, cl *client.Client) error {
					height, err := heightArg(ctx, cl, c.Args().First())
					if err != nil {
						return err
					}
					return showBlock(ctx, cl, printer(c), height)
				})
			},
		}},
	}
}

func heightArg(ctx context.Context, cl *client.Client, arg string) (uint64, error) {
	if arg == "" {
		s, err := cl.Status(ctx)
		return s.Height, err
	}
	height, err := strconv.ParseUint(arg, 10, 64)
	if err != nil {
		return 0, usagef("%q is no height", arg)
	}
	return height, nil
}

type blockOutput struct {
	Height   uint64     `json:"height"`
	Hash     hexBytes   `json:"hash"`
	Parent   hexBytes   `json:"parent"`
	Time     time.Time  `json:"time"`
	Protocol uint64     `json:"protocol"`
	State    hexBytes   `json:"state_root"`
	Signers  []uint64   `json:"signers"`
	Txs      []txOutput `json:"outcomes"`
}

func showBlock(ctx context.Context, cl *client.Client, out output, height uint64) error {
	b, err := cl.Block(ctx, height)
	if err != nil {
		return err
	}
	h := b.Block.Header
	hash := h.Hash()
	v := blockOutput{Height: h.Height, Hash: hash[:], Parent: h.Parent[:], Time: time.UnixMilli(h.Time).UTC(), Protocol: h.Protocol, State: h.State[:], Signers: []uint64{}, Txs: []txOutput{}}
	for _, s := range b.Certificate.Signatures {
		v.Signers = append(v.Signers, s.Validator)
	}
	text := ""
	for i := range b.Outcomes {
		o := &b.Outcomes[i]
		v.Txs = append(v.Txs, txOf(o.ID, h.Height, o))
		text += fmt.Sprintf("\n  %x  %s, gas %d", o.ID, o.Code.Name(), o.Gas)
	}
	return out.show(v, "block    %d  %s\nparent   %s\ntime     %s\nstate    %s\nsigners  %v%s",
		v.Height, v.Hash, v.Parent, v.Time.Format(time.RFC3339Nano), v.State, v.Signers, text)
}

func statusCommand() *cli.Command {
	return &cli.Command{
		Name:  "status",
		Usage: "what a node says of itself and of you", Description: example("postern status\n   postern status --node gate.example:7433 --bundle bundle.json --key ann.key"),
		Flags: withConnect(),
		Action: func(c *cli.Context) error {
			return onNode(c, func(ctx context.Context, cl *client.Client) error {
				s, err := cl.Status(ctx)
				if err != nil {
					return err
				}
				return showStatus(printer(c), &s)
			})
		},
	}
}

type statusOutput struct {
	Chain    hexBytes  `json:"chain"`
	Name     string    `json:"name"`
	Height   uint64    `json:"height"`
	Block    hexBytes  `json:"block"`
	Time     time.Time `json:"time"`
	State    hexBytes  `json:"state_root"`
	Protocol uint64    `json:"protocol"`
	Engine   string    `json:"engine"`
	Program  string    `json:"program"`
	Account  hexBytes  `json:"account,omitempty"`
	Device   string    `json:"device_status,omitempty"`
	Roles    []string  `json:"roles"`

	Role       string `json:"role,omitempty"` // the node's
	Validators uint64 `json:"validators,omitempty"`
	Peers      uint64 `json:"peers"`
	Staleness  uint64 `json:"staleness_ms"`
	Base       uint64 `json:"base,omitempty"`   // lowest block above the genesis that is kept
	Target     uint64 `json:"target,omitempty"` // height to catch up to
}

func showStatus(out output, s *abi.NodeStatus) error {
	v := statusOutput{Chain: s.Chain[:], Name: s.Name, Height: s.Height, Block: s.Block[:], Time: time.UnixMilli(s.Time).UTC(),
		State: s.State[:], Protocol: s.Protocol, Engine: s.Engine, Program: s.Program, Roles: s.Roles.Names(),
		Role: s.Role.String(), Validators: s.Validators, Peers: s.Peers, Staleness: s.Staleness, Base: s.Base, Target: s.Target}
	if s.Account != nil {
		v.Account = s.Account[:]
	}
	if s.Device != 0 {
		v.Device = s.Device.String()
	}
	you := "unknown to the ledger"
	if v.Account != nil {
		you = strings.TrimSpace(fmt.Sprintf("%s %s %s", v.Account, strings.Join(v.Roles, ", "), v.Device))
	}
	return out.show(v, "chain    %s %s\nheight   %d  %s\ntime     %s\nstate    %s\nnode     %s\nengine   %s, protocol %d, postern %s\nyou      %s",
		v.Name, v.Chain, v.Height, v.Block, v.Time.Format(time.RFC3339), v.State, v.nodeText(), v.Engine, v.Protocol, v.Program, you)
}

// nodeText is what the node does for its chain, and how well it is connected.
func (v *statusOutput) nodeText() string {
	validators := many(v.Validators, "validator")
	text := fmt.Sprintf("follower of %s", validators)
	if v.Role == abi.NodeValidator.String() {
		text = fmt.Sprintf("validator, of %s", validators)
	}
	text += fmt.Sprintf(", %s connected, %v stale", many(v.Peers, "node"), time.Duration(v.Staleness)*time.Millisecond)
	if v.Target > v.Height {
		text += fmt.Sprintf(", catching up to height %d", v.Target)
	}
	if v.Base > 1 {
		text += fmt.Sprintf(", blocks kept from %d on", v.Base)
	}
	return text
}

// isCode says whether err carries the code.
func isCode(err error, code abi.Code) bool {
	var c abi.Code
	return errors.As(err, &c) && c == code
}
