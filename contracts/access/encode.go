package access

import (
	"crypto/sha256"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/cbor"
)

// Operations of the contract's execute.
const (
	opBegin = iota + 1
	opPutEntities
	opPutRules
	opActivate
	opAbandon
	opPutEntity
	opDeleteEntity
	opPutRule
	opDeleteRule
	opPutZone
	opDelegate
	opRevoke
	opSetAdmins
	opPutRoles
	opBreakGlass
	opAcknowledge
)

// message begins a message: [op, version, …] of n items.
func message(n int, op uint64, version uint32) []byte {
	return cbor.AppendUint(cbor.AppendUint(cbor.AppendArray(nil, n), op), uint64(version))
}

// Count is the number of entities and rules.
func (d *Document) Count() int { return len(d.Entities) + len(d.Rules) }

// Digest is what the contract's running digest is once the document is
// written: SHA-256 of [title, zones], with the roles behind where there are any,
// then for each entity and each rule SHA-256 of the digest so far and the item.
// It does not depend on how items are spread over messages.
func (d *Document) Digest() abi.Hash {
	digest := abi.Hash(sha256.Sum256(d.appendHead(cbor.AppendArray(nil, d.headItems()))))
	for i := range d.Entities {
		digest = sha256.Sum256(appendEntity(digest[:], &d.Entities[i]))
	}
	for i := range d.Rules {
		digest = sha256.Sum256(appendRule(digest[:], &d.Rules[i]))
	}
	return digest
}

// Messages returns the messages for execute that write the document under a
// version and make it the active one in place of base (0 when no policy is
// active). The version must be above the active one and unused.
func (d *Document) Messages(version, base uint32) [][]byte {
	list := [][]byte{d.appendHead(message(2+d.headItems(), opBegin, version))}
	entities := batch{op: opPutEntities, version: version, maxCost: maxEntities}
	for i := range d.Entities {
		list = entities.add(list, appendEntity(nil, &d.Entities[i]), 1)
	}
	list = entities.flush(list)
	rules := batch{op: opPutRules, version: version, maxCost: maxAppends}
	for i := range d.Rules {
		list = rules.add(list, appendRule(nil, &d.Rules[i]), len(d.Rules[i].Actions))
	}
	list = rules.flush(list)
	digest := d.Digest()
	activate := cbor.AppendUint(message(5, opActivate, version), uint64(base))
	activate = cbor.AppendUint(activate, uint64(d.Count()))
	return append(list, cbor.AppendBytes(activate, digest[:]))
}

// headItems is how many items appendHead appends: contracts from before roles
// know two.
func (d *Document) headItems() int {
	if len(d.Roles) > 0 {
		return 3
	}
	return 2
}

func (d *Document) appendHead(b []byte) []byte {
	b = appendZones(cbor.AppendText(b, d.Title), d.Zones)
	if len(d.Roles) > 0 {
		b = appendRoles(b, d.Roles)
	}
	return b
}

func appendRoles(b []byte, roles []Role) []byte {
	b = cbor.AppendArray(b, len(roles))
	for _, role := range roles {
		b = appendTexts(cbor.AppendText(cbor.AppendArray(b, 2), role.Name), role.Implies)
	}
	return b
}

// batch packs items into messages of bounded size and cost.
type batch struct {
	op      uint64
	version uint32
	maxCost int
	items   []byte
	n, cost int
}

// add takes an item, after the full message before it was added to the list.
func (b *batch) add(list [][]byte, item []byte, cost int) [][]byte {
	if len(b.items)+len(item) > maxMessage || b.cost+cost > b.maxCost {
		list = b.flush(list)
	}
	b.items, b.n, b.cost = append(b.items, item...), b.n+1, b.cost+cost
	return list
}

// flush adds the message of the items that were taken, if there are any.
func (b *batch) flush(list [][]byte) [][]byte {
	if b.n > 0 {
		list = append(list, append(cbor.AppendArray(message(3, b.op, b.version), b.n), b.items...))
		b.items, b.n, b.cost = nil, 0, 0
	}
	return list
}

// Abandon gives up a version that was begun and not activated.
func Abandon(version uint32) []byte { return message(2, opAbandon, version) }

