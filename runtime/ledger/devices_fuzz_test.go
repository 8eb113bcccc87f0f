package ledger

import (
	"context"
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
	"github.com/seed79541315/postern/abi/chain"
)

// suspectWorld is a chain with a record of most kinds, about a quarantined device
// that its manufacturer has recalled.
func suspectWorld(t testing.TB) (w *world, device person) {
	t.Helper()
	w = newWorld(t, inhabited)
	w.must(operator, chain.OpManufacturer, vouching("Acme", acme, factory))
	w.must(operator, chain.OpPlatform, platformOf(harbour))
	w.upload(developer, judgeWasm)
	w.must(developer, chain.OpDeploy, &chain.Deploy{Name: "judge", Code: sha256.Sum256(judgeWasm)})
	w.tickOver()
	w.must(owner, chain.OpEnrol, w.proven("lock", owner, keyOfAll))
	w.plain("bare", owner)
	w.must(owner, chain.OpBindDevice, &chain.BindDevice{Device: person("lock").id(), Contracts: []string{"judge"}})
	w.must(owner, chain.OpDeviceStatus, set("lock", abi.StatusSuspended))
	w.want(w.says(gate1, abi.LevelQuarantine), abi.OK)
	w.must(owner, chain.OpDeviceStatus, set("lock", abi.StatusQuarantined))
	w.must(acme, chain.OpBlacklist, lists("lock", keyOfAll, true))
	w.must(acme, chain.OpBlacklist, lists("other", keyOfAll, true))
	w.must(gate1, chain.OpAnchor, w.log(gate1).grow(3, "").anchor(0))
	w.must(gate2, chain.OpWitness, &chain.Witness{Account: gate1.id(), Size: 5})
	return w, "lock"
}

// operation is what somebody sends.
type operation struct {
	by   person
	args argument
}

// deviceOperations are operations on suspectWorld, each of which succeeds.
func (w *world) deviceOperations(device person) map[chain.Op][]operation {
	w.t.Helper()
	hardware := chain.HardwareHash("Acme", []byte(keyOfAll))
	log, id := w.log(gate1).grow(5, ""), device.id()
	return map[chain.Op][]operation{
		chain.OpEnrol:        {{owner, w.proven("new", owner, "new board")}},
		chain.OpDeviceStatus: {{owner, set(device, abi.StatusStolen)}, {authority, set(device, abi.StatusActive)}},
		chain.OpManufacturer: {{acme, vouching("Acme", acme, factory)}},
		chain.OpOrigin:       {{nobody, &chain.ProveOrigin{Device: person("bare").id(), Origin: w.signOrigin(originOf("bare", "bare"), factory)}}},
		chain.OpTransfer:     {{owner, w.accepts(device, owner, other, 0)}},
		chain.OpBindDevice:   {{owner, &chain.BindDevice{Device: id}}, {owner, &chain.BindDevice{Device: id, Contracts: []string{"judge"}}}},
		chain.OpBlacklist:    {{acme, lists(device, keyOfAll, true)}, {acme, lists(device, "", false)}, {acme, lists("other", "more", true)}},
		chain.OpPlatform:     {{operator, platformOf(harbour)}},
		chain.OpImportBlacklist: {{nobody, w.list(harbour, chain.PlatformList{Platform: "harbour", Sequence: 1, Entries: []chain.ListEntry{
			{Manufacturer: "Acme", Serial: "serial of lock", Hardware: &hardware, Listed: true}, {Manufacturer: "Acme", Serial: "more", Hardware: &hardware, Listed: true}}})}},
		chain.OpAnchor:   {{gate1, log.anchor(3)}},
		chain.OpOffence:  {{nobody, &chain.Offence{Account: gate1.id(), First: log.note(gate1), Second: w.log(gate1).grow(5, "fork").note(gate1)}}},
		chain.OpWitness:  {{gate3, &chain.Witness{Account: gate1.id(), Size: 3}}},
		chain.OpVerdict:  {{gate2, judged(device, "judge", abi.LevelQuarantine)}},
		chain.OpEvidence: {{gate1, w.evidence(device, device, "judge", w.l.Head().Time+1000)}},
		chain.OpAlert:    {{gate1, &chain.Alert{Kind: "k", Count: 1, Device: &id}}},
		chain.OpSealed:   {{gate1, &chain.Sealed{Device: id, Owner: []byte("x"), Authorities: []chain.SealedCopy{{Account: police.id(), Text: []byte("y")}}}}},
	}
}

// A disk that fails at any read of an operation stops the block, and leads to no
// outcome: not "unknown device", and above all not "not on the blacklist".
func TestHostFaultInDeviceOperations(t *testing.T) {
	w, device := suspectWorld(t)
	for op, list := range w.deviceOperations(device) {
		for i, o := range list {
			w.failEachRead(fmt.Sprint(op, " ", i), w.tx(o.by, op, o.args))
		}
	}
}

