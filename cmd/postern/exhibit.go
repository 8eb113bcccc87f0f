package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/runtime/behaviour"
)

// evidenceShowCommand shows what a verdict of this gateway was about.
func evidenceShowCommand() *cli.Command {
	return &cli.Command{
		Name: "show", Usage: "show what a verdict or an alert of this gateway was about, by the hash that it names", ArgsUsage: "HASH",
		Description: `Reads it in the gateway's home, whether the node runs or not. The node writes it there
every ten minutes; the oldest makes room for the newest.
` + example("postern device evidence show --home gateway 5f1f0b4f7d5bb02b7e9b2e14a04f9a7d3a6b3e3f2c1d0e9f8a7b6c5d4e3f2a1b"),
		Flags: []cli.Flag{homeFlag, jsonFlag}, Action: evidenceShow,
	}
}

// exhibitOutput is an observation that was judged, or the account of an attack.
type exhibitOutput struct {
	Device      hexBytes           `json:"device,omitempty"`
	Observation *observationOutput `json:"observation,omitempty"`
	Attack      *attackOutput      `json:"attack,omitempty"`
}

type attackOutput struct {
	Kind    string         `json:"kind"`
	Count   uint64         `json:"count"`
	Since   time.Time      `json:"since"`
	Until   time.Time      `json:"until"`
	Sources []sourceOutput `json:"sources"`
}

type sourceOutput struct {
	From  string `json:"from"`
	Count uint64 `json:"count"`
}

func evidenceShow(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef("write the one hash that the verdict or alert names")
	}
	hash, err := parseHash(c.Args().First(), "evidence")
	if err != nil {
		return err
	}
	h := home(c.String("home"))
	raw, err := behaviour.ReadEvidence(h.path("behaviour"), hash)
	if errors.Is(err, abi.CodeNotFound) {
		return fmt.Errorf("%s has no such evidence: another gateway judged, it made room for newer evidence, or it is not written yet: %w", h.path("behaviour"), err)
	}
	if err != nil {
		return err
	}
	v, err := exhibitOf(raw)
	if err != nil {
		return err
	}
	text, err := v.text()
	if err != nil {
		return err
	}
	return printer(c).show(v, "%s", text)
}

func exhibitOf(raw []byte) (v exhibitOutput, err error) {
	if o, err := abi.ParseObservation(raw); err == nil {
		return exhibitOutput{Device: o.Device[:], Observation: observationOf(&o)}, nil
	}
	a, err := behaviour.ParseAttackAccount(raw)
	if err != nil {
		return v, fmt.Errorf("the evidence is neither an observation nor the account of an attack: %w", err)
	}
	v.Attack = &attackOutput{Kind: a.Kind, Count: a.Count, Since: time.UnixMilli(a.Since).UTC(), Until: time.UnixMilli(a.Until).UTC(), Sources: []sourceOutput{}}
	for _, s := range a.Sources {
		v.Attack.Sources = append(v.Attack.Sources, sourceOutput(s))
	}
	return v, nil
}

func (v *exhibitOutput) text() (string, error) {
	var b strings.Builder
	if a := v.Attack; a != nil {
		fmt.Fprintf(&b, "%s, %d times from %s to %s", a.Kind, a.Count, a.Since.Format(time.DateTime), a.Until.Format(time.DateTime))
		for _, s := range a.Sources {
			fmt.Fprintf(&b, "\n%d from %q", s.Count, s.From)
		}
		return b.String(), nil
	}
	fmt.Fprintf(&b, "%s of device %s at %s", v.Observation.Kind, v.Device, v.Observation.Time.Format(time.DateTime))
	for _, item := range v.Observation.Items {
		line, err := json.Marshal(item)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "\n%s", line)
	}
	return b.String(), nil
}
