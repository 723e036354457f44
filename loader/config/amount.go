package config

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
)

// amount is a number or, with % after it, a percentage.
type amount string

var amountType = reflect.TypeFor[amount]()

// value of a percentage is between 0 and 1 where the percentage is up to 100.
// Errors continue a sentence that begins with the text.
func (a amount) value() (v float64, percent bool, err error) {
	digits, percent := strings.CutSuffix(strings.TrimSpace(string(a)), "%")
	v, err = strconv.ParseFloat(strings.TrimSpace(digits), 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, false, fmt.Errorf("is not a number or a percentage such as 80%%")
	}
	if percent {
		v /= 100
	}
	return v, percent, nil
}
