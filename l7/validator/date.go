package validator

import (
	"bytes"
	"net/http"
	"slices"
	"time"
)

const (
	months = "JanFebMarAprMayJunJulAugSepOctNovDec"
	days   = "SunMonTueWedThuFriSat"
)

var longDays = [...]string{"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"}

// Date reads an HTTP-date in any of its three forms (RFC 9110, 5.6.7). Letters
// count in any case; a zone other than GMT is no date (RFC 9111, 4.2), nor is
// one with other spaces or digits.
func Date(b []byte) (time.Time, bool) {
	switch {
	case len(b) == len("Sun, 06 Nov 1994 08:49:37 GMT") && b[3] == ',':
		return fixdate(b)
	case len(b) == len("Sun Nov  6 08:49:37 1994"):
		return ansic(b)
	}
	return rfc850(b)
}

// fixdate reads Sun, 06 Nov 1994 08:49:37 GMT.
func fixdate(b []byte) (time.Time, bool) {
	if b[4] != ' ' || b[7] != ' ' || b[11] != ' ' || b[16] != ' ' || !fold(b[25:], " GMT") || threes(days, b[:3]) < 0 {
		return time.Time{}, false
	}
	return moment(number(b[12:16]), threes(months, b[8:11]), number(b[5:7]), b[17:25])
}

// ansic reads Sun Nov  6 08:49:37 1994.
func ansic(b []byte) (time.Time, bool) {
	if b[3] != ' ' || b[7] != ' ' || b[10] != ' ' || b[19] != ' ' || threes(days, b[:3]) < 0 {
		return time.Time{}, false
	}
	day := b[8:10]
	if day[0] == ' ' {
		day = day[1:]
	}
	return moment(number(b[20:24]), threes(months, b[4:7]), number(day), b[11:19])
}

// rfc850 reads Sunday, 06-Nov-94 08:49:37 GMT. A year that looks more than 50
// years ahead is of the century before.
func rfc850(b []byte) (time.Time, bool) {
	name, b, ok := bytes.Cut(b, []byte(", "))
	if !ok || !slices.ContainsFunc(longDays[:], func(day string) bool { return fold(name, day) }) ||
		len(b) != len("06-Nov-94 08:49:37 GMT") || b[2] != '-' || b[6] != '-' || b[9] != ' ' || !fold(b[18:], " GMT") {
		return time.Time{}, false
	}
	year := number(b[7:9])
	if year < 0 {
		return time.Time{}, false
	}
	now := time.Now()
	year += now.Year() / 100 * 100
	t, ok := moment(year, threes(months, b[3:6]), number(b[:2]), b[10:18])
	if t.After(now.AddDate(50, 0, 0)) {
		return moment(year-100, threes(months, b[3:6]), number(b[:2]), b[10:18])
	}
	return t, ok
}

// moment joins a date with 08:49:37. A month is counted from 0, and what is
// less than 0 was no number. Second 60 is a leap second.
func moment(year, month, day int, clock []byte) (time.Time, bool) {
	hour, minute, second := number(clock[:2]), number(clock[3:5]), number(clock[6:8])
	if clock[2] != ':' || clock[5] != ':' || year < 0 || month < 0 || day < 1 || hour < 0 || hour > 23 ||
		minute < 0 || minute > 59 || second < 0 || second > 60 {
		return time.Time{}, false
	}
	t := time.Date(year, time.Month(month+1), day, hour, minute, second, 0, time.UTC)
	return t, time.Date(year, time.Month(month+1), day, 0, 0, 0, 0, time.UTC).Day() == day
}

// threes is the place of three letters among names of three letters, or -1.
func threes(names string, b []byte) int {
	for i := 0; i < len(names); i += 3 {
		if fold(b, names[i:i+3]) {
			return i / 3
		}
	}
	return -1
}

// fold compares in any case.
func fold(b []byte, text string) bool {
	if len(b) != len(text) {
		return false
	}
	for i := range b {
		if b[i] != text[i] && (b[i]|0x20 != text[i]|0x20 || b[i]|0x20 < 'a' || b[i]|0x20 > 'z') {
			return false
		}
	}
	return true
}

func number(b []byte) int {
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return -1
		}
		n = n*10 + int(c-'0')
	}
	return n
}

// AppendDate appends t in the form that is to be sent.
func AppendDate(b []byte, t time.Time) []byte { return t.UTC().AppendFormat(b, http.TimeFormat) }
