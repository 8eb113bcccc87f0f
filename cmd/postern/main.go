// Command postern runs a node of a Postern ledger, and is the tool of the
// people who use one: operators, developers of policy contracts and owners of
// devices.
//
// What a running node listens on:
//
//	quic  UDP, the device port: QUIC with mutual TLS 1.3, ALPN "postern/1".
//	      Length-prefixed CBOR requests: hello, decide, batch, submit,
//	      status, prove, query, scan, block, tx, steps (see package abi).
//	web   TCP, HTTPS: AuthZEN (/access/v1/evaluation, …/evaluations,
//	      /.well-known/authzen-configuration, and the same under
//	      /domains/NAME), /healthz, /readyz, /metrics.
//
// It writes nothing outside its home directory. Flags, the configuration file
// and the environment are read in this package only.
package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/seed79541315/postern/abi"
)

// version is set by the linker.
var version = "dev"

// Exit codes, documented in the help text of the program.
const (
	exitOK      = 0
	exitFailed  = 1 // the operation failed
	exitUsage   = 2 // the command line is wrong
	exitDenied  = 3 // decide: the answer is a denial
	exitRefused = 4 // the ledger or a check refused
	exitOffline = 5 // no node answers
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args))
}

func run(ctx context.Context, args []string) int {
	err := newApp().RunContext(ctx, nameLast(args))
	if err == nil {
		return exitOK
	}
	var quiet *quietExit
	if errors.As(err, &quiet) {
		return quiet.code
	}
	complain(os.Stderr, wantsJSON(args), err)
	return exitCodeOf(err)
}

// quietExit ends the program with a code after everything was printed.
type quietExit struct{ code int }

func (q *quietExit) Error() string { return fmt.Sprintf("exit %d", q.code) }

// usageError is a mistake on the command line.
type usageError struct{ msg string }

func (u *usageError) Error() string { return u.msg }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

func exitCodeOf(err error) int {
	var usage *usageError
	var offline *offlineError
	var code abi.Code
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &offline):
		return exitOffline
	case errors.As(err, &code):
		return exitRefused
	}
	return exitFailed
}

func newApp() *cli.App {
	app := &cli.App{
		Name:                 "postern",
		Usage:                "access control and device behaviour on a ledger, for gateways",
		Version:              version,
		HideVersion:          true,
		EnableBashCompletion: true,
		Description: `A node agrees with its peers on a ledger of devices and policies and answers
devices that ask "may I?". Try it:

   postern demo                      # the whole way, in 20 seconds
   postern dev                       # a chain of one node to play with
   postern dev --policy policy.json  # with your own policy
   postern scenario list             # what it is for: stories on real nodes

Exit codes: 0 done; 1 failed; 2 wrong command line; 3 decide answered with a
denial; 4 refused with a code of docs/errors.md; 5 no node answers.

With --json results are JSON, and a failure is one line of it on standard error:
{"error": {"code", "number", "abort", "message"}}. Code and number are those of
docs/errors.md, absent where the ledger and its checks refused nothing; abort is
the contract's own code, where it gave one.

Shell completion: source <(postern completion bash)`,
		Flags: []cli.Flag{jsonFlag},
		Commands: []*cli.Command{
			initCommand(), genesisCommand(), regenesisCommand(), startCommand(), backupCommand(), restoreCommand(), devCommand(), demoCommand(), scenarioCommand(), testnetCommand(), serviceCommand(), verifyCommand(),
			keyCommand(), accountCommand(), validatorCommand(), contractCommand(), policyCommand(), profileCommand(), custodyCommand(), shareCommand(), firmwareCommand(), recordsCommand(), deviceCommand(), manufacturerCommand(), blacklistCommand(), platformCommand(),
			decideCommand(), searchCommand(), eventsCommand(), webhookCommand(), spoolCommand(), tokenCommand(), txCommand(), blockCommand(), proveCommand(),
			logCommand(), receiptCommand(), explainCommand(), statusCommand(), completionCommand(), versionCommand(),
		},
		OnUsageError:   onUsageError,
		ExitErrHandler: func(*cli.Context, error) {},
		Action:         groupAction,
	}
	prepare(app.Commands)
	return app
}

