// Package config reads weir's configuration file. It is strict: whatever it
// does not know or cannot honour is refused, with file, line and field, and
// all faults of a file are reported at once.
package config

import (
	"fmt"
	"io"
	"os"

	"weir/loader/lb"
)

// MaxBytes is the largest configuration file.
const MaxBytes = 64 << 20

// Load reads and checks a file. On an error the configuration is not to be
// used. Faults in the file are *Error values, one per line of the message and
// ordered by line of the file, joined as by errors.Join.
func Load(path string) (lb.Config, error) {
	data, err := read(path)
	if err != nil {
		return lb.Config{}, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(path, data)
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, MaxBytes+1))
}

// Parse is Load for a file that has been read; name stands for it in errors.
func Parse(name string, data []byte) (lb.Config, error) {
	r := newReport(name)
	root := readDocument(r, data)
	if root == nil {
		return lb.Config{}, r.err()
	}
	r.root = root
	file, err := decode(r, root)
	if err != nil {
		return lb.Config{}, err
	}
	c := build(r, file)
	if err := r.err(); err != nil {
		return lb.Config{}, err
	}
	return c, nil
}

// build turns what the file says into a configuration and reports whatever
// weir cannot do.
func build(r *report, f file) lb.Config {
	c := settings(r, f)
	c.Pools = pools(r, f.Pools)
	acls := &aclReader{r: r}
	c.ACL = acls.read(top.key("acl"), f.ACL)
	c.Services = services(r, f.Services, c.Pools, acls)
	acls.check()
	c.HTTP = readHTTP(r, f.HTTP, c.Pools)
	need := Need(c)
	c.Limits, c.Least = readLimits(r, f.Limits, need)
	checkCapacity(r, c.Limits, need)
	checkBackendsAreNotVIPs(r, c)
	checkSNAT(r, c)
	checkHealthPorts(r, c)
	checkHealthVia(r, c)
	return c
}
