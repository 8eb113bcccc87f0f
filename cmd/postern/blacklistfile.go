package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
	"github.com/seed79541315/postern/abi/chain"
	"github.com/seed79541315/postern/sdk/client"
	"github.com/seed79541315/postern/sdk/key"
)

// listsFile is a platform's signed lists, as they go to others. Each is one
// chain.PlatformList in its envelope.
type listsFile struct {
	Platform string   `json:"platform"`
	Lists    [][]byte `json:"lists"`
}

func blacklistExportCommand() *cli.Command {
	return &cli.Command{
		Name: "export", Usage: "sign what this chain lists, for other platforms to take in",
		Description: `What other platforms list is not passed on. With the file of the last export as
--since, only what has changed is signed, serials that are listed no more among
it, and the new file holds the former's lists as well: whoever takes it in is
complete, and passes over what is known.

Examples:

   postern blacklist export --platform north --signing-key platform.key > list.json
   postern blacklist export --platform north --signing-key platform.key --since list.json > next.json`,
		Flags: withConnect(
			&cli.StringFlag{Name: "platform", Usage: "the `NAME` under which others have registered this chain (required)"},
			&cli.StringFlag{Name: "signing-key", Usage: "key `FILE` that others have registered for it (required)"},
			&cli.StringFlag{Name: "since", Usage: "the last export's `FILE`, which this one continues"},
		),
		Action: blacklistExport,
	}
}

func blacklistExport(c *cli.Context) error {
	if err := require(c, "platform", "signing-key"); err != nil {
		return err
	}
	signer, err := key.Load(c.String("signing-key"))
	if err != nil {
		return err
	}
	told, err := readTold(c.String("since"), c.String("platform"))
	if err != nil {
		return err
	}
	return onNodeWithin(c, changeTimeout, func(ctx context.Context, cl *client.Client) error {
		entries, err := entriesToTell(ctx, cl, told)
		if err != nil {
			return err
		}
		// Sequences ascend from export to export, whatever the clock does.
		sequence := max(uint64(time.Now().UnixMilli()), told.sequence+1)
		f := listsFile{Platform: c.String("platform"), Lists: told.lists}
		for part := range slices.Chunk(entries, chain.MaxListEntries) {
			raw, err := signList(&chain.PlatformList{Platform: f.Platform, Sequence: sequence, Time: time.Now().UnixMilli(), Entries: part}, signer)
			if err != nil {
				return err
			}
			f.Lists = append(f.Lists, raw)
			sequence++
		}
		progressTo(os.Stderr, "%s changed, %s in all", many(len(entries), "serial"), many(len(f.Lists), "list"))
		return printFile(c, f)
	})
}

// signList signs a list that other chains admit.
func signList(l *chain.PlatformList, by *key.Key) ([]byte, error) {
	if _, err := chain.ParsePlatformList(l.Append(nil)); err != nil {
		return nil, err
	}
	return chain.SignPlatformList(l, by)
}

// toldBefore is what the exports said so far.
type toldBefore struct {
	lists    [][]byte
	entries  map[abi.Hash]chain.ListEntry // by SerialHash: those that are listed by them
	sequence uint64                       // of the last
}

func readTold(file, platform string) (toldBefore, error) {
	t := toldBefore{lists: [][]byte{}, entries: map[abi.Hash]chain.ListEntry{}}
	if file == "" {
		return t, nil
	}
	lists, err := readLists(file)
	if err != nil {
		return t, err
	}
	t.lists = lists.Lists
	for _, raw := range lists.Lists {
		l, err := chain.OpenPlatformList(raw)
		if err != nil {
			return t, fmt.Errorf("%s: %w", file, err)
		}
		if l.Platform != platform {
			return t, usagef("%s is of the platform %s", file, l.Platform)
		}
		t.sequence = max(t.sequence, l.Sequence)
		for _, e := range l.Entries {
			if id := chain.SerialHash(e.Manufacturer, e.Serial); e.Listed {
				t.entries[id] = e
			} else {
				delete(t.entries, id)
			}
		}
	}
	return t, nil
}

