package main

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// hookFile is where the hook notes, in the home, which devices it told may not work.
const hookFile = "hook.told"

// openHook makes the hook on devices' statuses, if one is configured.
func (n *node) openHook(c hookConfig) {
	if len(c.Command) == 0 {
		return
	}
	command := &hookCommand{c, string(n.home), n.log}
	n.hook = newHook(deviceStates{n}, command.run, n.home.path(hookFile), n.log)
}

// deviceStates tells the hook how devices are, by ledger and gateway.
type deviceStates struct{ n *node }

// state implements hookSource.
func (s deviceStates) state(id abi.Hash) (deviceState, []string, error) {
	d, err := s.n.ledger.Device(id)
	if errors.Is(err, abi.CodeUnknownDevice) { // a file of another chain names it
		return deviceState{}, nil, nil
	}
	if err != nil {
		return deviceState{}, nil, err
	}
	v := deviceState{d.Status.String(), d.Reason}
	local := ""
	if d.Status <= abi.StatusSuspended { // graver ones say more
		if _, reason, isolated := s.n.behaviour.Isolated(id); isolated {
			v, local = deviceState{stateIsolated, reason}, "1"
		}
	}
	environment, err := s.environment(id, &d, v)
	return v, append(environment, variable("LOCAL", local)), err
}

func (s deviceStates) environment(id abi.Hash, d *chain.Device, v deviceState) ([]string, error) {
	account, err := s.n.ledgerAccount(id)
	if err != nil {
		return nil, err
	}
	labels, err := json.Marshal(d.Labels)
	if err != nil {
		return nil, err
	}
	of := s.n.ledger.ChainID()
	return []string{
		variable("CHAIN", hexOf(of).String()), variable("DEVICE", hexOf(id).String()), variable("DID", didOf(account.Key)),
		variable("STATUS", v.status), variable("REASON", v.reason), variable("HEIGHT", strconv.FormatUint(d.Since, 10)),
		variable("OWNER", hexOf(d.Owner).String()), variable("MANUFACTURER", d.Manufacturer), variable("MODEL", d.Model),
		variable("SERIAL", d.Serial), variable("LABELS", string(labels)),
	}, nil
}

// barred implements hookSource.
func (s deviceStates) barred(each func(abi.Hash)) error {
	for start, more := chain.DevicePrefix(), true; more; {
		pairs, again, _, err := s.n.ledger.Scan(chain.DevicePrefix(), start, 1000)
		if err != nil {
			return err
		}
		for _, p := range pairs {
			d, err := chain.ParseDevice(p[1])
			if err != nil {
				return err
			}
			if d.Status != abi.StatusActive {
				each(abi.Hash(p[0][1:]))
			}
			start = append(p[0][:len(p[0]):len(p[0])], 0)
		}
		more = again
	}
	return nil
}

// watchStatuses tells the hook of each change of a device's status in committed
// blocks, from protocol version 3 on, which tells them as events.
func (n *node) watchStatuses(ctx context.Context) error {
	own := ""
	filter := abi.EventFilter{Contract: &own, Topic: []byte(chain.TopicDeviceStatus)}
	after := n.ledger.Head().Height
	n.hook.changedAll() // what was committed before
	for ctx.Err() == nil {
		committed := n.ledger.Committed()
		events, upTo, err := n.ledger.Events(after, &filter)
		if err != nil { // blocks that a snapshot replaced
			n.hook.changedAll()
			upTo = n.ledger.Head().Height
		}
		for i := range events {
			if notice, err := chain.ParseNotice(events[i].Data); err == nil {
				n.hook.changed(notice.Subject)
			}
		}
		if after = upTo; after < n.ledger.Head().Height {
			continue
		}
		select {
		case <-committed:
		case <-ctx.Done():
		}
	}
	return nil
}
