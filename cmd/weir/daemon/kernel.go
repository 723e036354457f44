package daemon

import (
	"errors"
	"log/slog"

	"weir/loader/dataplane"
	"weir/loader/lb"
	"weir/loader/nexthop"
)

// OpenKernel opens this network namespace's data plane and next hops.
func OpenKernel(c lb.Config, log *slog.Logger) (*Kernel, error) {
	data, err := dataplane.Open(dataplane.Options{Config: c, Log: log})
	if err != nil {
		return nil, err
	}
	hops, err := nexthop.New(log)
	if err != nil {
		return nil, errors.Join(err, data.Close())
	}
	return &Kernel{Data: data, Hops: hops, Run: hops.Run, Close: func() error {
		hops.Close()
		return data.Close()
	}}, nil
}
