package main

import (
	"context"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
	"github.com/seed79541315/postern/sdk/key"
)

// scriptJudge: judge HOME DEVICE-KEY CONTRACT LEVEL has the gateway of a home, which
// runs at $QUIC, tell how it judges a device, and of an attack by it.
func scriptJudge(ts *testscript.TestScript, _ bool, args []string) {
	h := home(ts.MkAbs(args[0]))
	bundle, err := readBundle(h.path("bundle.json"))
	ts.Check(err)
	gateway, err := key.Load(h.path(nodeKeyFile))
	ts.Check(err)
	device, err := key.Load(ts.MkAbs(args[1]))
	ts.Check(err)
	level, err := strconv.ParseUint(args[3], 10, 8)
	ts.Check(err)
	cl, err := dial(context.Background(), bundle, gateway, ts.Getenv("QUIC"))
	ts.Check(err)
	defer cl.Close()
	id := device.AccountID()
	for op, a := range map[chain.Op]client.Args{
		chain.OpVerdict: &chain.Verdict{Device: id, Contract: args[2], Level: abi.Level(level), Score: 70, ReasonID: "case_closed", Evidence: abi.Hash{7}},
		chain.OpAlert:   &chain.Alert{Kind: "bad-signatures", Count: 12, Evidence: abi.Hash{8}, Device: &id},
	} {
		_, err := transact(context.Background(), cl, op, a)
		ts.Check(err)
	}
}
