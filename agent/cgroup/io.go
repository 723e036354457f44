package cgroup

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// IO is the number of requests that a group made of block devices since it
// was made.
func (g *Group) IO() (uint64, error) {
	d, err := g.controller("blkio")
	if err != nil {
		return 0, err
	}
	if g.v2 {
		return requests(d.file("io.stat"), "rios=", "wios=")
	}
	n, err := requests(d.file("blkio.throttle.io_serviced_recursive"), "Read ", "Write ")
	if errors.Is(err, errors.ErrUnsupported) {
		return requests(d.file("blkio.throttle.io_serviced"), "Read ", "Write ")
	}
	return n, err
}

// requests adds the numbers behind marks, of which version 2 has several in a
// device's line and version 1 one.
func requests(path string, marks ...string) (sum uint64, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, unsupported(err)
	}
	for line := range strings.Lines(string(text)) {
		for _, mark := range marks {
			_, after, found := strings.Cut(line, " "+mark)
			if !found {
				continue
			}
			word, _, _ := strings.Cut(strings.TrimSpace(after), " ")
			n, err := strconv.ParseUint(word, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("%s: %.60q has no number of requests", path, line)
			}
			sum += n
		}
	}
	return sum, nil
}
