package gateway

import (
	"time"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
)

// helloCost is what hello and steps take from the key's bucket: they are needed
// once a connection, and are the costly things that a stranger may ask for.
const helloCost = 16

// maxSteps is how many changes of the validator set an answer holds: 16 KiB
// with sixteen validators, little enough that a stranger needs no large slot.
const maxSteps = 8

func (st *stream) hello(body []byte, _ abi.Standing) ([]byte, abi.Code) {
	after, named := uint64(0), false
	code := parseBody(body, 0, func(key uint64, r *cbor.Reader) bool {
		after, named = r.Uint(), true
		return key == 1
	})
	if code != abi.OK {
		return nil, code
	}
	if !st.conn.account.take(time.Now(), helloCost-1) {
		return nil, abi.CodeRateLimited
	}
	config := &st.conn.server.config
	h := abi.Hello{Account: config.Account}
	var err error
	if h.Entry, err = config.Node.Prove(chain.AccountKey(h.Account)); err != nil {
		return nil, st.failed("hello", err)
	}
	if named {
		steps, err := st.stepsAfter(after, pageBytes-len(h.Entry))
		if err != nil {
			return nil, st.failed("hello", err)
		}
		h.Steps = steps.Steps
	}
	st.body = abi.AppendHello(st.body[:0], &h)
	return st.body, abi.OK
}

func (st *stream) steps(body []byte, _ abi.Standing) ([]byte, abi.Code) {
	after := uint64(0)
	code := parseBody(body, 1<<1, func(key uint64, r *cbor.Reader) bool {
		after = r.Uint()
		return key == 1
	})
	if code != abi.OK {
		return nil, code
	}
	if !st.conn.account.take(time.Now(), helloCost-1) {
		return nil, abi.CodeRateLimited
	}
	steps, err := st.stepsAfter(after, pageBytes)
	if err != nil {
		return nil, st.failed("steps", err)
	}
	if steps.More && len(steps.Steps) == 0 {
		return nil, abi.CodeTooLarge
	}
	st.body = abi.AppendSteps(st.body[:0], &steps)
	return st.body, abi.OK
}

// stepsAfter asks the Node for changes of the validator set above a height, and
// leaves out those that do not fit into size bytes.
func (st *stream) stepsAfter(after uint64, size int) (abi.Steps, error) {
	const head = 8 // more than the CBOR head of a step takes
	steps, more, err := st.conn.server.config.Node.Steps(after, maxSteps)
	if err != nil {
		return abi.Steps{}, err
	}
	for i, s := range steps {
		if size -= len(s) + head; size < 0 {
			return abi.Steps{Steps: steps[:i], More: true}, nil
		}
	}
	return abi.Steps{Steps: steps, More: more}, nil
}

func (st *stream) status(body []byte, standing abi.Standing) ([]byte, abi.Code) {
	if code := parseEmpty(body); code != abi.OK {
		return nil, code
	}
	status := st.conn.server.config.Node.Status()
	if standing.Known {
		status.Account, status.Device, status.Roles = &standing.Account, standing.Device, standing.Roles
		status.Isolated, status.Reason = standing.Isolated, standing.Reason
	}
	st.body = abi.AppendNodeStatus(st.body[:0], &status)
	return st.body, abi.OK
}
