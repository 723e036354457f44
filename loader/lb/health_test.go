package lb

import "testing"

func TestStatusSet(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"200", "200"},
		{"200-299", "200-299"},
		{"200-299,304", "200-299,304"},
		{" 204 , 200-203,599,100", "100,200-204,599"},
		{"", ""}, {"99", ""}, {"600", ""}, {"200-", ""}, {"299-200", ""}, {"2xx", ""}, {"200,,201", ""}, {"-5", ""},
	} {
		set, err := ParseStatusSet(c.text)
		if (err == nil) != (c.want != "") || set.String() != c.want {
			t.Errorf("%q reads %q, %v; want %q", c.text, set, err, c.want)
		}
	}
	set, _ := ParseStatusSet("100,164,200-299,599")
	for code := -100; code < 1000; code++ {
		want := code == 100 || code == 164 || code >= 200 && code <= 299 || code == 599
		if set.Has(code) != want {
			t.Errorf("has %d: %t", code, !want)
		}
	}
}

func TestParseHealthType(t *testing.T) {
	for _, want := range HealthTypes() {
		if got, err := ParseHealthType(string(want)); got != want || err != nil {
			t.Errorf("%s reads %s, %v", want, got, err)
		}
	}
	for _, wrong := range []string{"", "TCP", "icmp"} {
		if _, err := ParseHealthType(wrong); err == nil {
			t.Errorf("%q was accepted", wrong)
		}
	}
}