// entriesToTell are the serials that this chain lists itself, each with its
// proof checked, and those that it told of before and lists no more.
func entriesToTell(ctx context.Context, cl *client.Client, told toldBefore) (entries []chain.ListEntry, err error) {
	listed := map[abi.Hash]bool{}
	err = scanAll(ctx, cl, chain.BlacklistPrefix(), func(key, _ []byte) error {
		e, err := cl.Get(ctx, key)
		if err != nil || !e.Present {
			return err
		}
		l, err := chain.ParseListing(e.Value)
		if err != nil || l.By == nil {
			return err
		}
		id := chain.SerialHash(l.Manufacturer, l.Serial)
		listed[id] = true
		entry := chain.ListEntry{Manufacturer: l.Manufacturer, Serial: l.Serial, Hardware: l.Hardware, Listed: true, Reason: l.Reason}
		if before, ok := told.entries[id]; !ok || !sameEntry(&before, &entry) {
			entries = append(entries, entry)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for id, e := range told.entries {
		if !listed[id] {
			entries = append(entries, chain.ListEntry{Manufacturer: e.Manufacturer, Serial: e.Serial})
		}
	}
	slices.SortFunc(entries, func(a, b chain.ListEntry) int {
		return cmp.Or(cmp.Compare(a.Manufacturer, b.Manufacturer), cmp.Compare(a.Serial, b.Serial))
	})
	return entries, nil
}

func sameEntry(a, b *chain.ListEntry) bool {
	if (a.Hardware == nil) != (b.Hardware == nil) || a.Hardware != nil && *a.Hardware != *b.Hardware {
		return false
	}
	return a.Manufacturer == b.Manufacturer && a.Serial == b.Serial && a.Listed == b.Listed && a.Reason == b.Reason
}

func readLists(file string) (f listsFile, err error) {
	text, err := readBounded(file, maxLists)
	if err != nil {
		return f, err
	}
	if err := json.Unmarshal(text, &f); err != nil {
		return f, fmt.Errorf("%s is no list of a platform: %w", file, err)
	}
	return f, nil
}

// maxLists bounds a file of lists, in bytes: 100,000 serials.
const maxLists = 64 << 20

func blacklistImport(c *cli.Context) error {
	if c.NArg() != 1 {
		return usagef("name the file with the platform's list")
	}
	f, err := readLists(c.Args().First())
	if err != nil {
		return err
	}
	return onNodeWithin(c, changeTimeout, func(ctx context.Context, cl *client.Client) error {
		v := struct {
			Platform string `json:"platform"`
			Taken    int    `json:"entries_taken_in"`
			Old      int    `json:"lists_known"`
			Height   uint64 `json:"height,omitempty"`
		}{Platform: f.Platform}
		for i, raw := range f.Lists {
			l, err := chain.OpenPlatformList(raw)
			if err != nil {
				return fmt.Errorf("list %d: %w", i+1, err)
			}
			v.Platform = l.Platform
			known, err := listIsKnown(ctx, cl, &l)
			if err != nil {
				return err
			}
			if known {
				v.Old++
				continue
			}
			res, err := transact(ctx, cl, chain.OpImportBlacklist, &chain.ImportBlacklist{List: raw})
			if errors.Is(err, abi.CodeOldList) {
				v.Old++
				continue
			}
			if err != nil {
				return fmt.Errorf("list %d of %d: %w", i+1, len(f.Lists), err)
			}
			v.Taken += len(l.Entries)
			v.Height = res.Height
		}
		return printer(c).show(v, "%s: %d entries taken in, %d lists were known already", v.Platform, v.Taken, v.Old)
	})
}

// listIsKnown says whether the ledger has this list, or a newer one, of its
// platform: to submit it again would only cost gas.
func listIsKnown(ctx context.Context, cl *client.Client, l *chain.PlatformList) (bool, error) {
	e, err := cl.Get(ctx, chain.PlatformKey(l.Platform))
	if isCode(err, abi.CodeNotReady) {
		return false, nil
	}
	if err != nil || !e.Present {
		return false, err
	}
	p, err := chain.ParsePlatform(e.Value)
	return l.Sequence <= p.Sequence, err
}
