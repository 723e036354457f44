package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"
)

// Read decodes a report from r, of which it reads no more than MaxBytes and
// one byte. Errors are those of reading, and RefusedError.
func Read(r io.Reader) (Report, error) {
	body, err := io.ReadAll(io.LimitReader(r, MaxBytes+1))
	if err != nil {
		return Report{}, fmt.Errorf("reading a report: %w", err)
	}
	return Decode(body)
}

// Decode reads a document, the whole of body. It is strict: every field is
// known, there once and of its type, names are in their exact case, and every
// value is one that it can have. Any error is a RefusedError.
func Decode(body []byte) (Report, error) {
	if len(body) > MaxBytes {
		return Report{}, refuse(TooLong, "more than %d bytes", MaxBytes)
	}
	if !json.Valid(body) {
		return Report{}, refuse(Malformed, "not a JSON document")
	}
	d := decoder{scanner{rest: body}}
	r, err := d.report()
	if err != nil {
		return Report{}, err
	}
	if err := r.check(); err != nil {
		return Report{}, err
	}
	return r, nil
}

// decoder walks the tokens of a valid document: encoding/json's own decoding
// takes a field twice and in any case.
type decoder struct{ scanner }

func (d *decoder) report() (r Report, err error) {
	seen := make(names, 0, 10)
	if err := d.object("report", seen.twice, func(field string) error { return d.field(&r, field) }); err != nil {
		return Report{}, err
	}
	for _, field := range []string{"version", "backend", "boot", "seq", "age_ms", "tau_ms", "values"} {
		if !slices.Contains(seen, field) {
			return Report{}, refuse(Missing, "%s is not there", field)
		}
	}
	return r, nil
}

func (d *decoder) field(r *Report, field string) (err error) {
	switch field {
	case "version":
		return d.version()
	case "backend":
		r.Backend, err = d.text(field)
	case "boot":
		r.Boot, err = d.text(field)
	case "seq":
		r.Seq, err = d.whole(field)
	case "age_ms":
		r.Age, err = d.span(field)
	case "tau_ms":
		r.Tau, err = d.span(field)
	case "rate":
		r.Rate, err = d.float(field)
	case "values":
		r.Values, err = readMap(d, field, MaxValues, d.float)
	case "missing":
		r.Missing, err = readMap(d, field, maxMissing, d.text)
	case "status":
		var seen names
		err = d.object(field, seen.twice, func(field string) error { return d.status(&r.Status, field) })
	default:
		return refuse(UnknownField, "field %.40q is not known", field)
	}
	return err
}

func (d *decoder) status(s *Status, field string) (err error) {
	switch field {
	case "admin":
		s.Admin, err = readState[Admin](d, field)
	case "oper":
		s.Oper, err = readState[Oper](d, field)
	case "weight_percent":
		s.Weight, err = d.count(field)
	case "maxconn":
		s.MaxConn, err = d.count(field)
	case "reason":
		s.Reason, err = d.text(field)
	default:
		return refuse(UnknownField, "field status.%.40q is not known", field)
	}
	return err
}

func readState[T ~string](d *decoder, field string) (T, error) {
	text, err := d.text(field)
	if err == nil && text == "" {
		err = refuse(BadState, "%s is empty: leave it out", field)
	}
	return T(text), err
}

// object calls read at each field's value; twice says whether a name has been
// there, and may note it.
func (d *decoder) object(where string, twice func(field string) bool, read func(field string) error) error {
	if !d.take('{') {
		return refuse(Malformed, "%s is not an object", where)
	}
	for !d.take('}') {
		d.take(',')
		field, ok := d.str()
		if !ok {
			return refuse(Malformed, "a name in %s is not text", where)
		}
		if twice(field) {
			return refuse(Duplicate, "%s has %.70q twice", where, field)
		}
		d.take(':')
		if err := read(field); err != nil {
			return err
		}
	}
	return nil
}

// names is few fields that have been there.
type names []string

func (n *names) twice(field string) bool {
	if slices.Contains(*n, field) {
		return true
	}
	*n = append(*n, field)
	return false
}

// readMap reads an object of so many entries at most.
func readMap[T any](d *decoder, where string, most int, read func(string) (T, error)) (map[string]T, error) {
	m := make(map[string]T, len(metrics))
	err := d.object(where, func(name string) bool { _, there := m[name]; return there }, func(name string) error {
		if len(m) == most {
			return refuse(TooMany, "%s has more than %d entries", where, most)
		}
		v, err := read(name)
		m[name] = v
		return err
	})
	return m, err
}

func (d *decoder) version() error {
	v, err := d.whole("version")
	if err == nil && v != Version {
		err = refuse(OtherVersion, "version %d is not known here, only %d", v, Version)
	}
	return err
}

func (d *decoder) text(field string) (string, error) {
	s, ok := d.str()
	if !ok {
		return "", refuse(Malformed, "%.70s is not text", field)
	}
	return s, nil
}

func (d *decoder) number(field string) (string, error) {
	n, ok := d.num()
	if !ok {
		return "", refuse(Malformed, "%.70s is not a number", field)
	}
	return n, nil
}

func (d *decoder) float(field string) (float64, error) {
	text, err := d.number(field)
	if err != nil {
		return 0, err
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil { // out of range: a JSON number is one of Go's
		return 0, refuse(TooLarge, "%.70s is %.40s, the most is %v", field, text, MaxValue)
	}
	return v, nil
}

func (d *decoder) whole(field string) (uint64, error) {
	text, err := d.number(field)
	if err != nil {
		return 0, err
	}
	v, err := strconv.ParseUint(text, 10, 64)
	switch {
	case err == nil:
		return v, nil
	case text[0] == '-':
		return 0, refuse(Negative, "%.70s is %.40s", field, text)
	case errors.Is(err, strconv.ErrRange):
		return 0, refuse(TooLarge, "%.70s is %.40s", field, text)
	}
	return 0, refuse(Malformed, "%.70s is %.40s, not a whole number", field, text)
}

func (d *decoder) span(field string) (time.Duration, error) {
	ms, err := d.whole(field)
	if err == nil && ms > uint64(maxSpan.Milliseconds()) {
		err = refuse(TooLarge, "%s is %d, the most is %d", field, ms, maxSpan.Milliseconds())
	}
	return time.Duration(min(ms, uint64(maxSpan.Milliseconds()))) * time.Millisecond, err
}

func (d *decoder) count(field string) (*int, error) {
	n, err := d.whole(field)
	if err == nil && n > 1<<31-1 {
		err = refuse(TooLarge, "%s is %d", field, n)
	}
	return new(int(n & (1<<31 - 1))), err
}
