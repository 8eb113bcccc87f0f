package abi

import (
	"math"

	"github.com/seed79541315/postern/abi/cbor"
)

// ALPN is the application protocol of the device port (QUIC, TLS 1.3).
const ALPN = "postern/1"

// Operation is what a request on the device port asks for.
type Operation uint64

// The operations, with the body of their requests and answers as maps.
//
//	hello     {1: height}                                       Hello: the gateway's account, with the steps after the height
//	decide    {1: domain, 2: DecisionRequest}                   Answer
//	batch     {1: domain, 2: [DecisionRequest …], 3: Semantics} [Answer …]
//	submit    {1: transaction (bytes), 2: wait (bool)}          TxResult
//	status    {}                                                NodeStatus
//	prove     {1: state key (bytes)}                            proof.Entry
//	query     {1: contract, 2: message (bytes)}                 {1: result (bytes), 2: height}; unproven
//	scan      {1: prefix, 2: start, 3: limit}                   {1: [[key, value] …], 2: more (bool), 3: height}; unproven
//	block     {1: height, 2: offset}                            {1: part (bytes), 2: total length}
//	tx        {1: transaction id}                               TxResult with 5: the transaction (bytes)
//	steps     {1: height}                                       Steps: changes of the validator set after the height
//	report    Report                                            Judgement
//	receipt   ReceiptRequest                                    Part of a proof.Receipt
//	subscribe Subscription                                      {1: height}, then EventFrames
//	evidence  {1: device id, 2: first number}                   SealedPage
//	search    Search                                            SearchPage; unproven
//
// The height of a hello may be absent, and so are then the steps. The domain may
// be empty: then it is DefaultDomain. A scan gives keys with the prefix that are
// not below start, as many as fit into a frame; the next page starts at the last
// key with a zero byte behind it. A stored block is larger than a frame: what is
// cut into parts is {1: block, 2: certificate, 3: outcomes} (bytes each), and a
// part is what follows the offset. An outcome too large for a frame is absent
// from a TxResult though its height is set; it stands in the block. A subscribe
// is the last request of its stream: its answer tells the height behind which
// events are sent, and they follow as responses with its id until the client
// ends the stream or a response with another code than OK ends them.
const (
	OpHello     Operation = 1
	OpDecide    Operation = 2
	OpBatch     Operation = 3
	OpSubmit    Operation = 4
	OpStatus    Operation = 5
	OpProve     Operation = 6
	OpQuery     Operation = 7
	OpScan      Operation = 8
	OpBlock     Operation = 9
	OpTx        Operation = 10
	OpSteps     Operation = 11
	OpReport    Operation = 12
	OpReceipt   Operation = 13
	OpSubscribe Operation = 14
	OpEvidence  Operation = 15
	OpSearch    Operation = 16
)

// EventHeartbeat is the longest time between two frames of a subscription, in
// ms: where nothing happens a mark is sent.
const EventHeartbeat = 15_000

// DefaultDomain is the policy domain that is asked when none is named.
const DefaultDomain = "default"

// Semantics of a batch (AuthZEN Authorization API 1.0 section 7.1.2.1).
type Semantics uint64

// The three semantics: answer every item; stop after the first denial; stop
// after the first permit. Stopping leaves the rest unanswered.
const (
	ExecuteAll Semantics = iota
	DenyOnFirstDeny
	PermitOnFirstPermit
)

// Request is a frame from a device: {1: id, 2: operation, 3: body}. The id
// comes back in the response; requests on one stream may be pipelined and are
// answered in order. Ids begin at 1: a response with id 0 answers a frame
// whose id could not be read, and is the last of its stream.
type Request struct {
	ID   uint64
	Op   Operation
	Body []byte // encoded item
}

// AppendRequest appends the encoding of q.
func AppendRequest(b []byte, q *Request) []byte {
	b = cbor.AppendMap(b, 3)
	b = cbor.AppendUint(cbor.AppendUint(b, 1), q.ID)
	b = cbor.AppendUint(cbor.AppendUint(b, 2), uint64(q.Op))
	return append(cbor.AppendUint(b, 3), q.Body...)
}

// ParseRequest reads a request; the body aliases b and is canonical CBOR.
func ParseRequest(b []byte) (Request, error) {
	var q Request
	r := cbor.NewReader(b)
	for f := r.Fields(); f.Next(); {
		switch f.Key() {
		case 1:
			q.ID = r.Uint()
		case 2:
			q.Op = Operation(r.Uint())
		case 3:
			q.Body = r.Raw()
		default:
			r.Fail(CodeMalformed)
		}
	}
	if err := r.Done(); err != nil {
		return Request{}, Malformed(err)
	}
	if q.ID == 0 || q.Op == 0 || q.Body == nil {
		return Request{}, CodeBadArgument
	}
	return q, nil
}

// Response is a frame to a device: {1: id, 2: code, 3: body, 4: the contract's
// own code}. The body is there only when the code is OK, the contract's own
// code when it is CodeAborted, and then always.
type Response struct {
	ID    uint64
	Code  Code
	Body  []byte // encoded item, nil when absent
	Abort uint16 // 0 unless Code is CodeAborted
}

// AppendResponse appends the encoding of p.
func AppendResponse(b []byte, p *Response) []byte {
	n := 2
	if p.Body != nil {
		n++
	}
	if p.Code == CodeAborted {
		n++
	}
	b = cbor.AppendMap(b, n)
	b = cbor.AppendUint(cbor.AppendUint(b, 1), p.ID)
	b = cbor.AppendUint(cbor.AppendUint(b, 2), uint64(p.Code))
	if p.Body != nil {
		b = append(cbor.AppendUint(b, 3), p.Body...)
	}
	if p.Code == CodeAborted {
		b = cbor.AppendUint(cbor.AppendUint(b, 4), uint64(p.Abort))
	}
	return b
}

// ParseResponse reads a response; the body aliases b and is canonical CBOR.
func ParseResponse(b []byte) (Response, error) {
	var p Response
	r := cbor.NewReader(b)
	seen, aborted := 0, false
	for f := r.Fields(); f.Next(); {
		seen++
		switch f.Key() {
		case 1:
			p.ID = r.Uint()
		case 2:
			p.Code = codeOf(&r)
		case 3:
			p.Body = r.Raw()
		case 4:
			seen--
			aborted = true
			p.Abort = uint16(uintUpTo(&r, math.MaxUint16))
		default:
			r.Fail(CodeMalformed)
		}
	}
	if err := r.Done(); err != nil {
		return Response{}, Malformed(err)
	}
	fields := seen - min(len(p.Body), 1)
	if fields != 2 || p.Code != OK && p.Body != nil || aborted != (p.Code == CodeAborted) {
		return Response{}, because(CodeMalformed, "fields of a response do not fit together")
	}
	return p, nil
}