// PutEntity writes one entity, new or not, into the active version.
func PutEntity(version uint32, e *Entity) []byte {
	return appendEntity(message(3, opPutEntity, version), e)
}

// DeleteEntity deletes one entity of the active version.
func DeleteEntity(version uint32, ref Ref) []byte {
	return appendRef(message(4, opDeleteEntity, version), ref)
}

// PutRule writes one rule, new or not, into the active version. A time zone
// that its hours name must be there: see PutZone.
func PutRule(version uint32, rule *Rule) []byte {
	return appendRule(message(3, opPutRule, version), rule)
}

// DeleteRule deletes one rule of the active version.
func DeleteRule(version uint32, id string) []byte {
	return cbor.AppendText(message(3, opDeleteRule, version), id)
}

// PutZone adds a time zone's table to the active version, or replaces it.
func PutZone(version uint32, z *Zone) []byte {
	return appendZone(message(3, opPutZone, version), z)
}

// PutRoles replaces the roles of the active version that imply others,
// ascending by name.
func PutRoles(version uint32, roles []Role) []byte {
	return appendRoles(message(3, opPutRoles, version), roles)
}

// BreakGlass asks by transaction for what a rule permits only so, and says why,
// in at most MaxReason bytes. A sender that is no enforcement point is the
// subject: of type device or account, with the account id in lower-case hex as
// its id.
func BreakGlass(request *abi.DecisionRequest, reason string) []byte {
	b := cbor.AppendUint(cbor.AppendArray(nil, 3), opBreakGlass)
	return cbor.AppendText(abi.AppendDecisionRequest(b, request), reason)
}

// Acknowledge says that an admin has seen an alarm; mend closes the glass at
// once. The admin is neither who broke it nor for whom.
func Acknowledge(alarm AlarmID, mend bool) []byte {
	b := cbor.AppendUint(cbor.AppendArray(nil, 3), opAcknowledge)
	return cbor.AppendBool(cbor.AppendBytes(b, alarm[:]), mend)
}

// Delegate lets subject do an action on a resource until a time in ms. The
// sender must be the resource's registered owner.
func Delegate(resource, subject Ref, action string, until int64) []byte {
	b := cbor.AppendUint(cbor.AppendArray(nil, 7), opDelegate)
	b = cbor.AppendText(appendRef(appendRef(b, resource), subject), action)
	return cbor.AppendInt(b, until)
}

// Revoke takes a delegation back.
func Revoke(resource, subject Ref, action string) []byte {
	b := cbor.AppendUint(cbor.AppendArray(nil, 6), opRevoke)
	return cbor.AppendText(appendRef(appendRef(b, resource), subject), action)
}

// SetAdmins names the accounts that administer beside the contract's owner,
// in place of those named before. Only the owner may send it.
func SetAdmins(admins []abi.Hash) []byte {
	return appendAdmins(cbor.AppendUint(cbor.AppendArray(nil, 2), opSetAdmins), admins)
}

// Init is the message for the contract's init that names its first admins.
func Init(admins []abi.Hash) []byte { return appendAdmins(nil, admins) }

func appendAdmins(b []byte, admins []abi.Hash) []byte {
	b = cbor.AppendArray(b, len(admins))
	for _, a := range admins {
		b = cbor.AppendBytes(b, a[:])
	}
	return b
}

func appendRef(b []byte, ref Ref) []byte {
	return cbor.AppendText(cbor.AppendText(b, ref.Type), ref.ID)
}

func appendTexts(b []byte, list []string) []byte {
	b = cbor.AppendArray(b, len(list))
	for _, s := range list {
		b = cbor.AppendText(b, s)
	}
	return b
}

func appendRelations(b []byte, list []Relation) []byte {
	b = cbor.AppendArray(b, len(list))
	for _, rel := range list {
		b = appendRef(cbor.AppendText(cbor.AppendArray(b, 3), rel.Name), rel.To)
	}
	return b
}

// pairs counts and collects the present fields of a record.
type pairs struct {
	n int
	b []byte
}

func (p *pairs) add(key uint64, present bool, value func([]byte) []byte) {
	if present {
		p.n++
		p.b = value(cbor.AppendUint(p.b, key))
	}
}

