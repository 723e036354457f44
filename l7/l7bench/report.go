package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
)

// result is a case's medians: CPU time of the proxy per request, µs.
type result struct {
	Case    string  `json:"case"`
	Weir    float64 `json:"weir_us"`
	Nginx   float64 `json:"nginx_us"`
	HAProxy float64 `json:"haproxy_us,omitempty"`
	Ratio   float64 `json:"ratio_nginx"`

	bar float64
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}

// output prints results as they come.
type output struct {
	result func(result)
	last   io.Writer
}

func printer() output {
	if os.Getenv("JSON") != "" {
		lines := json.NewEncoder(os.Stdout)
		return output{func(r result) { _ = lines.Encode(r) }, os.Stderr}
	}
	fmt.Printf("%-10s %9s %9s %9s  %s\n", "case", "weir", "nginx", "haproxy", "CPU time per request, µs; weir/nginx")
	return output{func(r result) {
		fmt.Printf("%-10s %9.2f %9.2f %9.2f  %.2f\n", r.Case, r.Weir, r.Nginx, r.HAProxy, r.Ratio)
	}, os.Stdout}
}

// bars says which are held.
func (o output) bars(all []result) error {
	w := tabwriter.NewWriter(o.last, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nbar\tat most\tmeasured\t")
	for _, r := range all {
		switch {
		case r.bar == 0:
		case r.Ratio <= r.bar:
			fmt.Fprintf(w, "%s\t%.2f\t%.2f\theld\n", r.Case, r.bar, r.Ratio)
		default:
			fmt.Fprintf(w, "%s\t%.2f\t%.2f\tmissed\n", r.Case, r.bar, r.Ratio)
		}
	}
	return w.Flush()
}
