package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// build is what version answers.
type build struct {
	Version  string `json:"version"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  weir version\n  weir version -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b := build{versionString(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
			return a.show(cmd, b, func(w io.Writer) { fmt.Fprintf(w, "weir %s %s %s\n", b.Version, b.Go, b.Platform) })
		},
	}
}

// versionString is what the linker was told, or what go install knows.
func versionString() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
