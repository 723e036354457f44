package validator

import (
	"bytes"
	"net/http"
	"time"
)

const (
	months = "JanFebMarAprMayJunJulAugSepOctNovDec"
	days   = "SunMonTueWedThuFriSat"
)

// Date reads an HTTP-date in any of its three forms (RFC 9110, 5.6.7). Letters
// count in any case; a zone other than GMT is no date (RFC 9111, 4.2).
func Date(b []byte) (time.Time, bool) {
	if t, ok := fixdate(b); ok {
		return t, true
	}
	text := string(bytes.ToUpper(b))
	for _, form := range []string{time.RFC1123, time.RFC850, time.ANSIC} {
		t, err := time.Parse(form, text)
		if err != nil || form != time.ANSIC && !bytes.HasSuffix([]byte(text), []byte(" GMT")) {
			continue
		}
		if form == time.RFC850 && t.After(time.Now().AddDate(50, 0, 0)) {
			t = t.AddDate(-100, 0, 0)
		}
		return t.UTC(), true
	}
	return time.Time{}, false
}

// fixdate reads the usual form, Sun, 06 Nov 1994 08:49:37 GMT, without
// allocating.
func fixdate(b []byte) (time.Time, bool) {
	if len(b) != len(http.TimeFormat) || string(b[3:5]) != ", " || string(b[25:]) != " GMT" ||
		b[7] != ' ' || b[11] != ' ' || b[16] != ' ' || b[19] != ':' || b[22] != ':' || threes(days, b[:3]) < 0 {
		return time.Time{}, false
	}
	month := threes(months, b[8:11])
	day, year := number(b[5:7]), number(b[12:16])
	hour, minute, second := number(b[17:19]), number(b[20:22]), number(b[23:25])
	if month < 0 || day < 1 || year < 0 || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60 {
		return time.Time{}, false
	}
	t := time.Date(year, time.Month(month+1), day, hour, minute, second, 0, time.UTC)
	return t, t.Day() == day || second == 60
}

// threes is the place of three letters among names of three letters, or -1.
func threes(names string, b []byte) int {
	for i := 0; i < len(names); i += 3 {
		if names[i:i+3] == string(b) {
			return i / 3
		}
	}
	return -1
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
