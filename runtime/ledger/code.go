package ledger

import (
	"crypto/sha256"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
)

// maxCode is the length of the longest code that a profile admits, in bytes.
func maxCode(p abi.Profile) uint64 {
	if p == abi.ProfileWide {
		return 4 << 20
	}
	return 256 << 10
}

// dropStep is how many chunks of an expired upload one timer deletes; it
// comes back for the rest.
const dropStep = 8

// chunksOf is the number of chunks of a code.
func chunksOf(length uint64) uint64 { return (length + abi.MaxChunk - 1) / abi.MaxChunk }

// upload declares code to come. Declaring an unfinished upload again changes
// nothing, so a developer's tool may just begin anew after a break.
func (r *running) upload(a *chain.Upload) error {
	if !r.sender.has(abi.RoleDeveloper) {
		return abi.CodeMissingRole
	}
	x := r.x
	if a.Length == 0 || a.Length > maxCode(x.params.Profile) {
		return abi.CodeTooLarge
	}
	if _, there, err := x.state.get(chain.CodeKey(a.Code)); err != nil || there {
		return refuseUnless(!there, abi.CodeCodeExists, err)
	}
	old, there, err := load(x.state, chain.UploadKey(r.sender.id, a.Code), chain.ParsePendingUpload)
	if err != nil || there {
		return refuseUnless(old.Length == a.Length, abi.CodeBadArgument, err)
	}
	unfinished := uint64(0)
	err = each(x.state, chain.UploadPrefix(r.sender.id), func(_, _ []byte) (bool, error) {
		unfinished++
		return unfinished < x.params.AccountUploads, nil
	})
	if err != nil || unfinished >= x.params.AccountUploads {
		return refuseUnless(false, abi.CodeTooManyUploads, err)
	}
	u := chain.PendingUpload{
		Length: a.Length, Expiry: x.header.Time + x.params.UploadTTL,
		Arrived: make([]byte, (chunksOf(a.Length)+7)/8),
	}
	if err := x.state.set(chain.UploadKey(r.sender.id, a.Code), u.Append(nil)); err != nil {
		return err
	}
	_, err = x.addTimer(u.Expiry, &chain.Timer{Kind: chain.TimerUpload, Account: r.sender.id, Code: a.Code})
	return err
}

// pending reads an upload of the sender that is not over.
func (r *running) pending(code abi.Hash) (chain.PendingUpload, error) {
	u, ok, err := load(r.x.state, chain.UploadKey(r.sender.id, code), chain.ParsePendingUpload)
	switch {
	case err != nil || !ok:
		return u, refuseUnless(ok, abi.CodeUnknownUpload, err)
	case r.x.header.Time >= u.Expiry:
		return u, abi.CodeUploadExpired
	}
	return u, nil
}

// chunk stores a part of an upload; one that came before is replaced.
func (r *running) chunk(a *chain.Chunk) error {
	if !r.sender.has(abi.RoleDeveloper) {
		return abi.CodeMissingRole
	}
	u, err := r.pending(a.Code)
	if err != nil {
		return err
	}
	n := chunksOf(u.Length)
	if a.Index >= n {
		return abi.CodeBadArgument
	}
	if want := min(abi.MaxChunk, u.Length-a.Index*abi.MaxChunk); uint64(len(a.Data)) != want {
		return abi.CodeBadArgument
	}
	s := r.x.state
	if err := s.set(chain.CodeChunkKey(a.Code, r.sender.id, a.Index), append([]byte{}, a.Data...)); err != nil {
		return err
	}
	arrived := append([]byte{}, u.Arrived...)
	arrived[a.Index/8] |= 1 << (a.Index % 8)
	u.Arrived = arrived
	return s.set(chain.UploadKey(r.sender.id, a.Code), u.Append(nil))
}

// deploy makes a contract of a code. It waits for its activation by a timer,
// also where the chain has no delay: then it is due at the next block.
func (r *running) deploy(a *chain.Deploy) error {
	if r.x.params.DeployApprovals > 0 {
		return abi.CodeNeedsApproval
	}
	return r.install(a)
}

// deployable refuses a deployment that the sender may not make. It gives the
// failed contract that had the name, if there was one.
func (r *running) deployable(a *chain.Deploy) (old chain.Contract, err error) {
	if !r.sender.has(abi.RoleDeveloper) {
		return old, abi.CodeMissingRole
	}
	if len(a.Init) > abi.MaxValue {
		return old, abi.CodeTooLarge
	}
	old, taken, err := load(r.x.state, chain.ContractKey(a.Name), chain.ParseContract)
	if taken && (old.Status != chain.ContractFailed || old.Owner != r.sender.id) {
		return old, abi.CodeContractExists
	}
	return old, err
}

