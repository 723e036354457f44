package main

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"weir/loader/api/wire"
)

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "status",
		Short:   "Show the daemon, the data plane, totals and warnings",
		Example: "  weir status\n  weir status -o json | jq .warnings",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.client().Status(cmd.Context())
			if err != nil {
				return err
			}
			return a.show(cmd, s, func(w io.Writer) { writeStatus(w, s) })
		},
	}
}

func writeStatus(w io.Writer, s wire.Status) {
	row(w, "daemon", fmt.Sprintf("weir %s, pid %d, up %s", s.Version, s.PID, age(s.Started)))
	row(w, "config", fmt.Sprintf("%s, loaded %s ago, %s, %s", s.ConfigFile, age(s.ConfigLoaded),
		plural(s.Services, "service"), plural(s.Backends, "backend")))
	writeDataPlane(w, s)
	t := s.Totals
	row(w, "traffic", fmt.Sprintf("%s packets, %s; replies %s packets, %s", count(t.Packets), size(t.Bytes), count(t.ReplyPackets), size(t.ReplyBytes)))
	row(w, "flows", fmt.Sprintf("%s active, %s assigned; table %s", count(t.Active), count(t.Flows), flowTable(s)))
	row(w, "verdicts", fmt.Sprintf("%s dropped, %s passed", count(t.Dropped), count(t.Passed)))
	for _, r := range s.Reasons {
		row(w, "", fmt.Sprintf("%s %s: %s", r.Verdict, r.Reason, count(r.Packets)))
	}
	for _, warning := range s.Warnings {
		row(w, "warning", warning)
	}
}

func writeDataPlane(w io.Writer, s wire.Status) {
	how := "created"
	if s.DataPlane.Adopted {
		how = "adopted"
	}
	var bytes uint64
	for _, m := range s.DataPlane.Maps {
		bytes += m.Bytes
	}
	row(w, "data plane", fmt.Sprintf("%s (%s), layout %d, %s, %s", s.DataPlane.PinDir, how, s.DataPlane.Layout,
		plural(len(s.DataPlane.Maps), "map"), size(bytes)))
	for _, x := range s.DataPlane.Attachments {
		row(w, "interface", fmt.Sprintf("%s, XDP %s, link %d, program %d", x.Interface, x.Mode, x.LinkID, x.ProgramID))
	}
}

func flowTable(s wire.Status) string {
	var used uint64
	for _, n := range s.Flows.ByState {
		used += n
	}
	text := fmt.Sprintf("%s of %s slots used", count(used), count(s.Flows.Slots))
	for _, state := range slices.Sorted(maps.Keys(s.Flows.ByState)) {
		if n := s.Flows.ByState[state]; n > 0 {
			text += fmt.Sprintf(", %s %s", count(n), state)
		}
	}
	return text
}