// prepare gives every command what all have: mistakes on the command line are
// usage errors and print no page of help.
func prepare(commands []*cli.Command) {
	for _, c := range commands {
		c.OnUsageError = onUsageError
		if len(c.Subcommands) > 0 {
			c.Action = orGroup(c.Action)
			prepare(c.Subcommands)
			continue
		}
		c.HideHelpCommand = true // "help" is as good an argument as any, and --help is there
		c.Action = withArguments(c.ArgsUsage, c.Action)
	}
}

// withArguments refuses more arguments than a command's ArgsUsage names; "..."
// names any number. Flags stand before arguments: what looks like a flag behind
// one would otherwise be passed over in silence.
func withArguments(usage string, action cli.ActionFunc) cli.ActionFunc {
	most := len(strings.Fields(usage))
	if strings.Contains(usage, "...") {
		most = math.MaxInt
	}
	return func(c *cli.Context) error {
		for _, arg := range c.Args().Slice() {
			if strings.HasPrefix(arg, "-") && arg != "-" { // that is standard input
				return usagef("%s stands behind an argument; flags come first: %s [flags] %s", arg, c.Command.HelpName, usage)
			}
		}
		if c.NArg() > most {
			return usagef("unexpected argument %q; see %s --help", c.Args().Get(most), c.Command.HelpName)
		}
		return action(c)
	}
}

// example is the description of a command that its usage explains.
func example(calls string) string { return "Example:\n\n   " + calls }

// groupAction is what a command does that only groups others.
func groupAction(c *cli.Context) error {
	if c.NArg() > 0 {
		return usagef("there is no command %q; see %s --help", c.Args().First(), c.Command.HelpName)
	}
	return cli.ShowSubcommandHelp(c)
}

// orGroup is groupAction for a command that does something itself, too, when it
// is given no argument.
func orGroup(own cli.ActionFunc) cli.ActionFunc {
	return func(c *cli.Context) error {
		if own == nil || c.NArg() > 0 {
			return groupAction(c)
		}
		return own(c)
	}
}

// require says which of a command's flags is missing.
func require(c *cli.Context, flags ...string) error {
	for _, f := range flags {
		if c.String(f) == "" {
			return usagef("--%s is missing; see %s --help", f, c.Command.HelpName)
		}
	}
	return nil
}

func onUsageError(_ *cli.Context, err error, _ bool) error { return &usageError{err.Error()} }

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:  "version",
		Usage: "print the version of program, protocol and guest interface", Description: example("postern version --json"),
		Flags: []cli.Flag{jsonFlag},
		Action: func(c *cli.Context) error {
			v := versionInfo()
			return printer(c).show(v, "postern %s, protocol %d, guest interface %d, %s", v.Program, v.Protocol, v.ABI, v.Go)
		},
	}
}

// A lone "-" asks for a command's flags.
const bashCompletion = `_postern() {
  local cur words
  cur="${COMP_WORDS[COMP_CWORD]}"
  words=("${COMP_WORDS[@]:0:$COMP_CWORD}")
  [[ "$cur" == -* ]] && words+=("-")
  COMPREPLY=($(compgen -W "$("${words[@]}" --generate-bash-completion 2>/dev/null)" -- "$cur"))
}
complete -o bashdefault -o default -F _postern postern
`

const zshCompletion = `#compdef postern
_postern() {
  local -a asked opts
  asked=("${words[@]:0:$((CURRENT-1))}")
  [[ "${words[CURRENT]}" == -* ]] && asked+=("-")
  opts=("${(@f)$("${asked[@]}" --generate-bash-completion 2>/dev/null)}")
  _describe 'values' opts
}
compdef _postern postern
`

func completionCommand() *cli.Command {
	return &cli.Command{
		Name:        "completion",
		Usage:       "print the completion script of a shell",
		ArgsUsage:   "bash|zsh",
		Description: "Example:\n\n   source <(postern completion bash)",
		Action: func(c *cli.Context) error {
			scripts := map[string]string{"bash": bashCompletion, "zsh": zshCompletion}
			script, ok := scripts[c.Args().First()]
			if !ok {
				return usagef("name a shell: bash or zsh")
			}
			_, err := fmt.Fprint(c.App.Writer, script)
			return err
		},
	}
}
