package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"weir/loader/api/client"
	"weir/loader/lb"
	"weir/loader/pcapng"
)

// captureOptions are the flags of weir capture.
type captureOptions struct {
	filter   client.CaptureFilter
	file     string
	count    int
	duration time.Duration
}

func (a *app) captureCommand() *cobra.Command {
	var o captureOptions
	cmd := &cobra.Command{
		Use:   "capture",
		Short: "Capture packets as XDP saw them and as it sent them",
		Long: `Writes packets for services, as they came in and as they left, in pcapng to a
file or to standard output: tcpdump on this host does not see what XDP sends.
Each packet's comment says what became of it and why, and its direction is in its
flags. With -o json each packet is one line. It ends after --count packets, after
--duration, or when interrupted; what was lost is said then. One capture can run
at a time, and takes some 30,000 packets a second and CPU.`,
		Example: "  weir capture -w out.pcapng --service web --count 100\n  weir capture --reason no_backend,acl --duration 10s | tcpdump -n -r -\n  weir capture --backend 10.0.0.11:80 -o json | jq .reason",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.checkCapture(o); err != nil {
				return err
			}
			return a.capture(cmd, o)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.file, "write", "w", "", "file to write to; -: standard output")
	flags.StringVar(&o.filter.Service, "service", "", "only packets of this service")
	flags.StringVar(&o.filter.Backend, "backend", "", "only packets to or from this backend, ADDRESS:PORT, or ADDRESS if it has no port")
	flags.StringSliceVar(&o.filter.Reasons, "reason", nil, "only packets with one of these reasons, as weir status names them")
	flags.BoolVar(&o.filter.All, "all", false, "also packets for no service")
	flags.IntVar(&o.filter.SnapLen, "snaplen", 0, "bytes of each frame; 0: all")
	flags.IntVar(&o.count, "count", 0, "end after this many packets; 0: never")
	flags.DurationVar(&o.duration, "duration", 0, "end after this time; 0: never")
	must(cmd.RegisterFlagCompletionFunc("service", a.completeService))
	return cmd
}

func (a *app) checkCapture(o captureOptions) error {
	switch {
	case o.count < 0:
		return usagef("count %d is below 0", o.count)
	case o.duration < 0:
		return usagef("duration %s is below 0", o.duration)
	case o.filter.SnapLen < 0 || o.filter.SnapLen > lb.MaxSnapLen:
		return usagef("snaplen %d is not in 0..%d", o.filter.SnapLen, lb.MaxSnapLen)
	case o.filter.All && (o.filter.Service != "" || o.filter.Backend != "" || o.filter.Reasons != nil):
		return usagef("--all does not go with --service, --backend or --reason")
	case o.file == "" && !a.format.json && isTerminal(os.Stdout):
		return usagef("packets are no text for a terminal: name a file with -w, pipe them to `tcpdump -n -r -`, or use -o json")
	}
	return nil
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

func (a *app) capture(cmd *cobra.Command, o captureOptions) error {
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	if o.duration > 0 {
		ctx, cancel = context.WithTimeout(ctx, o.duration)
		defer cancel()
	}
	out := &sink{options: o, json: a.format.json, stdout: cmd.OutOrStdout()}
	if o.file == "" || o.file == "-" {
		go func() { awaitClosedOutput(); cancel() }()
	}
	var packets, lost uint64
	var failed error
	err := a.client().Capture(ctx, o.filter, func(p lb.Captured) bool {
		lost += p.Lost
		if p.Verdict == "" {
			return true
		}
		packets++
		failed = out.write(p)
		return failed == nil && (o.count == 0 || packets < uint64(o.count))
	})
	var refused *client.AnswerError
	if !errors.As(err, &refused) {
		failed = errors.Join(failed, out.close())
		fmt.Fprintf(cmd.ErrOrStderr(), "%s captured, %d lost\n", plural(int(packets), "packet"), lost)
	}
	return errors.Join(failed, err)
}

// sink takes packets. Its file is opened by the first, so that a capture that is
// refused leaves an older file alone.
type sink struct {
	options captureOptions
	json    bool
	stdout  io.Writer

	file *os.File
	put  func(lb.Captured) error
}

func (s *sink) write(p lb.Captured) error {
	if err := s.open(); err != nil {
		return err
	}
	return s.put(p)
}

func (s *sink) open() (err error) {
	if s.put != nil {
		return nil
	}
	out := s.stdout
	if name := s.options.file; name != "" && name != "-" {
		if s.file, err = os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600); err != nil {
			return err
		}
		out = s.file
	}
	if s.json {
		enc := json.NewEncoder(out)
		s.put = func(p lb.Captured) error { return enc.Encode(p) }
		return nil
	}
	snaplen := s.options.filter.SnapLen
	if snaplen == 0 {
		snaplen = lb.MaxSnapLen
	}
	w, err := pcapng.NewWriter(out, "weir "+version, uint32(snaplen))
	s.put = func(p lb.Captured) error { return writeCaptured(w, p) }
	return err
}

// close leaves a whole file, also if there was no packet.
func (s *sink) close() error {
	err := s.open()
	if s.file != nil {
		err = errors.Join(err, s.file.Close())
	}
	return err
}

// verdicts are enum xdp_action of linux/bpf.h.
var verdicts = map[string]uint64{"aborted": 0, "drop": 1, "pass": 2, "tx": 3, "redirect": 4}

// writeCaptured writes a packet as it came in and, if it left, as that.
func writeCaptured(w *pcapng.Writer, p lb.Captured) error {
	comment := captureComment(p)
	err := w.Write(pcapng.Packet{
		Time: p.Time, Interface: p.In.Interface, Direction: pcapng.Inbound, Length: p.In.Length, Data: p.In.Data,
		Verdict: verdicts[p.Verdict], Comment: comment,
	})
	if err != nil || p.Out == nil {
		return err
	}
	if p.Verdict == "pass" {
		comment += ", as handed on to this host"
	}
	return w.Write(pcapng.Packet{
		Time: p.Time, Interface: p.Out.Interface, Direction: pcapng.Outbound, Length: p.Out.Length, Data: p.Out.Data,
		Verdict: verdicts[p.Verdict], Comment: comment,
	})
}

// captureComment is such as "drop no_backend, service web 192.0.2.1:80/tcp".
func captureComment(p lb.Captured) string {
	parts := []string{strings.TrimSpace(p.Verdict + " " + p.Reason)}
	if p.VIP != nil {
		parts = append(parts, strings.Join(strings.Fields("service "+p.Service+" "+p.VIP.String()), " "))
	}
	if p.Backend.IsValid() {
		parts = append(parts, "backend "+p.Backend.String())
	}
	if p.Lost > 0 {
		parts = append(parts, fmt.Sprintf("%d lost before", p.Lost))
	}
	return strings.Join(parts, ", ")
}
