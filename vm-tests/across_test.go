package vmtests

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"weir/vm-tests/guest"
	"weir/vm-tests/qemu"
)

// part is one of the machines that work together, and what is wired to it.
type part struct {
	name string
	suite
}

// parts are a client, a balancer and a backend in a row. Each runs the test of
// its part in package suites.
func parts(dir string) []part {
	near, far := filepath.Join(dir, "near"), filepath.Join(dir, "far")
	const limit = 5 * time.Minute
	return []part{
		{"client", suite{tests: "^TestAcrossClient$", limit: limit, nics: []qemu.NIC{
			{Wire: near, Queues: 1, Number: guest.ClientNIC},
		}}},
		{"balancer", suite{tests: "^TestAcrossBalancer$", limit: limit, nics: []qemu.NIC{
			{Wire: near, End: 1, Queues: 1, Number: guest.NearNIC},
			{Wire: far, Queues: 1, Number: guest.FarNIC},
		}}},
		{"backend", suite{tests: "^TestAcrossBackend$", limit: limit, nics: []qemu.NIC{
			{Wire: far, End: 1, Queues: 1, Number: guest.BackendNIC},
		}}},
	}
}

// across runs machines that talk to each other.
func (l *lab) across(t *testing.T, s system) {
	dir, err := os.MkdirTemp("", "weir-vm-") // short, as paths of sockets must be
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	all := parts(dir)
	runs := make([]run, len(all))
	var working sync.WaitGroup
	for i, p := range all {
		machine := l.machine(t, s, p.name, "")
		working.Go(func() {
			runs[i] = p.boot(ctx, machine)
			if runs[i].err != nil { // the others would wait in vain
				cancel()
			}
		})
	}
	working.Wait()
	for i, p := range all {
		t.Run(p.name, func(t *testing.T) { runs[i].show(t, true) })
	}
}
