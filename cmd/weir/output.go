package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// format is how verbs write; the zero value is human.
type format struct{ json bool }

func (f *format) String() string {
	if f.json {
		return "json"
	}
	return "human"
}

// Set reads the value of --output.
func (f *format) Set(s string) error {
	switch s {
	case "human", "json":
		f.json = s == "json"
		return nil
	}
	return fmt.Errorf("%q is not human or json", s)
}

// Type is what help shows for the value.
func (f *format) Type() string { return "format" }

// show writes a value as JSON, or as human does.
func (a *app) show(cmd *cobra.Command, v any, human func(io.Writer)) error {
	if a.format.json {
		e := json.NewEncoder(cmd.OutOrStdout())
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(v)
	}
	t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	human(t)
	return t.Flush()
}

// row writes cells for a tabwriter. An empty cell shows as a dash.
func row(w io.Writer, cells ...string) {
	for i, c := range cells {
		if c == "" {
			cells[i] = "-"
		}
	}
	fmt.Fprintln(w, strings.Join(cells, "\t"))
}

// count writes a number with separators: 1,234,567.
func count(n uint64) string {
	s := strconv.FormatUint(n, 10)
	var b strings.Builder
	for i, digit := range s {
		if i > 0 && (len(s)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(digit)
	}
	return b.String()
}

// size writes bytes with three digits: 12.3 MiB.
func size(n uint64) string {
	if n < 1024 {
		return strconv.FormatUint(n, 10) + " B"
	}
	x, unit := float64(n), -1
	for x >= 1024 && unit < 5 {
		x /= 1024
		unit++
	}
	digits := 2
	if x >= 100 {
		digits = 0
	} else if x >= 10 {
		digits = 1
	}
	return strconv.FormatFloat(x, 'f', digits, 64) + " " + "KMGTPE"[unit:unit+1] + "iB"
}

// age writes how long ago something was, to the second.
func age(t time.Time) string { return time.Since(t).Truncate(time.Second).String() }

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return strconv.Itoa(n) + " " + word + "s"
}
