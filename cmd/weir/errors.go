package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"weir/loader/api/client"
)

// Exit codes.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130 // 128 + SIGINT, as shells have it
)

// usageError is a command line that was parsed but makes no sense.
type usageError struct{ text string }

func (u *usageError) Error() string { return u.text }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// report writes an error of a command for people and returns the exit code.
func (a *app) report(w io.Writer, command string, err error, interrupted bool) int {
	if err == nil {
		return 0
	}
	if interrupted && errors.Is(err, context.Canceled) {
		fmt.Fprintln(w, "weir: interrupted")
		return exitInterrupted
	}
	var usage *usageError
	if !a.started || errors.As(err, &usage) {
		fmt.Fprintf(w, "weir: %s; see %s --help\n", strings.ReplaceAll(err.Error(), "\n", " "), command)
		return exitUsage
	}
	for line := range strings.Lines(explain(err)) {
		fmt.Fprintln(w, "weir:", strings.TrimSuffix(line, "\n"))
	}
	return exitFailed
}

func explain(err error) string {
	var none *client.NoDaemonError
	if errors.As(err, &none) {
		return none.Error() + ": start one with `weir run -c FILE`, or name its socket with --socket"
	}
	return err.Error()
}
