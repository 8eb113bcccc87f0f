package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/contracts/behaviour"
	"github.com/seed79541315/postern/sdk/client"
)

// profileContract is the behaviour contract's name unless another is given.
const profileContract = "behaviour"

func profileCommand() *cli.Command {
	contract := &cli.StringFlag{Name: "contract", Value: profileContract, Usage: "`NAME` of the behaviour contract"}
	mud := &cli.StringFlag{Name: "mud", Usage: "`FILE` with the manufacturer's description (RFC 8520), in place of the profile's own"}
	return &cli.Command{
		Name:  "profile",
		Usage: "what devices do when nothing is wrong, for the behaviour contract",
		Description: `A profile is JSON: a manufacturer's description of whom its devices talk to (a MUD
file, RFC 8520), rules for their telemetry, rates, hours.
contracts/behaviour/README.md describes it. Deploy the contract first, and bind
devices to it:

   postern contract deploy --name behaviour behaviour
   postern device bind front-door.key behaviour`,
		Subcommands: []*cli.Command{
			{
				Name: "check", Usage: "say what is wrong with a profile or MUD file, and what of it is not understood, without a node", ArgsUsage: "[FILE]",
				Description: example("postern profile check --mud sensor.mud.json"), Flags: []cli.Flag{mud, jsonFlag}, Action: profileCheck,
			},
			{
				Name: "load", Usage: "write a profile under a new version and make it the active one", ArgsUsage: "NAME [FILE]",
				Description: "Until the last transaction devices are judged by the old version.\nExample:\n\n   postern profile load --mud sensor.mud.json door-sensor",
				Flags:       withConnect(contract, mud), Action: profileLoad,
			},
			{
				Name: "list", Usage: "list the profiles", Description: example("postern profile list"), Flags: withConnect(contract), Action: profileList,
			},
			{
				Name: "show", Usage: "show a profile's version, its classes of parties and its notes", ArgsUsage: "NAME",
				Description: example("postern profile show door-sensor"), Flags: withConnect(contract), Action: profileShow,
			},
			{
				Name: "assign", Usage: "say which devices have a profile: one, those of a model, or all", ArgsUsage: "NAME",
				Description: `Without --device, --manufacturer and --model it is the profile of all devices that
have no other. NAME "" takes the assignment away. Example:

   postern profile assign --manufacturer Acme --model DS1 door-sensor`,
				Flags: withConnect(contract,
					&cli.StringFlag{Name: "device", Usage: "`" + deviceArgument + "`"},
					&cli.StringFlag{Name: "manufacturer", Usage: "`NAME`"}, &cli.StringFlag{Name: "model", Usage: "`NAME`"}),
				Action: profileAssign,
			},
			{
				Name: "site", Usage: "say which networks the classes of parties are that profiles name", ArgsUsage: "FILE",
				Description: `The file is JSON: {"controller:urn:ietf:params:mud:dns": ["10.0.0.1/32"], …}. It
replaces the site's last. Example:

   postern profile site site.json`,
				Flags: withConnect(contract), Action: profileSite,
			},
			{
				Name: "pardon", Usage: "forget what signed evidence against a device added up to", ArgsUsage: deviceArgument,
				Description: "Its status stays; see postern device release. Example:\n\n   postern profile pardon front-door.key",
				Flags:       withConnect(contract), Action: profilePardon,
			},
		},
	}
}

// readProfile reads a profile's file, a MUD file, or both. A mistake ends with
// exitRefused after each was told.
func readProfile(c *cli.Context, file string) (*behaviour.Profile, error) {
	if file == "" && c.String("mud") == "" {
		return nil, usagef("name a profile's file, or a MUD file by --mud")
	}
	p := &behaviour.Profile{}
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if p, err = behaviour.ParseProfile(text); err != nil {
			if _, mudErr := behaviour.ParseMUD(text); mudErr == nil {
				return nil, usagef("%s is a MUD file, and no profile: name it by --mud", file)
			}
			return nil, profileMistakes(c, file, err)
		}
	}
	if mud := c.String("mud"); mud != "" {
		text, err := os.ReadFile(mud)
		if err != nil {
			return nil, err
		}
		if p.MUD, err = behaviour.ParseMUD(text); err != nil {
			return nil, profileMistakes(c, mud, err)
		}
	}
	return p, nil
}

func profileMistakes(c *cli.Context, file string, err error) error {
	list := []string{}
	for line := range strings.Lines(err.Error()) {
		list = append(list, strings.TrimSpace(line))
		printer(c).progressf("%s: %s", file, strings.TrimSpace(line))
	}
	v := struct {
		OK       bool     `json:"ok"`
		Mistakes []string `json:"mistakes"`
	}{false, list}
	if err := printer(c).show(v, "%s", many(len(list), "mistake")); err != nil {
		return err
	}
	return &quietExit{exitRefused}
}

