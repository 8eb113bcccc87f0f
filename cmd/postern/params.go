package main

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
)

// paramField is one of the chain's parameters by its name.
type paramField struct {
	name string
	help string
	u    *uint64
	i    *int64
}

func (f *paramField) get() uint64 {
	if f.u != nil {
		return *f.u
	}
	return uint64(*f.i)
}

func (f *paramField) set(v uint64) bool {
	switch {
	case f.u != nil:
		*f.u = v
	case v > math.MaxInt64:
		return false
	default:
		*f.i = int64(v)
	}
	return true
}

// paramFields are the parameters that governance may change. The profile, which
// it may not, is not among them.
func paramFields(p *chain.Params) []paramField {
	return []paramField{
		{"protocol", "version of the rules", &p.Protocol, nil},
		{"tx_gas", "most gas of a transaction", &p.TxGas, nil},
		{"block_gas", "most gas of a block", &p.BlockGas, nil},
		{"decide_gas", "most gas of a decision", &p.DecideGas, nil},
		{"query_gas", "most gas of a query", &p.QueryGas, nil},
		{"activation_delay", "ms from a deployment to its activation", nil, &p.ActivationDelay},
		{"gas_quota", "gas that an account saves up", &p.GasQuota, nil},
		{"gas_refill", "gas that it gets back a second", &p.GasRefill, nil},
		{"storage_quota", "bytes that an account saves up", &p.StorageQuota, nil},
		{"storage_refill", "bytes that it gets back a day", &p.StorageRefill, nil},
		{"upload_ttl", "ms that an upload may take", nil, &p.UploadTTL},
		{"block_timers", "most timers that a block runs", &p.BlockTimers, nil},
		{"contract_timers", "most timers of a contract", &p.ContractTimers, nil},
		{"account_uploads", "most unfinished uploads of an account", &p.AccountUploads, nil},
		{"deploy_approvals", "validators that must approve a deployment; 0: none", &p.DeployApprovals, nil},
		{"proposal_ttl", "ms that a proposal waits for votes; 0: a week", nil, &p.ProposalTime},
		{"snapshot_interval", "blocks between snapshots; 0: 10,000", &p.SnapshotBlocks, nil},
	}
}

// setParam sets one parameter from NAME=VALUE.
func setParam(p *chain.Params, arg string) error {
	name, text, ok := strings.Cut(arg, "=")
	if !ok {
		return usagef("--set %q: write NAME=VALUE", arg)
	}
	value, err := strconv.ParseUint(strings.ReplaceAll(text, "_", ""), 10, 64)
	if err != nil {
		return usagef("--set %s: %q is no whole number", name, text)
	}
	for _, f := range paramFields(p) {
		if f.name == name {
			if !f.set(value) {
				return usagef("--set %s: %d is too large", name, value)
			}
			return nil
		}
	}
	return usagef("no parameter is named %q; postern validator params shows the names", name)
}

func showParams(c *cli.Context) error {
	return onNode(c, func(ctx context.Context, cl *client.Client) error {
		p, err := cl.Params(ctx)
		if err != nil {
			return err
		}
		rows := map[string]any{"profile": profileName(p.Profile)}
		lines := []string{"profile\t" + profileName(p.Profile) + "\tset for ever"}
		for _, f := range paramFields(&p) {
			rows[f.name] = f.get()
			lines = append(lines, fmt.Sprintf("%s\t%d\t%s", f.name, f.get(), f.help))
		}
		return printer(c).table(rows, "NAME\tVALUE\tWHAT", lines)
	})
}
