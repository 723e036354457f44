package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"weir/loader/api/client"
	"weir/loader/config"
	"weir/loader/doctor"
)

const defaultConfigFile = "/etc/weir/weir.yaml"

// examined is what doctor answers.
type examined struct {
	OK       bool             `json:"ok"` // no errors
	Errors   int              `json:"errors"`
	Warnings int              `json:"warnings"`
	Findings []doctor.Finding `json:"findings"`
}

func (a *app) doctorCommand() *cobra.Command {
	var file string
	var verbose bool
	cmd := &cobra.Command{
		Use:   "doctor [-c FILE]",
		Short: "Examine this node and say what to mend, and how",
		Long: `Examines the kernel, interfaces and their drivers, sysctls, pins, neighbours,
VIPs, services and limits. Each finding comes with a command that mends it. The
configuration is FILE, else the daemon's, else ` + defaultConfigFile + `. Nothing is
changed; each VIP is asked for with two ARP or neighbour discovery packets. The
exit code is 1 if there are errors, which cost traffic; warnings do not count.`,
		Example: "  weir doctor\n  weir doctor -c /etc/weir/weir.yaml --verbose\n  weir doctor -o json | jq '.findings[] | select(.severity == \"error\")'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if os.Geteuid() != 0 {
				return errors.New("doctor needs root, to read pins and to ask the network: run it with sudo")
			}
			s, err := a.subject(cmd.Context(), file, cmd.Flags().Changed("socket"))
			if err != nil {
				return err
			}
			return a.showFindings(cmd, doctor.Examine(cmd.Context(), s, a.kernel.host()), verbose)
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "configuration file")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "show what is fine, too")
	must(cmd.MarkFlagFilename("config", "yaml", "yml"))
	return cmd
}

// subject finds out what is to be examined. A configuration that is named
// tells the socket, unless that is named, too.
func (a *app) subject(ctx context.Context, file string, socketNamed bool) (doctor.Subject, error) {
	s := doctor.Subject{ConfigFile: file, Socket: a.socket}
	if file != "" {
		load(&s)
	}
	if s.Config != nil && !socketNamed && os.Getenv("WEIR_SOCKET") == "" {
		s.Socket = s.Config.Socket
	}
	var err error
	if s.Daemon, err = askDaemon(ctx, client.New(s.Socket)); err != nil {
		return s, err
	}
	if file == "" {
		s.ConfigFile = configOf(s.Daemon)
		if s.ConfigFile != "" {
			load(&s)
		}
	}
	return s, nil
}

func load(s *doctor.Subject) {
	c, err := config.Load(s.ConfigFile)
	if err != nil {
		s.ConfigErr = err
		return
	}
	s.Config = &c
}

// askDaemon is nil if no daemon answers.
func askDaemon(ctx context.Context, c *client.Client) (*doctor.Daemon, error) {
	var d doctor.Daemon
	var err error
	var none *client.NoDaemonError
	if d.Status, err = c.Status(ctx); errors.As(err, &none) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	if d.Services, err = c.Services(ctx); err != nil {
		return nil, err
	}
	if d.Backends, err = c.Backends(ctx); err != nil {
		return nil, err
	}
	return &d, nil
}

// configOf is the file of a daemon, as seen from here, or the default one if
// it exists.
func configOf(d *doctor.Daemon) string {
	if d == nil {
		if _, err := os.Stat(defaultConfigFile); err != nil {
			return ""
		}
		return defaultConfigFile
	}
	file := d.Status.ConfigFile
	if filepath.IsAbs(file) {
		return file
	}
	cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", d.Status.PID))
	if err != nil {
		return file
	}
	return filepath.Join(cwd, file)
}

func (a *app) showFindings(cmd *cobra.Command, all []doctor.Finding, verbose bool) error {
	r := examined{Findings: all}
	for _, f := range all {
		switch f.Severity {
		case doctor.Error:
			r.Errors++
		case doctor.Warning:
			r.Warnings++
		}
	}
	r.OK = r.Errors == 0
	if err := a.show(cmd, r, func(w io.Writer) { writeFindings(w, r, verbose) }); err != nil || r.OK {
		return err
	}
	return errors.New(plural(r.Errors, "error") + " found")
}

// writeFindings puts each remedy on a line of its own below its finding.
func writeFindings(w io.Writer, r examined, verbose bool) {
	for _, f := range r.Findings {
		if f.Severity == doctor.OK && !verbose {
			continue
		}
		row(w, f.Severity.String(), f.Check, f.Where, f.What)
		if f.Remedy != "" {
			fmt.Fprintf(w, "\t\t\t  %s\n", f.Remedy)
		}
	}
	fmt.Fprintf(w, "%s, %s, %d fine\n", plural(r.Errors, "error"), plural(r.Warnings, "warning"), len(r.Findings)-r.Errors-r.Warnings)
}
