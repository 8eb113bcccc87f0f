package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
)

func deviceShowCommand() *cli.Command {
	return &cli.Command{
		Name: "show", Usage: "show a device, its proofs checked", ArgsUsage: deviceArgument,
		Description: `What it is, what it may do and why, which contracts judge it and how gateways
have judged it of late, which attacks on gateways came from it (unproven), and
whether its serial is blacklisted.

Examples:

   postern device show reader.key
   postern device show did:key:z6Mk…`,
		Flags:  withConnect(),
		Action: deviceShow,
	}
}

type deviceOutput struct {
	Device       hexBytes     `json:"device"`
	DID          string       `json:"did,omitempty"` // of its present key
	Owner        hexBytes     `json:"owner"`
	Manufacturer string       `json:"manufacturer"`
	Model        string       `json:"model"`
	Serial       string       `json:"serial"`
	Status       string       `json:"status"`
	Reason       string       `json:"reason,omitempty"`
	Labels       chain.Labels `json:"labels,omitempty"`
	Enrolled     uint64       `json:"enrolled_height"`
	Since        uint64       `json:"status_height"`
	SetBy        hexBytes     `json:"status_by,omitempty"` // absent where a contract set it
	Contracts    []string     `json:"contracts,omitempty"`
	Proven       uint64       `json:"proven_height,omitempty"`
	Hardware     hexBytes     `json:"hardware_hash,omitempty"`
	Transferred  uint64       `json:"transferred_height,omitempty"`
}

func deviceOf(id []byte, d *chain.Device) deviceOutput {
	v := deviceOutput{Device: id, Owner: d.Owner[:], Manufacturer: d.Manufacturer, Model: d.Model, Serial: d.Serial,
		Status: d.Status.String(), Reason: d.Reason, Labels: d.Labels, Enrolled: d.Enrolled, Since: d.Since,
		Contracts: d.Contracts, Proven: d.Proven, Transferred: d.Transferred}
	if d.SetBy != nil {
		v.SetBy = d.SetBy[:]
	}
	if d.Hardware != nil {
		v.Hardware = d.Hardware[:]
	}
	return v
}

