package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
)

func searchCommand() *cli.Command {
	return &cli.Command{
		Name:  "search",
		Usage: "ask who may do something, to what, and what may be done",
		Subcommands: []*cli.Command{
			{
				Name: "subject", Usage: "subjects of a type that may do an action on a resource",
				Description: `It asks as the enforcement point of --home. The policy's entities of the type
are looked through; what was found is decided when it is used.

Example:

   postern search subject --type user --action read --resource record:record-1
   postern search subject --type user --action write --resource record:record-2 --resource-properties '{"status":"archived"}'`,
				Flags: searchFlags(
					&cli.StringFlag{Name: "type", Usage: "the `TYPE` of subjects that are sought"},
					&cli.StringFlag{Name: "action", Usage: "what they want to do: `NAME`"},
					&cli.StringFlag{Name: "resource", Usage: "what it is done to: `TYPE:ID`"}),
				Action: func(c *cli.Context) error { return search(c, abi.SoughtSubjects, "type", "action", "resource") },
			},
			{
				Name: "resource", Usage: "resources of a type that a subject may do an action on",
				Description: `With --subject it asks as the enforcement point of --home; without, the holder
of --key asks for itself.

Example:

   postern search resource --type record --action read --subject user:alice
   postern search resource --type door --action open --key reader.key`,
				Flags: searchFlags(
					&cli.StringFlag{Name: "type", Usage: "the `TYPE` of resources that are sought"},
					&cli.StringFlag{Name: "action", Usage: "what is done to them: `NAME`"},
					&cli.StringFlag{Name: "subject", Usage: "who asks: `TYPE:ID` (default: the key's own account)"}),
				Action: func(c *cli.Context) error { return search(c, abi.SoughtResources, "type", "action") },
			},
			{
				Name: "action", Usage: "actions that a subject may do on a resource",
				Description: `Example:

   postern search action --subject user:alice --resource record:record-1
   postern search action --resource door:1 --key reader.key`,
				Flags: searchFlags(
					&cli.StringFlag{Name: "subject", Usage: "who asks: `TYPE:ID` (default: the key's own account)"},
					&cli.StringFlag{Name: "resource", Usage: "what it is done to: `TYPE:ID`"}),
				Action: func(c *cli.Context) error { return search(c, abi.SoughtActions, "resource") },
			},
		},
	}
}

func searchFlags(own ...cli.Flag) []cli.Flag {
	return withConnect(append(own,
		&cli.StringFlag{Name: "subject-properties", Usage: "the subject's properties, a `JSON` object"},
		&cli.StringFlag{Name: "resource-properties", Usage: "the resource's properties, a `JSON` object"},
		&cli.StringFlag{Name: "context", Usage: "what else the policy may look at, a `JSON` object"},
		&cli.StringFlag{Name: "domain", Value: abi.DefaultDomain, Usage: "the policy `DOMAIN` to ask"},
		&cli.UintFlag{Name: "limit", Usage: "stop after `N` results (default: all)"})...)
}

func search(c *cli.Context, what abi.Sought, required ...string) error {
	if err := require(c, required...); err != nil {
		return err
	}
	q, err := searchRequest(c, what)
	if err != nil {
		return err
	}
	keyFile := operatorKeyFile
	if q.Subject != nil {
		keyFile = enforcementKeyFile
	}
	cl, _, err := connect(c, keyFile)
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(c.Context, callTimeout)
	defer cancel()
	s := abi.Search{Domain: c.String("domain"), What: what, Request: abi.AppendDecisionRequest(nil, q)}
	found := foundOutput{Results: []foundResult{}}
	for limit := c.Uint("limit"); ; {
		if left := limit - uint(len(found.Results)); limit != 0 && left < abi.MaxSearchLimit {
			s.Limit = uint64(left)
		}
		page, err := cl.Search(ctx, &s)
		if err != nil {
			return err
		}
		found.add(what, c.String("type"), &page)
		if s.Token = page.Token; s.Token == nil || limit != 0 && uint(len(found.Results)) >= limit {
			return found.show(printer(c))
		}
	}
}

// searchRequest is what a search knows of the request.
func searchRequest(c *cli.Context, what abi.Sought) (q *abi.DecisionRequest, err error) {
	q = &abi.DecisionRequest{Action: abi.Action{Name: c.String("action")}}
	switch {
	case what == abi.SoughtSubjects:
		q.Subject = &abi.Entity{Type: c.String("type")}
	case c.IsSet("subject"):
		q.Subject = &abi.Entity{}
		q.Subject.Type, q.Subject.ID, err = typeAndID(c.String("subject"), "--subject")
	case c.IsSet("subject-properties"):
		err = usagef("--subject-properties goes with --subject: of a key that asks for itself the ledger knows the properties")
	}
	if err != nil {
		return nil, err
	}
	if what == abi.SoughtResources {
		q.Resource.Type = c.String("type")
	} else if q.Resource.Type, q.Resource.ID, err = typeAndID(c.String("resource"), "--resource"); err != nil {
		return nil, err
	}
	if q.Subject != nil {
		if q.Subject.Properties, err = jsonObject(c, "subject-properties"); err != nil {
			return nil, err
		}
	}
	if q.Resource.Properties, err = jsonObject(c, "resource-properties"); err != nil {
		return nil, err
	}
	q.Context, err = jsonObject(c, "context")
	return q, err
}

type foundOutput struct {
	Results []foundResult `json:"results"`
	Height  uint64        `json:"height"` // of the last page's state
}

// foundResult has a type and an id, or for an action a name.
type foundResult struct {
	Type string `json:"type,omitempty"`
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
}

func (f *foundOutput) add(what abi.Sought, kind string, page *abi.SearchPage) {
	for _, name := range page.Found {
		if what == abi.SoughtActions {
			f.Results = append(f.Results, foundResult{Name: name})
		} else {
			f.Results = append(f.Results, foundResult{Type: kind, ID: name})
		}
	}
	f.Height = page.Height
}

func (f *foundOutput) show(out output) error {
	heading, lines := "ID", make([]string, 0, len(f.Results))
	for _, r := range f.Results {
		if r.Name != "" {
			heading = "ACTION"
		}
		lines = append(lines, r.ID+r.Name)
	}
	if out.json {
		return out.show(f, "")
	}
	if len(lines) == 0 {
		return out.show(f, "nothing was found")
	}
	return out.table(nil, heading, lines)
}
