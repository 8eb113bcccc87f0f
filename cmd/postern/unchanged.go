package main

import (
	"bytes"
	"context"
	"fmt"

	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
)

// checkChanges refuses to propose what is so already: nobody should be asked to
// agree to nothing.
func checkChanges(ctx context.Context, cl *client.Client, args client.Args) error {
	switch a := args.(type) {
	case *chain.Params:
		now, err := cl.Params(ctx)
		if err == nil && bytes.Equal(now.Append(nil), a.Append(nil)) {
			err = usagef("the chain's parameters are these already; postern validator params shows them")
		}
		return err
	case *chain.Grant:
		return checkGrantChanges(ctx, cl, a)
	case *chain.AddValidator:
		return checkNewMember(ctx, cl, a.Statement)
	case *chain.ReplaceValidator:
		return checkNewMember(ctx, cl, a.Statement)
	}
	return nil
}

// checkNewMember refuses a statement of a key that votes already.
func checkNewMember(ctx context.Context, cl *client.Client, statement []byte) error {
	s, err := chain.ParseStatement(statement)
	if err != nil {
		return err
	}
	set, _, err := cl.Validators(ctx)
	if err != nil {
		return err
	}
	if id, votes := set.ID(s.Key); votes {
		return usagef("key %x votes already, as validator %d; postern validator list shows all", s.Key, id)
	}
	return nil
}

// checkGrantChanges refuses a grant of what an account has.
func checkGrantChanges(ctx context.Context, cl *client.Client, a *chain.Grant) error {
	id, err := accountOfKey(ctx, cl, a.Key)
	if err != nil {
		return err
	}
	e, err := cl.Get(ctx, chain.AccountKey(id))
	if err != nil || !e.Present {
		return err
	}
	now, err := chain.ParseAccount(e.Value)
	if err != nil {
		return fmt.Errorf("account %x: %w", id, err)
	}
	if now.Roles == a.Roles && now.GasQuota == a.GasQuota && now.StorageQuota == a.StorageQuota {
		return usagef("account %x has these roles and quotas already; postern account show %x shows them", id, id)
	}
	return nil
}

// checkAsksApproval refuses to propose a deployment where none needs approval:
// the first validator's vote would carry it out, as its developer can alone.
func checkAsksApproval(ctx context.Context, cl *client.Client, instead string) error {
	params, err := cl.Params(ctx)
	if err == nil && params.DeployApprovals == 0 {
		err = usagef("this chain asks no approval of deployments (deploy_approvals is 0): use %s", instead)
	}
	return err
}
