package demo

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
)

// group runs goroutines and joins their errors. A panic becomes an error, so
// that the demo still cleans up.
type group struct {
	wg     sync.WaitGroup
	mu     sync.Mutex
	errs   []error
	failed func() // called after each error; may be nil
}

func (g *group) run(f func() error) {
	g.wg.Go(func() {
		if err := recovered(f); err != nil {
			g.mu.Lock()
			g.errs = append(g.errs, err)
			g.mu.Unlock()
			if g.failed != nil {
				g.failed()
			}
		}
	})
}

func (g *group) wait() error {
	g.wg.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	return errors.Join(g.errs...)
}

func recovered(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return f()
}