type profileOutput struct {
	Name     string   `json:"name,omitempty"`
	Version  uint32   `json:"version,omitempty"`
	Digest   hexBytes `json:"digest,omitempty"`
	Source   string   `json:"source,omitempty"`
	Validity uint64   `json:"cache_validity_hours,omitempty"`
	Count    uint64   `json:"entries_and_rules"`
	Classes  []string `json:"classes"`
	Notes    []string `json:"notes"`
}

func (v *profileOutput) of(m *behaviour.MUD) {
	v.Classes, v.Notes = []string{}, []string{}
	if m != nil {
		v.Source, v.Validity = m.URL, m.Validity
		v.Classes = append(v.Classes, m.Classes()...)
		v.Notes = warningTexts(m.Notes)
	}
}

// tell prints what else people should know of a profile.
func (v *profileOutput) tell(out output) {
	for _, n := range v.Notes {
		out.progressf("note: %s", n)
	}
	if len(v.Classes) > 0 {
		out.progressf("the site must say who these are: %s", strings.Join(v.Classes, ", "))
	}
}

func profileCheck(c *cli.Context) error {
	if c.NArg() > 1 {
		return usagef("name one file")
	}
	p, err := readProfile(c, c.Args().First())
	if err != nil {
		return err
	}
	if _, err := p.Digest(); err != nil {
		return err
	}
	v := profileOutput{Count: uint64(len(p.Rules))}
	v.of(p.MUD)
	if p.MUD != nil {
		v.Count += uint64(len(p.MUD.Entries))
	}
	out := printer(c)
	v.tell(out)
	return out.show(v, "good: %d entries and rules, %d notes", v.Count, len(v.Notes))
}

func profileLoad(c *cli.Context) error {
	if c.NArg() < 1 || c.NArg() > 2 {
		return usagef("name a profile, and its file unless --mud is all; see %s --help", c.Command.HelpName)
	}
	name := c.Args().First()
	p, err := readProfile(c, c.Args().Get(1))
	if err != nil {
		return err
	}
	return onNodeWithin(c, changeTimeout, func(ctx context.Context, cl *client.Client) error {
		out := printer(c)
		v, err := loadProfile(ctx, cl, c.String("contract"), name, p, func(done, total int) { out.progressf("written %d of %d transactions", done, total) })
		if err != nil {
			return err
		}
		v.tell(out)
		return out.show(v, "version %d of profile %s is active: %d entries and rules", v.Version, name, v.Count)
	})
}

// loadProfile writes a profile under the version after the active one and
// activates it. If it is the active one already, it does nothing.
func loadProfile(ctx context.Context, cl *client.Client, contract, name string, p *behaviour.Profile, progress func(done, total int)) (profileOutput, error) {
	v := profileOutput{Name: name}
	v.of(p.MUD)
	digest, err := p.Digest()
	if err != nil {
		return v, err
	}
	v.Digest = hexOf(digest)
	active, err := activeProfile(ctx, cl, contract, name)
	if err != nil {
		return v, err
	}
	v.Version, v.Count = active.Version, active.Count
	if active.Version != 0 && active.Digest == digest {
		return v, nil
	}
	if v.Version, err = beginProfile(ctx, cl, contract, name, p, active.Version); err != nil {
		return v, err
	}
	messages, err := p.Messages(name, v.Version, active.Version)
	if err != nil {
		return v, err
	}
	for i, m := range messages {
		if i > 0 { // beginProfile sent the first
			if err := callProfile(ctx, cl, contract, m); err != nil {
				return v, fmt.Errorf("message %d of %d: %w", i+1, len(messages), err)
			}
		}
		progress(i+1, len(messages))
	}
	if active, err = activeProfile(ctx, cl, contract, name); err == nil {
		v.Count = active.Count
	}
	return v, err
}

// beginProfile sends a profile's first message under the first version above
// the active one that nobody has begun.
func beginProfile(ctx context.Context, cl *client.Client, contract, name string, p *behaviour.Profile, active uint32) (uint32, error) {
	for version := active + 1; ; version++ {
		messages, err := p.Messages(name, version, active)
		if err != nil {
			return 0, err
		}
		err = callProfile(ctx, cl, contract, messages[0])
		if !profileAborted(err, behaviour.CodeBadVersion) || version > active+maxBroken {
			return version, err
		}
		err = callProfile(ctx, cl, contract, behaviour.Abandon(name, version))
		if err != nil && !profileAborted(err, behaviour.CodeBadVersion) && !profileAborted(err, behaviour.CodeNotBuilding) {
			return 0, fmt.Errorf("giving up version %d, which was begun and never finished: %w", version, err)
		}
	}
}

