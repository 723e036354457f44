package control

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"weir/loader/lb"
)

// pump carries the kernel's events to the hub and asks the resolver for the
// neighbours that replies miss. The kernel stream is always on, since the
// latter needs it, but without flow events (sample 0) while nobody listens.
type pump struct {
	data   DataPlane
	hops   HopResolver
	hub    *hub
	sample func() uint32 // of flow events when somebody listens
	name   func(lb.Event) lb.Event
	log    *slog.Logger
	retry  backoff
}

// run restarts the stream whenever the wanted sampling changes or the stream
// fails, until ctx ends.
func (p *pump) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := p.stream(ctx, p.wanted())
		if err == nil || ctx.Err() != nil {
			p.retry.reset()
			continue
		}
		wait := p.retry.next()
		p.log.Warn("kernel event stream failed", "error", err, "retry_in", wait)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

func (p *pump) wanted() uint32 {
	if p.hub.listeners() == 0 {
		return 0
	}
	return p.sample()
}

// stream runs the kernel stream with one sampling. It returns nil when
// another is wanted.
func (p *pump) stream(ctx context.Context, sample uint32) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events := make(chan lb.Event, 256)
	ended := make(chan error, 1)
	go func() { ended <- p.data.Events(ctx, sample, events) }()
	var restart bool
	for {
		select {
		case e := <-events:
			p.handle(e)
		case <-p.hub.changed:
			if !restart && p.wanted() != sample {
				restart = true
				cancel()
			}
		case err := <-ended:
			p.drain(events)
			if restart || ctx.Err() != nil {
				return nil
			}
			return errors.Join(errors.New("stream ended"), err)
		}
	}
}

func (p *pump) drain(events <-chan lb.Event) {
	for {
		select {
		case e := <-events:
			p.handle(e)
		default:
			return
		}
	}
}

func (p *pump) handle(e lb.Event) {
	if e.NeedHop {
		p.hops.Probe(e.Dst.Addr())
	}
	p.hub.publish(p.name(e))
}
