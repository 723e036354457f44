package main

import (
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"weir/loader/weight/lab"
)

// simulation is what weir simulate was asked for.
type simulation struct {
	scenarios  []lab.Scenario
	algorithms []lab.Algorithm
	seed       uint64
	steps      bool
	plot       string
}

func (a *app) simulateCommand() *cobra.Command {
	var scenarios, algorithms []string
	var s simulation
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Try balancing algorithms on modelled backends",
		Long: `Runs the control law and the tables of the daemon against modelled servers,
agents and clients, in virtual time, and shows how each algorithm does. The same
seed gives the same figures. Nothing on this host is touched. docs/balance.md
says what the columns mean.`,
		Example: "  weir simulate --scenario neighbour\n  weir simulate --scenario unequal --algorithm maglev --algorithm resource_based --plot balance.svg\n  weir simulate --steps --algorithm weighted_round_robin --algorithm resource_based -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if s.steps && len(scenarios) > 0 {
				return usagef("--steps has scenarios of its own")
			}
			if s.scenarios, err = chosen(scenarios, lab.Scenarios(), lab.Find); err != nil {
				return usagef("%v", err)
			}
			if s.algorithms, err = chosen(algorithms, lab.Algorithms(), lab.FindAlgorithm); err != nil {
				return usagef("%v", err)
			}
			if s.steps {
				return a.simulateSteps(cmd, s)
			}
			return a.simulate(cmd, s)
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&scenarios, "scenario", nil, "scenario, may be given again; without it all")
	flags.StringSliceVar(&algorithms, "algorithm", nil, "algorithm, may be given again; without it all")
	flags.Uint64Var(&s.seed, "seed", 1, "what chance is made of")
	flags.BoolVar(&s.steps, "steps", false, "rising loads on pools whose configured weights are wrong")
	flags.StringVar(&s.plot, "plot", "", "write utilisation and weights over time to this SVG file")
	cmd.MarkFlagsMutuallyExclusive("steps", "plot")
	must(cmd.RegisterFlagCompletionFunc("scenario", cobra.FixedCompletions(scenarioNames(), cobra.ShellCompDirectiveNoFileComp)))
	must(cmd.RegisterFlagCompletionFunc("algorithm", cobra.FixedCompletions(algorithmNames(), cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

// chosen are those that were named, all if none was.
func chosen[T any](names []string, all []T, find func(string) (T, error)) ([]T, error) {
	if len(names) == 0 {
		return all, nil
	}
	some := make([]T, len(names))
	for i, name := range names {
		var err error
		if some[i], err = find(name); err != nil {
			return nil, err
		}
	}
	return some, nil
}

func scenarioNames() (names []string) {
	for _, s := range lab.Scenarios() {
		names = append(names, s.Name+"\t"+s.Text)
	}
	return names
}

func algorithmNames() (names []string) {
	for _, x := range lab.Algorithms() {
		names = append(names, x.Name)
	}
	return names
}

func (a *app) simulate(cmd *cobra.Command, s simulation) error {
	results, err := lab.RunAll(s.scenarios, s.algorithms, s.seed)
	if err != nil {
		return err
	}
	if s.plot != "" {
		if err := plotTo(s.plot, results); err != nil {
			return err
		}
	}
	return a.show(cmd, results, func(w io.Writer) { writeResults(w, s.scenarios, results) })
}

func plotTo(path string, results []lab.Result) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("writing the plot: %w", err)
	}
	if err := lab.Plot(f, results); err != nil {
		f.Close()
		return fmt.Errorf("writing the plot to %s: %w", path, err)
	}
	return f.Close()
}

func writeResults(w io.Writer, scenarios []lab.Scenario, results []lab.Result) {
	each := len(results) / max(len(scenarios), 1)
	for i, sc := range scenarios {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s: %s\n", sc.Name, sc.Text)
		row(w, "ALGORITHM", "P50", "P99", "P99.9", "ERRORS", "MAX/MEAN", "SETTLING", "OVERSHOOT", "TURNS/MIN", "ENTRIES/H", "FLOWS/H", "BROKEN")
		for _, r := range results[i*each : (i+1)*each] {
			row(w, r.Algorithm, millis(r.P50), millis(r.P99), millis(r.P999), count(r.Errors), fmt.Sprintf("%.3f", r.MaxOverMean),
				settling(r.Settling), fmt.Sprintf("%.0f %%", 100*r.Overshoot), fmt.Sprintf("%.1f", r.Oscillation),
				count(uint64(r.Entries)), count(uint64(r.Flows)), count(r.Broken))
		}
	}
}

func millis(ms float64) string { return strconv.FormatFloat(ms, 'f', 1, 64) + " ms" }

func settling(s *float64) string {
	if s == nil {
		return "never"
	}
	return fmt.Sprintf("%.0f s", *s)
}

func (a *app) simulateSteps(cmd *cobra.Command, s simulation) error {
	var all []lab.Step
	for _, sc := range lab.StepScenarios() {
		steps, err := lab.RunSteps(sc, lab.Multiples(), s.algorithms, s.seed)
		if err != nil {
			return err
		}
		all = append(all, steps...)
	}
	return a.show(cmd, all, func(w io.Writer) { writeSteps(w, s.algorithms, all) })
}

// writeSteps shows P99.9 by load, a column per algorithm.
func writeSteps(w io.Writer, algorithms []lab.Algorithm, steps []lab.Step) {
	head := []string{"P99.9 OF", "LOAD/QUEUEING", "LOAD/CAPACITY"}
	for _, x := range algorithms {
		head = append(head, x.Name)
	}
	row(w, head...)
	for _, s := range steps {
		cells := []string{s.Scenario, fmt.Sprintf("%.2f", s.Multiple), fmt.Sprintf("%.2f", s.Capacity)}
		for _, r := range s.Results {
			cells = append(cells, millis(r.P999))
		}
		row(w, cells...)
	}
}
