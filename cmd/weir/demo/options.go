package demo

import (
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"weir/loader/lb"
	"weir/loader/netlab"
)

// flags are the options as typed.
type flags struct {
	duration           time.Duration
	backends, family   int
	weights            []uint
	algorithm, forward string
	l7, hold, json     bool
}

var usualWeights = [...]uint{3, 2, 1}

func (f *flags) register(fs *pflag.FlagSet) {
	fs.DurationVar(&f.duration, "duration", 15*time.Second, "how long to drive load")
	fs.IntVar(&f.backends, "backends", len(usualWeights), "number of backends")
	fs.UintSliceVar(&f.weights, "weights", usualWeights[:], "weight of each backend")
	fs.StringVar(&f.algorithm, "algorithm", "maglev", "maglev, rr, wrr, least_conn, random or resource_based")
	fs.StringVar(&f.forward, "forward", "nat", "nat, snat, dsr, ipip or gue")
	fs.IntVar(&f.family, "family", 4, "4 or 6")
	fs.BoolVar(&f.l7, "l7", false, "hand requests to the HTTP tier, over HTTP/1.1, HTTP/2 and HTTP/3")
	fs.BoolVar(&f.hold, "hold", false, "stay up afterwards, under light load, and print commands to try")
	fs.BoolVar(&f.json, "json", false, "print one JSON object at the end and nothing else")
}

// options are the flags, checked.
type options struct {
	duration      time.Duration
	weights       []lb.Weight // one per backend
	algorithm     lb.Algorithm
	algorithmName string // as typed
	forward       lb.Forward
	family        int
	l7            bool // the HTTP tier answers; forward is how the network is built
	hold, json    bool
}

// options checks the flags; changed tells whether a flag was given.
func (f *flags) options(changed func(flag string) bool) (options, error) {
	o := options{duration: f.duration, algorithmName: f.algorithm, family: f.family, l7: f.l7, hold: f.hold, json: f.json}
	var err error
	if o.weights, err = f.checkedWeights(changed); err != nil {
		return options{}, err
	}
	if o.algorithm, err = parseAlgorithm(f.algorithm); err != nil {
		return options{}, err
	}
	if o.resources() {
		f.forResources(&o, changed)
	}
	if o.forward, err = lb.ParseForward(f.forward); err != nil || o.forward == lb.L7 {
		return options{}, fmt.Errorf("--forward: %q is not nat, snat, dsr, ipip or gue", f.forward)
	}
	if f.l7 && changed("forward") {
		return options{}, fmt.Errorf("--l7: the HTTP tier connects to the backends, --forward has no part in that")
	}
	if f.family != 4 && f.family != 6 {
		return options{}, fmt.Errorf("--family: %d is not 4 or 6", f.family)
	}
	if f.duration <= 0 {
		return options{}, fmt.Errorf("--duration: %s is not more than 0", f.duration)
	}
	return o, nil
}

func parseAlgorithm(s string) (lb.Algorithm, error) {
	if s == resourceBased {
		return lb.Maglev, nil
	}
	a, err := lb.ParseAlgorithm(s)
	if err != nil {
		return 0, fmt.Errorf("--algorithm: %w; %s is maglev by what agents report", err, resourceBased)
	}
	return a, nil
}

// resources reports whether weights follow what agents report.
func (o options) resources() bool { return o.algorithmName == resourceBased }

// forResources changes defaults: shares need time to move and to come back, and
// are easier to follow if they begin equal.
func (f *flags) forResources(o *options, changed func(string) bool) {
	if !changed("duration") {
		o.duration = 80 * time.Second
	}
	if !changed("weights") {
		for i := range o.weights {
			o.weights[i] = 1
		}
	}
}

func (f *flags) checkedWeights(changed func(string) bool) ([]lb.Weight, error) {
	typed := f.weights
	switch {
	case !changed("weights"):
		if f.backends < 1 || f.backends > netlab.MaxBackends {
			return nil, fmt.Errorf("--backends: %d is not 1 to %d", f.backends, netlab.MaxBackends)
		}
		typed = make([]uint, f.backends)
		for i := range typed {
			typed[i] = usualWeights[i%len(usualWeights)]
		}
	case changed("backends") && f.backends != len(typed):
		return nil, fmt.Errorf("--weights: %d weights for %d backends", len(typed), f.backends)
	case len(typed) == 0 || len(typed) > netlab.MaxBackends:
		return nil, fmt.Errorf("--weights: %d weights; want 1 to %d", len(typed), netlab.MaxBackends)
	}
	weights, sum := make([]lb.Weight, len(typed)), uint(0)
	for i, w := range typed {
		if w > uint(lb.MaxWeight) {
			return nil, fmt.Errorf("--weights: %d is more than %d", w, lb.MaxWeight)
		}
		weights[i] = lb.Weight(w)
		sum += w
	}
	if sum == 0 {
		return nil, fmt.Errorf("--weights: no backend has a weight above 0")
	}
	return weights, nil
}

// mode is how requests reach backends.
func (o options) mode() string {
	if o.l7 {
		return lb.L7.String()
	}
	return o.forward.String()
}

// expectedShares is what each backend shall get of the new connections. Round
// robin asks only whether a weight is 0.
func expectedShares(a lb.Algorithm, weights []lb.Weight) []float64 {
	parts, sum := make([]float64, len(weights)), 0.0
	for i, w := range weights {
		parts[i] = float64(w)
		if a == lb.RoundRobin {
			parts[i] = min(parts[i], 1)
		}
		sum += parts[i]
	}
	for i := range parts {
		if sum > 0 {
			parts[i] /= sum
		}
	}
	return parts
}
