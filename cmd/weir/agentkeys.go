package main

import (
	"io"
	"time"

	"github.com/spf13/cobra"

	"weir/agent/keys"
)

// made is what agent keys answers.
type made struct {
	OK    bool        `json:"ok"`
	Files []keys.File `json:"files"`
}

const oneDay = 24 * time.Hour

func (a *app) agentKeysCommand() *cobra.Command {
	var o keys.Options
	var days, authorityDays int
	cmd := &cobra.Command{
		Use:   "keys --dir DIRECTORY --backend ADDRESS",
		Short: "Make the certificates of agents and balancers",
		Long: `Makes a small certificate authority, a certificate for the balancers and one for
each backend, with keys (ECDSA P-256), all of mode 0600. A directory that has an
authority already gets more certificates of that one. No file is replaced.
Keep ca.key off the backends; each needs ca.crt and its own pair.`,
		Example: `  weir agent keys --dir keys --balancer lb --backend 10.0.0.11 --backend web2.example
  weir agent keys --dir keys --backend 10.0.0.13   # one more, later`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			const most = 100 * 365
			switch {
			case o.Dir == "":
				return usagef("name the directory of the files with --dir DIRECTORY")
			case days < 1 || days > most:
				return usagef("--days %d is not 1 to %d", days, most)
			case authorityDays < 1 || authorityDays > most:
				return usagef("--ca-days %d is not 1 to %d", authorityDays, most)
			case len(o.Backends)+len(o.Balancers) == 0:
				return usagef("name each backend with --backend ADDRESS, and the balancer with --balancer NAME")
			}
			o.Valid, o.AuthorityValid, o.Now = time.Duration(days)*oneDay, time.Duration(authorityDays)*oneDay, time.Now()
			files, err := keys.Make(o)
			if err != nil {
				return err
			}
			return a.show(cmd, made{true, files}, func(w io.Writer) { writeKeys(w, files) })
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Dir, "dir", "", "directory of the files")
	flags.StringSliceVar(&o.Backends, "backend", nil, "address or name of a backend; may be repeated")
	flags.StringSliceVar(&o.Balancers, "balancer", nil, "name of a balancer, or of all that share a certificate; may be repeated")
	flags.IntVar(&days, "days", 365, "how long certificates are valid")
	flags.IntVar(&authorityDays, "ca-days", 3650, "how long a new authority is valid")
	return cmd
}

func writeKeys(w io.Writer, files []keys.File) {
	row(w, "FILE", "WHAT", "EXPIRES")
	for _, f := range files {
		var expires string
		if !f.Expires.IsZero() {
			expires = f.Expires.UTC().Format(time.DateOnly)
		}
		row(w, f.Path, f.What, expires)
	}
}
