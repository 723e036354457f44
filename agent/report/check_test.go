package report_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"weir/agent/report"
)

func TestParseCheck(t *testing.T) {
	for _, c := range []struct {
		text string
		want report.Status
	}{
		{"up\n", report.Status{Oper: report.Up}},
		{"75%", report.Status{Weight: new(75)}},
		{"0%\r\n", report.Status{Weight: new(0)}},
		{"UP Ready 50%,maxconn:30\n", report.Status{Oper: report.Up, Admin: report.Ready, Weight: new(50), MaxConn: new(30)}},
		{"\tdrain ,\n what follows is not read", report.Status{Admin: report.Drain}},
		{"maint", report.Status{Admin: report.Maint}},
		{"down#no database, 3 of 3\r\n", report.Status{Oper: report.Down, Reason: "no database, 3 of 3"}},
		{"fail", report.Status{Oper: report.Failed}},
		{"failed # twice # sharp", report.Status{Oper: report.Failed, Reason: "twice # sharp"}},
		{"stopped", report.Status{Oper: report.Stopped}},
	} {
		if got, err := report.ParseCheck(c.text); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: %+v, %v; want %+v", c.text, got, err, c.want)
		}
	}
}

func TestParseCheckRefuses(t *testing.T) {
	for text, why := range map[string]report.Refusal{
		"":                                   report.Missing,
		"\nup":                               report.Missing,
		" ,\t#why":                           report.Missing,
		"perhaps":                            report.UnknownField,
		"up perhaps":                         report.UnknownField,
		"HTTP/1.1 200 OK":                    report.UnknownField,
		"up down":                            report.Duplicate,
		"ready drain":                        report.Duplicate,
		"50% 60%":                            report.Duplicate,
		"maxconn:1 maxconn:1":                report.Duplicate,
		"%":                                  report.Malformed,
		"-5%":                                report.Malformed,
		"5.5%":                               report.Malformed,
		"1e3%":                               report.Malformed,
		"maxconn:":                           report.Malformed,
		"maxconn:4294967296":                 report.Malformed,
		"20000%":                             report.TooLarge,
		"down #\x1b[2J":                      report.BadText,
		"down #" + strings.Repeat("a", 300):  report.TooLarge,
		"up" + strings.Repeat(" ", 2000):     report.TooLong,
		strings.Repeat("ready,", 100) + "up": report.Duplicate,
	} {
		_, err := report.ParseCheck(text)
		if refused, ok := errors.AsType[*report.RefusedError](err); !ok || refused.Why != why {
			t.Errorf("%.40q: %v, want a refusal for %s", text, err, why)
		}
	}
}

func TestFormatCheck(t *testing.T) {
	for _, c := range []struct {
		status report.Status
		want   string
	}{
		{report.Status{Oper: report.Up, Admin: report.Ready, Weight: new(50), MaxConn: new(30)}, "up ready 50% maxconn:30\n"},
		{report.Status{Admin: report.Drain, Reason: "an upgrade"}, "drain #an upgrade\n"},
		{report.Status{Weight: new(0)}, "0%\n"},
		{report.Status{}, ""},
		{report.Status{Reason: "alone"}, ""},
		{report.Status{Oper: "sideways"}, ""},
		{report.Status{Weight: new(-1)}, ""},
		{report.Status{Oper: report.Down, Reason: "two\nlines"}, ""},
	} {
		if got, err := report.FormatCheck(c.status); got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%+v: %q, %v; want %q", c.status, got, err, c.want)
		}
	}
}

func TestTakes(t *testing.T) {
	for text, want := range map[string]bool{
		"up": true, "ready": true, "50%": true, "up ready": true,
		"drain": false, "up maint": false, "down ready": false, "fail": false, "stopped": false,
	} {
		s, err := report.ParseCheck(text)
		if err != nil || s.Takes() != want {
			t.Errorf("%q takes flows: %v, %v", text, s.Takes(), err)
		}
	}
}

func FuzzParseCheck(f *testing.F) {
	for _, seed := range []string{"up ready 50% maxconn:30 #why\r\n", "failed,0%", "\n", "#", "down##"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := report.ParseCheck(text)
		if err != nil {
			if _, ok := errors.AsType[*report.RefusedError](err); !ok {
				t.Fatalf("no refusal: %v", err)
			}
			return
		}
		line, err := report.FormatCheck(s)
		if err != nil {
			t.Fatalf("%+v was read and cannot be written: %v", s, err)
		}
		if again, err := report.ParseCheck(line); err != nil || !reflect.DeepEqual(again, s) {
			t.Fatalf("%+v became %q and then %+v, %v", s, line, again, err)
		}
	})
}