// install is a deployment that the chain's parameters or the validators allow.
func (r *running) install(a *chain.Deploy) error {
	x := r.x
	old, err := r.deployable(a)
	if err != nil {
		return err
	}
	if err := r.needCode(a.Code); err != nil {
		return err
	}
	c := chain.Contract{
		Code: a.Code, Owner: r.sender.id, Status: chain.ContractPending,
		Height: x.header.Height, Note: a.Note, Versions: old.Versions,
	}
	if c.Activation, err = r.addVersion(a.Name, &c, a.Code, a.Init, a.Note); err != nil {
		return err
	}
	c.Version = c.Versions
	if err := x.state.set(chain.ContractKey(a.Name), c.Append(nil)); err != nil {
		return err
	}
	_, err = x.addTimer(c.Activation, &chain.Timer{Kind: chain.TimerActivate, Contract: a.Name, Message: a.Init, Account: r.sender.id})
	return err
}

// completeUpload makes a code of a complete upload. One that can never become
// a code, because its bytes have another hash or are no module that the chain
// admits, is dropped, and that stands.
func (r *running) completeUpload(code abi.Hash) error {
	u, err := r.pending(code)
	if err != nil {
		return err
	}
	for i := range chunksOf(u.Length) {
		if u.Arrived[i/8]&(1<<(i%8)) == 0 {
			return abi.CodeUploadIncomplete
		}
	}
	if err := r.spend(gasCodeByte * u.Length); err != nil {
		return err
	}
	x := r.x
	record := chain.Code{Length: u.Length, Uploader: r.sender.id, Height: x.header.Height}
	blob, err := assemble(x.state, code, &record)
	if err != nil {
		return err
	}
	if sha256.Sum256(blob) != code {
		return r.dropUpload(code, &u, abi.CodeHashMismatch)
	}
	if _, err := x.ledger.runtime.Admit(x.header.Protocol, blob); err != nil {
		reason, ok := refusal(err)
		if !ok {
			return &fault{err}
		}
		return r.dropUpload(code, &u, reason)
	}
	if err := x.state.delete(chain.UploadKey(r.sender.id, code)); err != nil {
		return err
	}
	return x.state.set(chain.CodeKey(code), record.Append(nil))
}

// dropUpload deletes an upload with its chunks and refuses with the code. Its
// timer finds nothing when it is due.
func (r *running) dropUpload(code abi.Hash, u *chain.PendingUpload, why abi.Code) error {
	for i := range chunksOf(u.Length) {
		if err := r.x.state.delete(chain.CodeChunkKey(code, r.sender.id, i)); err != nil {
			return err
		}
	}
	if err := r.x.state.delete(chain.UploadKey(r.sender.id, code)); err != nil {
		return err
	}
	return &settled{why}
}

// expireUpload deletes the first chunks of an upload whose time is over, and
// comes back for the rest. Where the upload was finished, or began anew, it
// has nothing to do.
func (x *execution) expireUpload(t *chain.Timer) error {
	key := chain.UploadKey(t.Account, t.Code)
	u, ok, err := load(x.state, key, chain.ParsePendingUpload)
	if err != nil || !ok || u.Expiry > x.header.Time {
		return err
	}
	left := dropStep
	for i := range chunksOf(u.Length) {
		if u.Arrived[i/8]&(1<<(i%8)) == 0 {
			continue
		}
		if left == 0 {
			if err := x.state.set(key, u.Append(nil)); err != nil {
				return err
			}
			_, err = x.addTimer(x.header.Time+1, t)
			return err
		}
		if err := x.state.delete(chain.CodeChunkKey(t.Code, t.Account, i)); err != nil {
			return err
		}
		u.Arrived = append([]byte{}, u.Arrived...)
		u.Arrived[i/8] &^= 1 << (i % 8)
		left--
	}
	return x.state.delete(key)
}

// assemble joins the chunks of a code.
func assemble(r reader, code abi.Hash, c *chain.Code) ([]byte, error) {
	blob := make([]byte, 0, c.Length)
	for i := range chunksOf(c.Length) {
		part, ok, err := r.get(chain.CodeChunkKey(code, c.Uploader, i))
		if err != nil || !ok {
			return nil, orFault(err, "chunk %d of code %x is missing", i, code)
		}
		blob = append(blob, part...)
	}
	return blob, nil
}

// loadCode reads the bytes of a code that is on the ledger.
func loadCode(r reader, code abi.Hash) ([]byte, error) {
	c, ok, err := load(r, chain.CodeKey(code), chain.ParseCode)
	if err != nil || !ok {
		return nil, orFault(err, "code %x is missing", code)
	}
	return assemble(r, code, &c)
}

func orFault(err error, format string, args ...any) error {
	if err != nil {
		return err
	}
	return faultf(format, args...)
}
