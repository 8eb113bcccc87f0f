package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
	"github.com/seed79541315/postern/sdk/key"
)

// identityFlags are what a device is by its maker's word.
var identityFlags = []cli.Flag{
	&cli.StringFlag{Name: "manufacturer", Usage: "who made it"},
	&cli.StringFlag{Name: "model", Usage: "what it is"},
	&cli.StringFlag{Name: "serial", Usage: "its serial, unique for the manufacturer"},
}

func deviceEnrolCommand() *cli.Command {
	return &cli.Command{
		Name: "enrol", Usage: "enrol a device under your account, signed by both", ArgsUsage: "[DEVICE-KEY-FILE]",
		Description: `The key file is made if it is not there. A device that keeps its key to itself
makes a statement with postern device statement, and you name it by --statement.
Labels are what policies see of a device, beside its manufacturer, model and
serial. --origin is the manufacturer's signed word for it: with it the device is
proven, without it a claim that anybody could make. With --hardware-id the origin
must name just this hardware.

Examples:

   postern device enrol --manufacturer Acme --model D1 --serial 0042 --label role=door front-door.key
   postern device enrol --origin 0042.origin --hardware-id 00:1b:44:11:3a:b7 --statement front-door.json`,
		Flags: withConnect(append([]cli.Flag{
			&cli.StringSliceFlag{Name: "label", Usage: "`NAME=VALUE`; may be repeated"},
			&cli.StringFlag{Name: "origin", Usage: "`FILE` in which the manufacturer vouches for it"},
			hardwareFlag,
			&cli.StringFlag{Name: "statement", Usage: "`FILE` that the device made with postern device statement"},
		}, identityFlags...)...),
		Action: deviceEnrol,
	}
}

var hardwareFlag = &cli.StringFlag{Name: "hardware-id", Usage: "`ID` of the hardware, such as its MAC address, as text; or hex:DIGITS"}

// hardwareID are the bytes that a text names a hardware identity by.
func hardwareID(text string) ([]byte, error) {
	id := []byte(text)
	if digits, ok := strings.CutPrefix(text, "hex:"); ok {
		var h hexBytes
		if err := h.UnmarshalText([]byte(digits)); err != nil || len(h) == 0 {
			return nil, usagef("hardware id %q: hexadecimal digits follow hex:", text)
		}
		id = h
	}
	if len(id) > chain.MaxHardwareID {
		return nil, usagef("hardware id %q: %d bytes, %d at most", text, len(id), chain.MaxHardwareID)
	}
	return id, nil
}

// enrolment is a device that is about to be enrolled.
type enrolment struct {
	chain.Enrolment
	key       *key.Key // nil where the device made the statement itself
	statement []byte   // nil where its key is here
	public    []byte
	labels    chain.Labels
	origin    []byte
}

func deviceEnrol(c *cli.Context) error {
	e, err := enrolmentOf(c)
	if err != nil {
		return err
	}
	file, made := c.Args().First(), false
	if e.statement == nil {
		_, missing := os.Stat(file)
		made = missing != nil
		if e.key, err = loadOrMakeKey(file); err != nil {
			return err
		}
		e.public = e.key.Public()
	}
	if e.origin != nil {
		err = e.checkOrigin(c.String("hardware-id"))
	}
	if err == nil {
		err = enrolNow(c, e)
	}
	var refused *client.OutcomeError
	if made && (errors.As(err, &refused) || isCode(err, abi.CodeBadOrigin)) {
		return errors.Join(err, os.Remove(file)) // made for this enrolment, which is refused for good
	}
	return err
}

// enrolmentOf is what flags and files say of the device, but for its key.
func enrolmentOf(c *cli.Context) (e *enrolment, err error) {
	e = &enrolment{}
	if e.labels, err = parseLabels(c.StringSlice("label")); err != nil {
		return nil, err
	}
	if err := e.proveBy(c.String("origin"), c.String("hardware-id")); err != nil {
		return nil, err
	}
	e.takeIdentity(c)
	statement := c.String("statement")
	if (c.NArg() == 0) == (statement == "") {
		return nil, usagef("name the device's key file, or the --statement that it made")
	}
	if statement != "" {
		return e, e.readStatement(statement)
	}
	return e, e.complete()
}

func enrolNow(c *cli.Context, e *enrolment) error {
	cl, owner, err := connect(c, operatorKeyFile)
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(c.Context, callTimeout)
	defer cancel()
	account, err := named{key: owner.Public()}.account(ctx, cl)
	if err != nil {
		return err
	}
	res, err := e.submit(ctx, cl, account)
	if err != nil {
		return err
	}
	id, proven := chain.AccountID(e.public), e.origin != nil
	text := "unproven"
	if proven {
		text = "proven by its manufacturer"
	}
	return printer(c).show(struct {
		Device hexBytes `json:"device"`
		DID    string   `json:"did"`
		Proven bool     `json:"proven"`
		txOutput
	}{hexOf(id), didOf(e.public), proven, res}, "device %x is enrolled, %s (block %d)", id, text, res.Height)
}

// takeIdentity lets the command's flags say what the origin did not.
func (e *enrolment) takeIdentity(c *cli.Context) {
	for name, at := range map[string]*string{"manufacturer": &e.Manufacturer, "model": &e.Model, "serial": &e.Serial} {
		if text := c.String(name); text != "" {
			*at = text
		}
	}
}

