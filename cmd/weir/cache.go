package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weir/loader/api/wire"
)

func (a *app) cacheCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "cache",
		Short:   "Show and empty the caches of the HTTP tier",
		Example: "  weir cache stats\n  weir cache get http://www.example.org/logo.png\n  weir cache purge --tag article-7",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(&cobra.Command{
		Use:     "stats",
		Short:   "Show hits, misses and sizes",
		Example: "  weir cache stats\n  weir cache stats -o json | jq '.[] | .hits / (.hits + .misses)'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := a.client().Caches(cmd.Context())
			if err != nil {
				return err
			}
			return a.show(cmd, all, func(w io.Writer) { writeCaches(w, all) })
		},
	}, a.cacheGetCommand(), a.cachePurgeCommand())
	return cmd
}

func writeCaches(w io.Writer, all []wire.Cache) {
	row(w, "CACHE", "URLS", "MEMORY", "OF", "DISK", "OF", "HITS", "MISSES", "HIT RATE", "GIVEN", "EVICTED", "PURGED")
	for _, c := range all {
		rate, disk, diskMax := "", "", ""
		if n := c.Hits + c.Misses; n > 0 {
			rate = fmt.Sprintf("%.1f%%", 100*float64(c.Hits)/float64(n))
		}
		if c.Disk != nil {
			disk, diskMax = size(uint64(c.Disk.Bytes)), size(uint64(c.Disk.Max))
		}
		row(w, c.Name, count(uint64(c.URLs)), size(uint64(c.Memory)), size(uint64(c.MemoryMax)), disk, diskMax,
			count(uint64(c.Hits)), count(uint64(c.Misses)), rate, size(uint64(c.Bytes)), count(uint64(c.Evictions)), count(uint64(c.Purged)))
	}
}

func (a *app) cacheGetCommand() *cobra.Command {
	var cache string
	cmd := &cobra.Command{
		Use:     "get URL",
		Short:   "Show what is stored for a URL",
		Long:    "Shows every stored answer for a URL: one for each variant. If there is none, the exit code is 1.",
		Example: "  weir cache get http://www.example.org/logo.png\n  weir cache get --cache main https://www.example.org/ -o json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := a.client().CacheEntries(cmd.Context(), cache, args[0])
			if err != nil {
				return err
			}
			if err := a.show(cmd, all, func(w io.Writer) { writeEntries(w, all) }); err != nil || len(all) > 0 {
				return err
			}
			return fmt.Errorf("nothing is stored for %s", args[0])
		},
	}
	cmd.Flags().StringVar(&cache, "cache", "", "name of one cache")
	return cmd
}

func writeEntries(w io.Writer, all []wire.CacheEntry) {
	seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)).Truncate(time.Second) }
	for _, e := range all {
		fresh := fmt.Sprintf("fresh for %s", seconds(e.TTL))
		if e.TTL < 0 {
			fresh = fmt.Sprintf("stale for %s", seconds(-e.TTL))
		}
		fmt.Fprintf(w, "%s\t%s: %d, %s, age %s, %s\n", e.URL, e.Cache, e.Status, size(uint64(e.Length)), seconds(e.Age), fresh)
		if len(e.Tags) > 0 {
			fmt.Fprintf(w, "\ttags %s\n", strings.Join(e.Tags, " "))
		}
		for name, v := range e.Vary {
			fmt.Fprintf(w, "\tfor %s: %s\n", name, v)
		}
		for _, line := range e.Header {
			fmt.Fprintf(w, "\t%s\n", line)
		}
	}
}

func (a *app) cachePurgeCommand() *cobra.Command {
	var p wire.Purge
	cmd := &cobra.Command{
		Use:     "purge [URL]",
		Short:   "Forget a URL, all that begin with a text, those with a tag, or all",
		Long:    "Forgets stored answers, with all their variants, on disk too. What is just being fetched is not stored.",
		Example: "  weir cache purge http://www.example.org/logo.png\n  weir cache purge --prefix http://www.example.org/img/\n  weir cache purge --tag article-7 --cache main\n  weir cache purge --all",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				p.URL = args[0]
			}
			ways := 0
			for _, is := range []bool{p.URL != "", p.Prefix != "", p.Tag != "", p.All} {
				if is {
					ways++
				}
			}
			if ways != 1 {
				return usagef("purge needs one of URL, --prefix, --tag and --all")
			}
			done, err := a.client().Purge(cmd.Context(), p)
			if err != nil {
				return err
			}
			return a.show(cmd, done, func(w io.Writer) { fmt.Fprintf(w, "%s forgotten\n", plural(done.URLs, "URL")) })
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&p.Prefix, "prefix", "", "begin of the URLs, as `weir cache get` shows them")
	flags.StringVar(&p.Tag, "tag", "", "word of a Cache-Tag or Surrogate-Key")
	flags.BoolVar(&p.All, "all", false, "everything")
	flags.StringVar(&p.Cache, "cache", "", "name of one cache; all if left out")
	return cmd
}