// FuzzDevices sends anything as the arguments of an operation on devices,
// blacklists and logs, by whoever may do most. Whatever comes of it is an
// outcome; afterwards each hardware identity is counted as often as listings
// name it, and no device is let out of quarantine.
func FuzzDevices(f *testing.F) {
	w, device := suspectWorld(f)
	for op, list := range w.deviceOperations(device) {
		for _, a := range list {
			f.Add(uint8(op), a.args.Append(nil))
		}
	}
	f.Fuzz(func(t *testing.T, op uint8, args []byte) {
		if len(args) > 8<<10 || op < uint8(chain.OpManufacturer) {
			return
		}
		for _, by := range []person{owner, operator, acme, gate1} {
			raw, err := chain.SignTx(&chain.Body{Chain: w.l.ChainID(), Op: chain.Op(op), Args: args, ValidUntil: w.now + 60_000, Gas: 5_000_000}, by)
			if err != nil {
				return
			}
			if _, err := chain.ParseTx(raw); err != nil {
				return // the arguments are no map
			}
			k, err := w.l.Propose(context.Background(), w.now, [][]byte{raw})
			if err != nil {
				t.Fatal(err)
			}
			v, err := w.store.HeadView()
			if err != nil {
				t.Fatal(err)
			}
			s := newState(cold{v})
			s.top = w.l.executed.find(k).top
			checkListings(t, s)
			if d, _, err := load(s, chain.DeviceKey(device.id()), chain.ParseDevice); err != nil || d.Status < abi.StatusQuarantined {
				t.Errorf("the device is %v, %v", d.Status, err)
			}
			v.Release()
		}
	})
}

// checkListings compares the counts of hardware identities with the listings.
func checkListings(t testing.TB, s *state) {
	t.Helper()
	named, counted := map[abi.Hash]uint64{}, map[abi.Hash]uint64{}
	err := each(s, chain.BlacklistPrefix(), func(key, value []byte) (bool, error) {
		l, err := chain.ParseListing(value)
		if err != nil {
			return false, err
		}
		if string(key) != string(chain.BlacklistKey(l.Manufacturer, l.Serial)) || l.By == nil && len(l.Platforms) == 0 {
			t.Errorf("%x is %+v", key, l)
		}
		if l.Hardware != nil {
			named[*l.Hardware]++
		}
		return true, nil
	})
	if err == nil {
		err = each(s, []byte{'H'}, func(key, value []byte) (bool, error) {
			r := cbor.NewReader(value)
			counted[abi.Hash(key[1:])] = r.Uint()
			return true, r.Done()
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	for h, n := range named {
		if counted[h] != n {
			t.Errorf("%d listings name %x, %d are counted", n, h[:4], counted[h])
		}
	}
	if len(counted) != len(named) {
		t.Errorf("%d hardware identities are counted, %d named", len(counted), len(named))
	}
}

// Whoever lists and unlists whatever in whatever order, hardware is counted
// right and nothing is left when nobody lists anything.
func TestListingsInAnyOrder(t *testing.T) {
	w := deviceWorld(t)
	w.must(operator, chain.OpPlatform, platformOf(harbour))
	w.must(owner, chain.OpEnrol, w.proven("lock", owner, keyOfAll))
	boards := []string{"", keyOfAll, "board 2"}
	choice := uint64(1)
	next := func(n uint64) uint64 { // xorshift64 (Marsaglia, 2003)
		choice ^= choice << 13
		choice ^= choice >> 7
		choice ^= choice << 17
		return choice % n
	}
	sequence := uint64(0)
	imports := func(serial person, board string, listed bool) []byte {
		sequence++
		e := chain.ListEntry{Manufacturer: "Acme", Serial: "serial of " + string(serial), Listed: listed}
		if board != "" {
			h := chain.HardwareHash("Acme", []byte(board))
			e.Hardware = &h
		}
		return w.tx(nobody, chain.OpImportBlacklist, w.list(harbour, chain.PlatformList{Platform: "harbour", Sequence: sequence, Entries: []chain.ListEntry{e}}))
	}
	serials := []person{"lock", "second", "third"}
	for range 40 {
		var raws [][]byte
		for range 8 {
			serial, board, listed := serials[next(3)], boards[next(3)], next(2) == 0
			switch next(4) {
			case 0:
				raws = append(raws, imports(serial, board, listed))
			case 1:
				raws = append(raws, w.tx(owner, chain.OpBlacklist, lists("lock", "", listed)))
			case 2:
				raws = append(raws, w.tx(owner, chain.OpDeviceStatus, set("lock", []abi.Status{abi.StatusActive, abi.StatusStolen}[next(2)])))
			default:
				raws = append(raws, w.tx(acme, chain.OpBlacklist, lists(serial, board, listed)))
			}
		}
		w.block(raws...)
		v, err := w.store.HeadView()
		if err != nil {
			t.Fatal(err)
		}
		checkListings(t, newState(cold{v}))
		v.Release()
	}
	w.must(owner, chain.OpDeviceStatus, set("lock", abi.StatusActive))
	for _, serial := range serials {
		w.do(owner, chain.OpBlacklist, lists(serial, "", false))
		w.do(acme, chain.OpBlacklist, lists(serial, "", false))
		w.block(imports(serial, "", false))
	}
	w.wantCounts(0, 0)
}