func profileAborted(err error, code behaviour.Code) bool {
	var refused *client.OutcomeError
	return errors.As(err, &refused) && refused.Outcome.Code == abi.CodeAborted && behaviour.Code(refused.Outcome.Abort) == code
}

// activeProfile describes a profile; its version is 0 if there is none.
func activeProfile(ctx context.Context, cl *client.Client, contract, name string) (behaviour.Info, error) {
	res, err := cl.Query(ctx, contract, behaviour.Describe(name))
	if err != nil {
		return behaviour.Info{}, fmt.Errorf("asking contract %s for its profile: %w", contract, err)
	}
	info, err := behaviour.ParseInfo(res.Unproven)
	if errors.Is(err, behaviour.ErrNoProfile) {
		return behaviour.Info{}, nil
	}
	return info, err
}

// callProfile sends one message and names the contract's own code if it refuses.
func callProfile(ctx context.Context, cl *client.Client, contract string, msg []byte) error {
	_, err := transact(ctx, cl, chain.OpCall, &chain.Call{Contract: contract, Message: msg})
	var refused *client.OutcomeError
	if errors.As(err, &refused) && refused.Outcome.Code == abi.CodeAborted {
		return fmt.Errorf("the contract refuses: %s: %w", behaviour.Code(refused.Outcome.Abort), err)
	}
	return err
}

func profileList(c *cli.Context) error {
	return onNode(c, func(ctx context.Context, cl *client.Client) error {
		names, err := behaviour.Profiles(func(m []byte) ([]byte, error) {
			res, err := cl.Query(ctx, c.String("contract"), m)
			return res.Unproven, err
		})
		if err != nil {
			return err
		}
		return printer(c).show(append([]string{}, names...), "%s", strings.Join(names, "\n"))
	})
}

func profileShow(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef("name a profile")
	}
	return onNode(c, func(ctx context.Context, cl *client.Client) error {
		info, err := activeProfile(ctx, cl, c.String("contract"), c.Args().First())
		if err != nil {
			return err
		}
		if info.Version == 0 {
			return behaviour.ErrNoProfile
		}
		v := profileOutput{
			Name: c.Args().First(), Version: info.Version, Digest: hexOf(info.Digest), Source: info.Source, Validity: info.Validity,
			Count: info.Count, Classes: append([]string{}, info.Classes...), Notes: append([]string{}, info.Notes...),
		}
		out := printer(c)
		v.tell(out)
		return out.show(v, "version %d, %d entries and rules, digest %s, from %s", v.Version, v.Count, v.Digest, v.Source)
	})
}

func profileAssign(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef("name a profile")
	}
	profile, manufacturer, model := c.Args().First(), c.String("manufacturer"), c.String("model")
	if c.String("device") != "" && manufacturer+model != "" {
		return usagef("name a device, or a manufacturer and model")
	}
	return onNode(c, func(ctx context.Context, cl *client.Client) error {
		message, whose := behaviour.BindModel(manufacturer, model, profile), "all devices that have no other"
		if manufacturer != "" {
			whose = strings.TrimSpace("devices of " + manufacturer + " " + model)
		}
		if device := c.String("device"); device != "" {
			name, err := nameOf(device)
			if err != nil {
				return err
			}
			id, err := name.account(ctx, cl)
			if err != nil {
				return err
			}
			message, whose = behaviour.BindDevice(id, profile), fmt.Sprintf("device %x", id)
		}
		if err := callProfile(ctx, cl, c.String("contract"), message); err != nil {
			return err
		}
		v := struct {
			Profile string `json:"profile"`
			Devices string `json:"devices"`
		}{profile, whose}
		return printer(c).show(v, "%q is the profile of %s", profile, whose)
	})
}

func profileSite(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef("name a site's file")
	}
	text, err := os.ReadFile(c.Args().First())
	if err != nil {
		return err
	}
	site, err := behaviour.ParseSite(text)
	if err != nil {
		return profileMistakes(c, c.Args().First(), err)
	}
	message, err := site.Message()
	if err != nil {
		return err
	}
	return onNode(c, func(ctx context.Context, cl *client.Client) error {
		if err := callProfile(ctx, cl, c.String("contract"), message); err != nil {
			return err
		}
		return printer(c).show(map[string]int{"classes": len(site)}, "the site says who %d classes of parties are", len(site))
	})
}

func profilePardon(c *cli.Context) error {
	return onDevice(c, func(ctx context.Context, cl *client.Client, id abi.Hash) error {
		if err := callProfile(ctx, cl, c.String("contract"), behaviour.Pardon(id)); err != nil {
			return err
		}
		return printer(c).show(map[string]hexBytes{"device": hexOf(id)}, "device %x is pardoned", id)
	})
}
