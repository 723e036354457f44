package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"weir/loader/api/client"
	"weir/loader/lb"
)

func (a *app) tailCommand() *cobra.Command {
	var filter client.EventFilter
	var limit int
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Follow flows, drops and changes as they happen",
		Long: `Shows events as they happen: new and closed flows (sampled), drops with their
reason, changes of weights, tables and the configuration. With -o json each
event is one line.`,
		Example: "  weir tail\n  weir tail --kind drop --reason no_backend\n  weir tail -o json --service web --count 100 | jq .backend",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 0 {
				return usagef("count %d is below 0", limit)
			}
			ctx, cancel := context.WithCancel(cmd.Context())
			defer cancel()
			go func() { awaitClosedOutput(); cancel() }()
			return a.tail(ctx, cmd.OutOrStdout(), filter, limit)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&filter.Service, "service", "", "only events of this service")
	flags.StringVar(&filter.Reason, "reason", "", "only events with this reason")
	flags.StringVar(&filter.Kind, "kind", "", "only events of this kind: flow-new, flow-closed, drop, table, backend, config, apply")
	flags.IntVar(&limit, "count", 0, "end after this many events; 0: never")
	must(cmd.RegisterFlagCompletionFunc("service", a.completeService))
	return cmd
}

func (a *app) tail(ctx context.Context, out io.Writer, f client.EventFilter, limit int) error {
	write := writeEvent
	if a.format.json {
		write = func(w io.Writer, e lb.Event) error { return json.NewEncoder(w).Encode(e) }
	}
	var failed error
	n := 0
	err := a.client().Events(ctx, f, func(e lb.Event) bool {
		failed = write(out, e)
		n++
		return failed == nil && n != limit
	})
	if failed != nil {
		return fmt.Errorf("writing events: %w", failed)
	}
	return err
}

// writeEvent writes a line such as
//
//	15:04:05.000 drop no_backend web 198.51.100.7:4242 -> 192.0.2.1:80/tcp 60 bytes on eth0
func writeEvent(w io.Writer, e lb.Event) error {
	words := []string{e.Time.Local().Format("15:04:05.000"), e.Kind}
	add := func(s string) {
		if s != "" {
			words = append(words, s)
		}
	}
	add(e.Reason)
	add(e.Service)
	add(addresses(e))
	if e.Backend != "" && e.Message == "" {
		add("backend " + e.Backend)
	}
	if e.Length > 0 {
		add(fmt.Sprintf("%d bytes", e.Length))
	}
	if e.Iface != "" {
		add("on " + e.Iface)
	}
	if e.Sampled > 1 && e.Message == "" {
		add(fmt.Sprintf("(one of %d)", e.Sampled))
	}
	add(e.Message)
	_, err := fmt.Fprintln(w, strings.Join(words, " "))
	return err
}

func addresses(e lb.Event) string {
	if !e.Src.IsValid() && !e.Dst.IsValid() {
		return e.VIP
	}
	text := e.Src.String() + " -> " + e.Dst.String()
	if e.Proto != "" {
		text += "/" + e.Proto
	}
	return text
}

// awaitClosedOutput returns when the reader of a pipe on stdout has gone, so
// that `weir tail | head -1` ends at once and not at the next event. It stays
// until the end of the process if stdout is no pipe.
func awaitClosedOutput() {
	for {
		fds := []unix.PollFd{{Fd: int32(os.Stdout.Fd())}}
		if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
			select {} // cannot be watched
		}
		if fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0 {
			return
		}
	}
}
