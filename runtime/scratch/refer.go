package scratch

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/seed79541315/postern/abi/chain"
)

// reference is what stands for ${name}.
func (p *Player) reference(name string) (string, error) {
	if value, ok := p.vars[name]; ok {
		return value, nil
	}
	if rest, ok := strings.CutPrefix(name, "now"); ok && (rest == "" || rest[0] == '+' || rest[0] == '-') {
		return p.moment(rest)
	}
	if rest, ok := strings.CutPrefix(name, "hour"); ok && (rest == "" || rest[0] == '+' || rest[0] == '-') {
		return p.hour(rest)
	}
	if name == "chain" {
		id := p.World.Chain()
		return hex.EncodeToString(id[:]), nil
	}
	if contract, ok := strings.CutPrefix(name, "@"); ok {
		return p.World.Unique(p.contract(contract)), nil
	}
	who, what, _ := strings.Cut(name, ".")
	switch what {
	case "file":
		return p.World.File(who)
	case "serial":
		return p.World.Unique(who), nil
	}
	k, err := p.World.Key(who)
	if err != nil {
		return "", err
	}
	switch what {
	case "":
		id := chain.AccountID(k.Public())
		return hex.EncodeToString(id[:]), nil
	case "key":
		return hex.EncodeToString(k.Public()), nil
	}
	return "", fmt.Errorf("%q is nothing that a person has: key, file or serial", what)
}

// moment is a time in ms so long after the world's clock, or before it.
func (p *Player) moment(offset string) (string, error) {
	at, err := p.after(offset)
	return strconv.FormatInt(at.UnixMilli(), 10), err
}

// hour is the hour in UTC of a time so long after the world's clock, as policies
// write hours.
func (p *Player) hour(offset string) (string, error) {
	at, err := p.after(offset)
	return at.Format("15") + ":00", err
}

func (p *Player) after(offset string) (time.Time, error) {
	now := time.UnixMilli(p.World.Now()).UTC()
	if offset == "" {
		return now, nil
	}
	d, err := time.ParseDuration(offset)
	if err != nil {
		return now, fmt.Errorf("%q is no duration, such as 90s, 15m or 1h30m", offset)
	}
	return now.Add(d), nil
}
