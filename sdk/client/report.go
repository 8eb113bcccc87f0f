package client

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/abi/proof"
)

// Report tells the gateway what was seen of a device, and returns how the
// contracts that are bound to the device judge it. A report whose answer was lost
// is sent again, so that the same may be judged twice.
func (c *Client) Report(ctx context.Context, r *abi.Report) (abi.Judgement, error) {
	raw, err := c.do(ctx, abi.OpReport, abi.AppendReport(nil, r))
	if err != nil {
		return abi.Judgement{}, err
	}
	return abi.ParseJudgement(raw)
}

// ReportSenML reports telemetry of the caller as a SenML pack (RFC 8428) in the
// form that the device makes anyway: "senml+json" or "senml+cbor".
func (c *Client) ReportSenML(ctx context.Context, format string, pack []byte) (abi.Judgement, error) {
	return c.Report(ctx, &abi.Report{Kind: abi.ObserveTelemetry, Format: format, Pack: pack})
}

// Flow is a connection, or the packets of one in some time, as a device or a
// network monitor saw it. What is not known stays zero.
type Flow struct {
	Inbound    bool // to the device, not from it
	Protocol   uint8
	Remote     []byte // address, 4 or 16 bytes
	RemotePort uint16
	LocalPort  uint16
	Bytes      uint64
	Packets    uint64
	RemoteName string // if DNS told it
	Begun      *bool  // by the device; nil: not known
	EtherType  uint16 // 0: IP
	ICMP       *uint16
}

// AppendFlows appends flows as the payload of an abi.Report of abi.ObserveFlows.
func AppendFlows(b []byte, list []Flow) []byte {
	b = cbor.AppendArray(b, len(list))
	for i := range list {
		b = list[i].append(b)
	}
	return b
}

func (f *Flow) append(b []byte) []byte {
	n, fields := 0, []byte(nil)
	put := func(key uint64, item []byte) {
		n++
		fields = append(cbor.AppendUint(fields, key), item...)
	}
	number := func(key, value uint64) {
		if value != 0 {
			put(key, cbor.AppendUint(nil, value))
		}
	}
	direction := uint64(0)
	if f.Inbound {
		direction = 1
	}
	put(1, cbor.AppendUint(nil, direction))
	number(2, uint64(f.Protocol))
	if f.Remote != nil {
		put(3, cbor.AppendBytes(nil, f.Remote))
	}
	number(4, uint64(f.RemotePort))
	number(5, uint64(f.LocalPort))
	number(6, f.Bytes)
	number(7, f.Packets)
	if f.RemoteName != "" {
		put(8, cbor.AppendText(nil, f.RemoteName))
	}
	if f.Begun != nil {
		put(9, cbor.AppendBool(nil, *f.Begun))
	}
	number(10, uint64(f.EtherType))
	if f.ICMP != nil {
		put(11, cbor.AppendUint(nil, uint64(*f.ICMP)))
	}
	return append(cbor.AppendMap(b, n), fields...)
}

// signedReport is how long a signed report may serve as evidence: it has to get
// onto the ledger within that time, over a partition.
const signedReport = 24 * time.Hour

// SignReport makes a report that the device signs: validators may judge it
// again, so that its word counts beyond this gateway. The payload is at most
// abi.MaxEvidence long.
func (c *Client) SignReport(kind abi.ObservationKind, payload []byte) (*abi.Report, error) {
	if len(payload) > abi.MaxEvidence {
		return nil, fmt.Errorf("%d bytes of evidence: %w", len(payload), abi.CodeTooLarge)
	}
	now := time.Now()
	body := chain.Report{Time: c.validUntil(now.UnixMilli()), Kind: kind, Payload: payload} // reports' times ascend strictly
	s := chain.Statement{Chain: c.Chain(), Kind: chain.StatementReport, Expiry: now.Add(signedReport).UnixMilli(), Body: body.Append(nil)}
	statement, err := chain.SignStatement(&s, c.config.Key)
	if err != nil {
		return nil, err
	}
	return &abi.Report{Kind: kind, Statement: statement}, nil
}

// Receipt fetches the receipt of a decision, by the record number of its answer,
// and verifies it. With now the gateway anchors its log at once if the record is
// not under an anchored head yet; without, that is abi.CodeNotReady. The raw
// receipt proves the same to anyone who trusts the chain.
func (c *Client) Receipt(ctx context.Context, record uint64, now bool) (*proof.Proven, []byte, error) {
	var proven *proof.Proven
	raw, err := c.receipt(ctx, record, now)
	if err != nil {
		return nil, nil, err
	}
	r, err := proof.ParseReceipt(raw)
	if err == nil {
		proven, err = c.light.Receipt(r)
	}
	if err == nil && proven.Record.Number != record {
		err = fmt.Errorf("the receipt is of record %d: %w", proven.Record.Number, abi.CodeBadProof)
	}
	if err != nil {
		return nil, nil, malformed(err)
	}
	return proven, raw, nil
}

// receiptTries is how often a receipt is begun anew that changes between its
// parts: heads are anchored a minute apart.
const receiptTries = 3

var errChanged = errors.New("the receipt changed between its parts")

// receipt puts the parts together, all from one gateway: only the one that
// decided has the record.
func (c *Client) receipt(ctx context.Context, record uint64, now bool) (whole []byte, err error) {
	for range receiptTries {
		if whole, err = c.receiptOnce(ctx, record, now); !errors.Is(err, errChanged) {
			return whole, err
		}
	}
	return nil, err
}

func (c *Client) receiptOnce(ctx context.Context, record uint64, now bool) ([]byte, error) {
	var whole []byte
	var hash abi.Hash
	for {
		q := abi.ReceiptRequest{Record: record, Now: now && whole == nil, Offset: uint64(len(whole))}
		raw, err := c.do(ctx, abi.OpReceipt, abi.AppendReceiptRequest(nil, &q))
		if err != nil {
			return nil, err
		}
		p, err := abi.ParsePart(raw)
		if err != nil {
			return nil, malformed(err)
		}
		if whole != nil && p.Hash != hash {
			return nil, fmt.Errorf("%w: %w", abi.CodeBusy, errChanged)
		}
		hash, whole = p.Hash, append(whole, p.Bytes...)
		switch n := uint64(len(whole)); {
		case p.Total > proof.MaxReceipt || n > p.Total || len(p.Bytes) == 0:
			return nil, fmt.Errorf("%d of %d bytes of a receipt: %w", n, p.Total, abi.CodeMalformed)
		case n == p.Total && sha256.Sum256(whole) != hash:
			return nil, fmt.Errorf("the parts are not the receipt's: %w", abi.CodeHashMismatch)
		case n == p.Total:
			return whole, nil
		}
	}
}

// Evidence reads what was kept, sealed, of a stolen or quarantined device: for
// its owner and for authorities, whose key opens it (package abi/sealed). The
// items are the gateway's word; those under a number from first on are given.
func (c *Client) Evidence(ctx context.Context, device abi.Hash, first uint64) (abi.SealedPage, error) {
	body := cbor.AppendBytes(cbor.AppendUint(cbor.AppendMap(nil, 2), 1), device[:])
	body = cbor.AppendUint(cbor.AppendUint(body, 2), first)
	raw, err := c.do(ctx, abi.OpEvidence, body)
	if err != nil {
		return abi.SealedPage{}, err
	}
	p, err := abi.ParseSealedPage(raw)
	return p, malformed(err)
}
