package consensus

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"unicode"
	"unicode/utf8"
)

// levelTrace is below debug, which is for whoever writes contracts: "debug-4".
const levelTrace = slog.LevelDebug - 4

// logger gives SmartBFT its log, lower than it thinks of itself: its Info is
// several lines a block. Its Panicf ends the engine, not the process:
// the goroutine ends with its deferred functions, and Run returns the error.
type logger struct {
	log  *slog.Logger
	fail func(error)
}

func (l *logger) printf(level slog.Level, format string, args []any) {
	if l.log.Enabled(context.Background(), level) {
		text := fmt.Sprintf(format, args...)
		l.log.Log(context.Background(), level, printable(text[:min(len(text), maxText)]))
	}
}

// printable puts a mark in place of what is no text: SmartBFT prints digests,
// metadata and whole messages as they are.
func printable(text string) string {
	var b strings.Builder
	binary := false
	for _, r := range text {
		was := binary
		if binary = r == utf8.RuneError || !unicode.IsPrint(r); !binary {
			b.WriteRune(r)
		} else if !was {
			b.WriteRune('…')
		}
	}
	return b.String()
}

// maxText is how much of a message is logged: some name whole blocks.
const maxText = 300

func (l *logger) Debugf(string, ...any)             {} // every step of every message
func (l *logger) Infof(format string, args ...any)  { l.printf(levelTrace, format, args) }
func (l *logger) Warnf(format string, args ...any)  { l.printf(slog.LevelInfo, format, args) }
func (l *logger) Errorf(format string, args ...any) { l.printf(slog.LevelError, format, args) }

func (l *logger) Panicf(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	if format == overtaken {
		err = fmt.Errorf("%w: %w", err, errAnew)
	}
	l.fail(err)
	runtime.Goexit()
}

// overtaken is what SmartBFT says of a new view that was right when it came,
// and waited for a sync that has brought the ledger beyond what was in flight.
const overtaken = "Node %d got an in flight proposal with sequence %d while its last decision was on sequence %d"
