package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/spf13/cobra"
)

func (a *app) metricsCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "metrics",
		Short:   "Print the daemon's metrics in Prometheus text format",
		Long:    "Prints the metrics that the daemon serves at /metrics on its socket, in Prometheus text format or as a list in JSON.",
		Example: "  weir metrics\n  weir metrics -o json | jq '.[] | select(.name == \"weir_packets_total\")'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var text bytes.Buffer
			if err := a.client().Metrics(cmd.Context(), &text); err != nil {
				return err
			}
			if !a.format.json {
				_, err := io.Copy(cmd.OutOrStdout(), &text)
				return err
			}
			all, err := samples(&text)
			if err != nil {
				return err
			}
			return a.show(cmd, all, nil)
		},
	}
}

// sample is one value of a metric.
type sample struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels"`
	Value  float64           `json:"value"`
}

func samples(text io.Reader) ([]sample, error) {
	d := expfmt.NewDecoder(text, expfmt.NewFormat(expfmt.TypeTextPlain))
	all := []sample{}
	for {
		var family dto.MetricFamily
		err := d.Decode(&family)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading the daemon's metrics: %w", err)
		}
		values, err := expfmt.ExtractSamples(&expfmt.DecodeOptions{Timestamp: model.Now()}, &family)
		if err != nil {
			return nil, fmt.Errorf("reading the daemon's metrics: %w", err)
		}
		for _, v := range values {
			all = append(all, sampleOf(v))
		}
	}
}

func sampleOf(v *model.Sample) sample {
	s := sample{Labels: map[string]string{}, Value: float64(v.Value)}
	for k, x := range v.Metric {
		if k == model.MetricNameLabel {
			s.Name = string(x)
			continue
		}
		s.Labels[string(k)] = string(x)
	}
	return s
}
