package control

import (
	"context"
	"fmt"
	"time"

	"weir/loader/lb"
	"weir/loader/weight"
)

// PoolWeights is how the weights of a pool came about.
type PoolWeights struct {
	Pool     lb.Pool
	Panics   bool                 // so much is down that health is ignored
	Backends []weight.Explanation // in the pool's order
}

// Weights explains the weights of a pool, or of all if its name is "".
func (c *Controller) Weights(ctx context.Context, pool string) ([]PoolWeights, error) {
	names := []string{pool}
	if pool == "" {
		names = nil
		for _, p := range c.Snapshot().Config.Pools {
			names = append(names, p.Name)
		}
	}
	all := make([]PoolWeights, 0, len(names))
	for _, name := range names { // one by one, so that the loop can do other things between
		one, err := c.poolWeights(ctx, name)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

func (c *Controller) poolWeights(ctx context.Context, name string) (out PoolWeights, err error) {
	err = c.ask(ctx, func() error {
		i, known := c.laws.index[name]
		if !known {
			return &refusal{ErrNotFound, fmt.Sprintf("pool %q does not exist; there are: %s", name, poolNames(c.laws.pools))}
		}
		law := c.laws.laws[i]
		out = PoolWeights{Pool: c.laws.pools[i], Panics: law.Panics(), Backends: law.ExplainAll(time.Now())}
		return nil
	})
	return out, err
}

// ExplainBackend explains one weight.
func (c *Controller) ExplainBackend(ctx context.Context, r Ref) (out PoolWeights, err error) {
	err = c.ask(ctx, func() error {
		if err := findBackend(c.laws.pools, r); err != nil {
			return err
		}
		i := c.laws.index[r.Pool]
		e, _ := c.laws.laws[i].Explain(time.Now(), r.Endpoint)
		out = PoolWeights{Pool: c.laws.pools[i], Panics: c.laws.laws[i].Panics(), Backends: []weight.Explanation{e}}
		return nil
	})
	return out, err
}

// ask runs a look on the loop.
func (c *Controller) ask(ctx context.Context, look func() error) error {
	return c.do(ctx, func(context.Context) error { return look() })
}
