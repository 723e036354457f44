package daemon

import (
	"errors"
	"log/slog"
	"time"

	"weir/loader/dataplane"
	"weir/loader/lb"
	"weir/loader/nexthop"
)

// OpenKernel opens this network namespace's data plane and next hops.
func OpenKernel(c lb.Config, log *slog.Logger) (*Kernel, error) {
	data, err := openData(c, log)
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

// dyingTimeout is how long a killed daemon may need to give its files back.
const dyingTimeout = 3 * time.Second

// openData waits for the lock of a daemon that was killed a moment ago.
func openData(c lb.Config, log *slog.Logger) (*dataplane.DataPlane, error) {
	late := time.Now().Add(dyingTimeout)
	for {
		data, err := dataplane.Open(dataplane.Options{Config: c, Log: log})
		if !errors.Is(err, dataplane.ErrInUse) || time.Now().After(late) {
			return data, err
		}
		time.Sleep(50 * time.Millisecond)
	}
}