// complete says what is missing.
func (e *enrolment) complete() error {
	for _, f := range []struct{ name, value string }{{"manufacturer", e.Manufacturer}, {"model", e.Model}, {"serial", e.Serial}} {
		if f.value == "" {
			return usagef("--%s is missing", f.name)
		}
	}
	return nil
}

// proveBy takes the manufacturer's word from a file, which says manufacturer,
// model and serial too, and checks that it is for this hardware.
func (e *enrolment) proveBy(file, hardware string) (err error) {
	if file == "" {
		if hardware != "" {
			return usagef("--hardware-id is checked against what the manufacturer signed: name that with --origin")
		}
		return nil
	}
	if e.origin, err = os.ReadFile(file); err != nil {
		return err
	}
	if err := e.openOrigin(hardware); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// openOrigin takes from the origin what the device is.
func (e *enrolment) openOrigin(hardware string) error {
	o, err := chain.OpenOrigin(e.origin)
	if err != nil {
		return err
	}
	e.Manufacturer, e.Model, e.Serial = o.Manufacturer, o.Model, o.Serial
	return e.checkOrigin(hardware)
}

// checkOrigin refuses an origin that is for another device, or for other hardware
// than that named: the ledger would refuse the one, and never know of the other.
func (e *enrolment) checkOrigin(hardware string) error {
	o, err := chain.OpenOrigin(e.origin)
	if err != nil {
		return err
	}
	if o.Manufacturer != e.Manufacturer || o.Model != e.Model || o.Serial != e.Serial {
		return fmt.Errorf("the origin is that of %s %s %s: %w", o.Manufacturer, o.Model, o.Serial, abi.CodeBadOrigin)
	}
	if e.public != nil && string(o.Key) != string(e.public) {
		return fmt.Errorf("the origin is that of the key %s, not of %s: %w", didOf(o.Key), didOf(e.public), abi.CodeBadOrigin)
	}
	if hardware == "" {
		return nil
	}
	id, err := hardwareID(hardware)
	if err == nil && string(id) != string(o.Hardware) {
		err = fmt.Errorf("the origin names other hardware than %s: %w", hardware, abi.CodeBadOrigin)
	}
	return err
}

// enrolmentLife is how long a device's consent to its enrolment is good for,
// where it is made for the moment.
const enrolmentLife = 10 * time.Minute

// submit has the device sign that it belongs to the owner, unless it has, and the
// owner submit it.
func (e *enrolment) submit(ctx context.Context, cl *client.Client, owner abi.Hash) (_ txOutput, err error) {
	args := chain.Enrol{Statement: e.statement, Labels: e.labels, Origin: e.origin}
	if e.key != nil {
		e.Owner, e.public = owner, e.key.Public()
		if args.Statement, err = e.sign(cl.Chain(), e.key, enrolmentLife); err != nil {
			return txOutput{}, err
		}
	}
	return transact(ctx, cl, chain.OpEnrol, &args)
}

// readStatement takes a device's word that it belongs to an owner from a file.
func (e *enrolment) readStatement(file string) error {
	var f enrolmentFile
	if err := readHandedFile(file, &f); err != nil {
		return err
	}
	if err := e.takeStatement(f.Statement); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// takeStatement takes what the device says of itself; the ledger checks it.
func (e *enrolment) takeStatement(raw []byte) error {
	s, err := chain.ParseStatement(raw)
	if err != nil {
		return err
	}
	if s.Kind != chain.StatementEnrol {
		return fmt.Errorf("it is no statement of a device that is to be enrolled: %w", abi.CodeBadArgument)
	}
	said, err := chain.ParseEnrolment(s.Body)
	if err != nil {
		return err
	}
	for _, f := range []struct{ name, here, there string }{
		{"manufacturer", e.Manufacturer, said.Manufacturer}, {"model", e.Model, said.Model}, {"serial", e.Serial, said.Serial},
	} {
		if f.here != "" && f.here != f.there {
			return fmt.Errorf("the device says that its %s is %q, not %q: %w", f.name, f.there, f.here, abi.CodeBadArgument)
		}
	}
	e.Enrolment, e.statement, e.public = said, raw, s.Key
	return nil
}

// sign is the device's word that it belongs to the owner.
func (e *enrolment) sign(of abi.Hash, by chain.Signer, life time.Duration) ([]byte, error) {
	return chain.SignStatement(&chain.Statement{
		Chain: of, Kind: chain.StatementEnrol, Expiry: time.Now().Add(life).UnixMilli(), Body: e.Enrolment.Append(nil),
	}, by)
}

// enrol enrols a device whose key is here.
func enrol(ctx context.Context, cl *client.Client, owner, device *key.Key, what chain.Enrolment, labels chain.Labels) (txOutput, error) {
	e := enrolment{Enrolment: what, key: device, labels: labels}
	return e.submit(ctx, cl, chain.AccountID(owner.Public()))
}

func parseLabels(list []string) (chain.Labels, error) {
	labels := chain.Labels{}
	for _, l := range list {
		name, value, ok := strings.Cut(l, "=")
		if !ok || name == "" {
			return nil, usagef("--label %q: write NAME=VALUE", l)
		}
		if _, twice := labels[name]; twice {
			return nil, usagef("--label %s is given twice", name)
		}
		labels[name] = value
	}
	return labels, nil
}
