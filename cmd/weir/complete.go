package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// completeBackend offers the daemon's backends as POOL/ADDRESS:PORT.
func (a *app) completeBackend(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	all, err := a.client().Backends(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, b := range all {
		if name := b.Pool + "/" + b.Backend.String(); b.Pool != "" && strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeService offers the daemon's services.
func (a *app) completeService(cmd *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	all, err := a.client().Services(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, s := range all {
		if strings.HasPrefix(s.Name, prefix) {
			names = append(names, s.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completionExamples gives cobra's own verb an example like all others have.
func completionExamples(root *cobra.Command) {
	for _, c := range root.Commands() {
		if c.Name() != "completion" {
			continue
		}
		c.Example = "  source <(weir completion bash)"
		for _, shell := range c.Commands() {
			shell.Example = "  weir completion " + shell.Name()
		}
	}
}

// completePool offers the pools of the daemon's services.
func (a *app) completePool(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	all, err := a.client().Services(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, s := range all {
		if s.Pool != "" && strings.HasPrefix(s.Pool, prefix) && !slices.Contains(names, s.Pool) {
			names = append(names, s.Pool)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