func (p *pairs) text(key uint64, s string) {
	p.add(key, s != "", func(b []byte) []byte { return cbor.AppendText(b, s) })
}

func (p *pairs) texts(key uint64, list []string) {
	p.add(key, len(list) > 0, func(b []byte) []byte { return appendTexts(b, list) })
}

func (p *pairs) relations(key uint64, list []Relation) {
	p.add(key, len(list) > 0, func(b []byte) []byte { return appendRelations(b, list) })
}

func (p *pairs) raw(key uint64, item []byte) {
	p.add(key, len(item) > 0, func(b []byte) []byte { return append(b, item...) })
}

func (p *pairs) appendTo(b []byte) []byte { return append(cbor.AppendMap(b, p.n), p.b...) }

// appendEntity appends [type, id, record].
func appendEntity(b []byte, e *Entity) []byte {
	return appendRecord(appendRef(cbor.AppendArray(b, 3), e.Ref), e)
}

func appendRecord(b []byte, e *Entity) []byte {
	var p pairs
	p.texts(1, e.Roles)
	p.raw(2, e.Properties)
	p.relations(3, e.Relations)
	p.text(4, e.Owner)
	return p.appendTo(b)
}

// appendRule appends [target, body].
func appendRule(b []byte, r *Rule) []byte {
	var p pairs
	p.text(1, r.ResourceType)
	p.texts(2, r.Actions)
	p.text(3, r.Description)
	return appendBody(p.appendTo(cbor.AppendArray(b, 2)), r)
}

func appendBody(b []byte, r *Rule) []byte {
	var p pairs
	p.text(1, r.ID)
	p.add(2, true, func(b []byte) []byte { return cbor.AppendBool(b, r.Permit) })
	p.texts(3, r.SubjectTypes)
	p.texts(4, r.SubjectIDs)
	p.texts(5, r.SubjectRoles)
	p.texts(6, r.ResourceIDs)
	along := r.Through != Through{}
	if !along {
		p.text(7, r.Relation)
		p.relations(8, r.Groups)
	}
	p.add(9, r.When != nil, func(b []byte) []byte { return appendCondition(b, r.When) })
	p.add(10, r.Hours != nil, func(b []byte) []byte { return appendHours(b, r.Hours) })
	p.text(11, r.Reason)
	p.raw(12, r.Obligations)
	p.add(13, r.TTL > 0, func(b []byte) []byte { return cbor.AppendUint(b, r.TTL) })
	p.add(14, r.MaxStaleness != nil, func(b []byte) []byte { return cbor.AppendUint(b, *r.MaxStaleness) })
	p.add(15, along && r.Relation != "", func(b []byte) []byte {
		b = cbor.AppendText(cbor.AppendArray(b, 3), r.Relation)
		return cbor.AppendText(cbor.AppendText(b, r.Through.Subject), r.Through.Resource)
	})
	p.add(16, along && len(r.Groups) > 0, func(b []byte) []byte {
		return appendRelations(cbor.AppendText(cbor.AppendArray(b, 2), r.Through.Subject), r.Groups)
	})
	p.add(17, r.BreakGlass > 0, func(b []byte) []byte { return cbor.AppendUint(b, r.BreakGlass) })
	return p.appendTo(b)
}

func appendHours(b []byte, h *Hours) []byte {
	b = cbor.AppendText(cbor.AppendArray(b, 4), h.Zone)
	b = cbor.AppendUint(b, uint64(h.Days))
	return cbor.AppendUint(cbor.AppendUint(b, uint64(h.From)), uint64(h.To))
}

func appendZones(b []byte, zones []Zone) []byte {
	b = cbor.AppendArray(b, len(zones))
	for i := range zones {
		b = appendZone(b, &zones[i])
	}
	return b
}

func appendZone(b []byte, z *Zone) []byte {
	b = cbor.AppendText(cbor.AppendArray(b, 3), z.Name)
	b = cbor.AppendArray(cbor.AppendInt(b, z.Until), 2*len(z.Steps))
	for _, s := range z.Steps {
		b = cbor.AppendInt(cbor.AppendInt(b, s.Start), s.Offset)
	}
	return b
}