func labelText(l chain.Labels) string {
	var list []string
	for name, value := range l {
		list = append(list, name+"="+value)
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// deviceDetails is all that a device's owner may want to know of it.
type deviceDetails struct {
	deviceOutput
	Verdicts []verdictOutput `json:"verdicts,omitempty"`
	Alerts   []alertOutput   `json:"alerts,omitempty"` // unproven
	Listing  *listingOutput  `json:"blacklist,omitempty"`
	Sealed   uint64          `json:"sealed_items,omitempty"`
	Height   uint64          `json:"proved_at_height"`
}

// verdictOutput is how a gateway judged a device.
type verdictOutput struct {
	Gateway  hexBytes  `json:"gateway"`
	Contract string    `json:"contract"`
	Level    string    `json:"level"`
	Score    int64     `json:"score,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	Evidence hexBytes  `json:"evidence_hash"`
	Time     time.Time `json:"time"`
	Height   uint64    `json:"height"`
}

// alertOutput is what gateways tell of attacks that came from the device.
type alertOutput struct {
	Gateway  hexBytes `json:"gateway"`
	Kind     string   `json:"kind"`
	Count    uint64   `json:"count"` // of the kind at this gateway, from whomever
	Evidence hexBytes `json:"evidence_hash"`
	Height   uint64   `json:"height"`
}

func deviceShow(c *cli.Context) error {
	return onDevice(c, func(ctx context.Context, cl *client.Client, id abi.Hash) error {
		d, height, err := readDevice(ctx, cl, id)
		if err != nil {
			return err
		}
		v := deviceDetails{deviceOutput: deviceOf(id[:], &d), Height: height}
		account, _, err := getProved(ctx, cl, chain.AccountKey(id), "account "+hexOf(id).String())
		if err != nil {
			return err
		}
		a, err := chain.ParseAccount(account)
		if err != nil {
			return err
		}
		v.DID = didOf(a.Key)
		if err := v.addRecords(ctx, cl, id, &d); err != nil {
			return err
		}
		return printer(c).show(v, "%s", v.text())
	})
}

// addRecords adds what stands elsewhere on the ledger about the device.
func (v *deviceDetails) addRecords(ctx context.Context, cl *client.Client, id abi.Hash, d *chain.Device) error {
	e, err := cl.Get(ctx, chain.VerdictsKey(id))
	if err != nil {
		return err
	}
	if e.Present {
		verdicts, err := chain.ParseVerdicts(e.Value)
		if err != nil {
			return err
		}
		for i := range verdicts.List {
			v.Verdicts = append(v.Verdicts, verdictOf(&verdicts.List[i]))
		}
	}
	if v.Listing, err = listingOf(ctx, cl, d.Manufacturer, d.Serial); err != nil {
		return err
	}
	if v.Sealed, err = sealedCount(ctx, cl, id); err != nil {
		return err
	}
	return scanAll(ctx, cl, chain.AlertsPrefix(), func(key, value []byte) error {
		a, err := chain.ParseAlerts(value)
		if err == nil && a.Device != nil && *a.Device == id {
			gateway, kind := chain.AlertOf(key)
			v.Alerts = append(v.Alerts, alertOutput{gateway[:], kind, a.Count, a.Evidence[:], a.Height})
		}
		return err
	})
}

func verdictOf(g *chain.GatewayVerdict) verdictOutput {
	return verdictOutput{g.Gateway[:], g.Contract, g.Level.String(), g.Score, g.ReasonID, g.Evidence[:], time.UnixMilli(g.Time).UTC(), g.Height}
}

// sealedCount is how many items were ever sealed of a device, proved.
func sealedCount(ctx context.Context, cl *client.Client, id abi.Hash) (uint64, error) {
	e, err := cl.Get(ctx, chain.SealedCountKey(id))
	if err != nil || !e.Present {
		return 0, err
	}
	r := cbor.NewReader(e.Value)
	n := r.Uint()
	return n, r.Done()
}

func (v *deviceDetails) text() string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-13s %s\n", name, strings.TrimSpace(fmt.Sprintf(format, args...)))
	}
	line("device", "%s", v.Device)
	line("did", "%s", v.DID)
	line("status", "%s", v.statusText())
	line("since", "block %d, set by %s", v.Since, v.setBy())
	line("manufacturer", "%s", v.Manufacturer)
	line("model", "%s", v.Model)
	line("serial", "%s", v.Serial)
	line("origin", "%s", v.originText())
	line("owner", "%s", v.ownerText())
	line("labels", "%s", labelText(v.Labels))
	line("contracts", "%s", strings.Join(v.Contracts, ", "))
	for i := range v.Verdicts {
		line("verdict", "%s", v.Verdicts[i].text())
	}
	for i := range v.Alerts {
		a := &v.Alerts[i]
		line("alert", "%s at gateway %s, last in block %d (evidence %s)", a.Kind, a.Gateway, a.Height, a.Evidence)
	}
	if v.Listing != nil {
		line("blacklist", "%s", v.Listing.text())
	}
	if v.Sealed > 0 {
		line("evidence", "%d sealed items; read them with postern device evidence open", v.Sealed)
	}
	line("proved", "at height %d", v.Height)
	return strings.TrimSuffix(b.String(), "\n")
}

func (v *deviceOutput) statusText() string {
	if v.Reason == "" {
		return v.Status
	}
	return v.Status + ": " + v.Reason
}

func (v *deviceOutput) setBy() string {
	if v.SetBy == nil {
		return "a contract"
	}
	return v.SetBy.String()
}

func (v *deviceOutput) originText() string {
	if v.Proven == 0 {
		return "unproven: nobody vouches for manufacturer and serial"
	}
	text := fmt.Sprintf("proven in block %d", v.Proven)
	if v.Hardware != nil {
		text += ", hardware " + v.Hardware.String()
	}
	return text
}

func (v *deviceOutput) ownerText() string {
	if v.Transferred == 0 {
		return fmt.Sprintf("%s, since it was enrolled in block %d", v.Owner, v.Enrolled)
	}
	return fmt.Sprintf("%s, since it was transferred in block %d", v.Owner, v.Transferred)
}

func (o *verdictOutput) text() string {
	return fmt.Sprintf("%s by gateway %s in block %d, %s, contract %s: %s (score %d, evidence %s)",
		o.Level, o.Gateway, o.Height, o.Time.Format(time.RFC3339), o.Contract, o.Reason, o.Score, o.Evidence)
}
