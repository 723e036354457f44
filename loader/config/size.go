package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// size is a number of bytes as it is written: "64KiB", "10MiB", "1GiB", "512".
type size string

// parse reads a size in bytes.
func (s size) parse() (int64, error) {
	digits, shift := string(s), 0
	for unit, bits := range map[string]int{"KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40} {
		if rest, is := strings.CutSuffix(digits, unit); is {
			digits, shift = rest, bits
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64>>shift {
		return 0, fmt.Errorf("%s is not %s", quote(string(s)), sizeLike)
	}
	return n << shift, nil
}

const sizeLike = "a size such as 64KiB, 10MiB or 1GiB"

// writeSize is the shortest way to write a number of bytes.
func writeSize(n int64) string {
	for _, u := range []struct {
		name  string
		shift int
	}{{"TiB", 40}, {"GiB", 30}, {"MiB", 20}, {"KiB", 10}} {
		if n > 0 && n&(1<<u.shift-1) == 0 {
			return strconv.FormatInt(n>>u.shift, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}
