package report_test

import (
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/agent/report"
)

const whole = `{"version":1,"backend":"10.0.0.11","boot":"b-1","seq":7,"age_ms":250,"tau_ms":5000,"rate":12.5,` +
	`"values":{"cpu":0.5,"iops.sda":1000,"custom.queue":3},"missing":{"custom.jobs":"no answer for 3s"},` +
	`"status":{"admin":"drain","oper":"up","weight_percent":50,"maxconn":0,"reason":"an upgrade"}}`

func decoded() report.Report {
	return report.Report{
		Backend: "10.0.0.11", Boot: "b-1", Seq: 7, Age: 250 * time.Millisecond, Tau: 5 * time.Second, Rate: 12.5,
		Values:  map[string]float64{"cpu": 0.5, "iops.sda": 1000, "custom.queue": 3},
		Missing: map[string]string{"custom.jobs": "no answer for 3s"},
		Status:  report.Status{Admin: report.Drain, Oper: report.Up, Weight: new(50), MaxConn: new(0), Reason: "an upgrade"},
	}
}

func TestDecode(t *testing.T) {
	got, err := report.Decode([]byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	if want := decoded(); !reflect.DeepEqual(got, want) {
		t.Errorf("decoded %+v, want %+v", got, want)
	}
}

func TestEncode(t *testing.T) {
	body, err := report.Encode(decoded())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := report.Decode(body); err != nil || !reflect.DeepEqual(got, decoded()) {
		t.Errorf("decoded again: %+v, %v", got, err)
	}
	least := report.Report{Backend: "web1.example", Boot: "b", Age: 1}
	body, err = report.Encode(least)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"version":1,"backend":"web1.example","boot":"b","seq":0,"age_ms":1,"tau_ms":0,"values":{}}` + "\n"
	if string(body) != want {
		t.Errorf("encoded %s, want %s", body, want)
	}
}

// TestLargest is the largest report that the single limits allow.
func TestLargest(t *testing.T) {
	r := decoded()
	r.Status.Reason = strings.Repeat(`"`, 256)
	for i := range report.MaxValues - len(r.Values) {
		r.Values[fmt.Sprintf("custom.%057d", i)] = math.Pi * 1e-7
	}
	for i := range 63 {
		r.Missing[fmt.Sprintf("custom.%057d", i)] = strings.Repeat(`\`, 256)
	}
	body, err := report.Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := report.Read(strings.NewReader(string(body))); err != nil {
		t.Errorf("%d bytes: %v", len(body), err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, c := range []struct {
		old, new string
		why      report.Refusal
	}{
		{whole, ``, report.Malformed},
		{whole, `null`, report.Malformed},
		{whole, `[1]`, report.Malformed},
		{whole, `{}`, report.Missing},
		{whole, whole + whole, report.Malformed},
		{whole, whole + strings.Repeat(" ", report.MaxBytes), report.TooLong},
		{whole, strings.Repeat("[", 60_000), report.Malformed},
		{`"version":1`, `"version":2`, report.OtherVersion},
		{`"version":1`, `"version":"1"`, report.Malformed},
		{`"version":1`, `"Version":1`, report.UnknownField},
		{`"version":1`, `"version":1,"version":1`, report.Duplicate},
		{`"version":1`, `"version":1,"more":{"a":[1]}`, report.UnknownField},
		{`"backend":"10.0.0.11"`, `"backend":""`, report.Missing},
		{`"backend":"10.0.0.11"`, `"backend":null`, report.Malformed},
		{`"backend":"10.0.0.11"`, `"backend":"10.0.0.011"`, report.BadName},
		{`"backend":"10.0.0.11"`, `"backend":"*.example"`, report.BadName},
		{`"backend":"10.0.0.11"`, `"backend":"fe80::1%eth0"`, report.BadName},
		{`"backend":"10.0.0.11",`, ``, report.Missing},
		{`"boot":"b-1"`, `"boot":""`, report.Missing},
		{`"boot":"b-1"`, `"boot":"b\u00001"`, report.BadName},
		{`"boot":"b-1"`, `"boot":"` + strings.Repeat("b", 65) + `"`, report.TooLarge},
		{`"boot":"b-1",`, ``, report.Missing},
		{`"seq":7`, `"seq":-7`, report.Negative},
		{`"seq":7`, `"seq":7.5`, report.Malformed},
		{`"seq":7`, `"seq":18446744073709551616`, report.TooLarge},
		{`"age_ms":250`, `"age_ms":-1`, report.Negative},
		{`"age_ms":250`, `"age_ms":86400001`, report.TooLarge},
		{`"age_ms":250`, `"age_ms":18446744073709551615`, report.TooLarge},
		{`"tau_ms":5000`, `"tau_ms":1e3`, report.Malformed},
		{`"rate":12.5`, `"rate":-12.5`, report.Negative},
		{`"rate":12.5`, `"rate":1e13`, report.TooLarge},
		{`"cpu":0.5`, `"cpu":NaN`, report.Malformed},
		{`"cpu":0.5`, `"cpu":"NaN"`, report.Malformed},
		{`"cpu":0.5`, `"cpu":Infinity`, report.Malformed},
		{`"cpu":0.5`, `"cpu":1.01`, report.TooLarge},
		{`"cpu":0.5`, `"cpu.0":1e308`, report.TooLarge},
		{`"cpu":0.5`, `"cpu":1e999`, report.TooLarge},
		{`"cpu":0.5`, `"cpu":-0.5`, report.Negative},
		{`"cpu":0.5`, `"cpu":null`, report.Malformed},
		{`"cpu":0.5`, `"cpu":{"cpu":1}`, report.Malformed},
		{`"cpu":0.5`, `"cpu":0.5,"cpu":0.6`, report.Duplicate},
		{`"cpu":0.5`, `"cpu":0.5,"\u0063pu":0.6`, report.Duplicate},
		{`"cpu":0.5`, `"CPU":0.5`, report.BadName},
		{`"cpu":0.5`, `"":0.5`, report.BadName},
		{`"cpu":0.5`, `"cpu\n":0.5`, report.BadName},
		{`"custom.queue":3`, `"custom.queue":1e308`, report.TooLarge},
		{`"custom.queue":3`, many(255), report.TooMany},
		{`"values":{`, `"values":[],"more":{`, report.Malformed},
		{`"no answer for 3s"`, `"no\nanswer"`, report.BadText},
		{`"no answer for 3s"`, `"\u001b[2J"`, report.BadText},
		{`"no answer for 3s"`, `"` + strings.Repeat("a", 257) + `"`, report.TooLarge},
		{`"admin":"drain"`, `"admin":"up"`, report.BadState},
		{`"admin":"drain"`, `"admin":""`, report.BadState},
		{`"oper":"up"`, `"oper":"ready"`, report.BadState},
		{`"oper":"up"`, `"oper":"up","oper":"down"`, report.Duplicate},
		{`"oper":"up"`, `"shell":"up"`, report.UnknownField},
		{`"weight_percent":50`, `"weight_percent":-1`, report.Negative},
		{`"weight_percent":50`, `"weight_percent":10001`, report.TooLarge},
		{`"weight_percent":50`, `"weight_percent":18446744073709551615`, report.TooLarge},
		{`"maxconn":0`, `"maxconn":2147483648`, report.TooLarge},
		{`"reason":"an upgrade"`, `"reason":7`, report.Malformed},
	} {
		if !strings.Contains(whole, c.old) {
			t.Fatalf("the document has no %s", c.old)
		}
		_, err := report.Decode([]byte(strings.Replace(whole, c.old, c.new, 1)))
		if refused, ok := errors.AsType[*report.RefusedError](err); !ok || refused.Why != c.why {
			t.Errorf("%.60s: %v, want a refusal for %s", c.new, err, c.why)
		}
	}
}

func many(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(`"custom.%d":%d`, i, i))
	}
	return strings.Join(all, ",")
}

func TestEncodeRefuses(t *testing.T) {
	for _, c := range []struct {
		change func(*report.Report)
		why    report.Refusal
	}{
		{func(r *report.Report) { r.Values["cpu"] = math.NaN() }, report.NotFinite},
		{func(r *report.Report) { r.Values["custom.x"] = math.Inf(1) }, report.NotFinite},
		{func(r *report.Report) { r.Rate = math.Inf(-1) }, report.NotFinite},
		{func(r *report.Report) { r.Age = -1 }, report.Negative},
		{func(r *report.Report) { r.Tau = 25 * time.Hour }, report.TooLarge},
		{func(r *report.Report) { r.Missing["a b"] = "" }, report.BadName},
		{func(r *report.Report) { r.Status.Reason = "a\nb" }, report.BadText},
	} {
		r := decoded()
		c.change(&r)
		_, err := report.Encode(r)
		if refused, ok := errors.AsType[*report.RefusedError](err); !ok || refused.Why != c.why {
			t.Errorf("%+v: %v, want a refusal for %s", r, err, c.why)
		}
	}
}

func TestRefusals(t *testing.T) {
	all := report.Refusals()
	if slices.Sort(all); len(slices.Compact(all)) != 13 {
		t.Errorf("refusals %q", all)
	}
}

func TestMetrics(t *testing.T) {
	all := report.Metrics()
	names := map[string]bool{}
	for _, m := range all {
		if !report.ValidMetric(m.Name) || m.Text == "" {
			t.Errorf("metric %+v", m)
		}
		names[m.Name] = true
	}
	if len(names) != len(all) || !slices.IsSorted(slices.Collect(func(yield func(string) bool) {
		for _, m := range all {
			if !yield(m.Name) {
				return
			}
		}
	})) {
		t.Errorf("not each once and sorted: %v", slices.Sorted(maps.Keys(names)))
	}
	for name, want := range map[string]report.Unit{
		"cpu": report.Ratio, "disk_util.nvme0n1": report.Ratio, "iops.sda": report.PerSecond, "custom.cpu": "", "other": "",
	} {
		if unit, known := report.UnitOf(name); unit != want || known != (want != "") {
			t.Errorf("%s: %q, %v", name, unit, known)
		}
	}
}

func TestSpeaksFor(t *testing.T) {
	cert := &x509.Certificate{
		DNSNames:    []string{"web1.example", "*.example"},
		IPAddresses: []net.IP{net.ParseIP("10.0.0.11"), net.ParseIP("2001:db8::1")},
	}
	for identity, want := range map[string]bool{
		"10.0.0.11": true, "2001:db8::1": true, "::ffff:10.0.0.11": true, "web1.example": true,
		"10.0.0.12": false, "web2.example": false, "*.example": false, "": false,
	} {
		if got := report.SpeaksFor(cert, identity); got != want {
			t.Errorf("speaks for %q: %v", identity, got)
		}
	}
}

func TestClean(t *testing.T) {
	for text, want := range map[string]string{
		"plain": "plain", "a\nb\x1b": "a?b?", "zwölf": "zw?lf", "\xff": "?", strings.Repeat("é", 300): strings.Repeat("?", 256),
	} {
		if got := report.Clean(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{whole, `{}`, `{"version":1,"backend":"a","boot":"b","seq":0,"age_ms":0,"tau_ms":0,"values":{"cpu":1e-400}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := report.Decode(body)
		if err != nil {
			if _, ok := errors.AsType[*report.RefusedError](err); !ok {
				t.Fatalf("no refusal: %v", err)
			}
			return
		}
		again, err := report.Encode(r)
		if err != nil {
			t.Fatalf("decoded, but not encoded: %v", err)
		}
		if same, err := report.Decode(again); err != nil || len(same.Values) != len(r.Values) || same.Age != r.Age || same.Seq != r.Seq {
			t.Fatalf("%+v became %+v, %v", r, same, err)
		}
		for name, v := range r.Values {
			if math.IsNaN(v) || v < 0 || v > report.MaxValue {
				t.Fatalf("%s is %v", name, v)
			}
		}
	})
}
