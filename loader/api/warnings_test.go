package api

import (
	"slices"
	"strings"
	"testing"

	"weir/loader/lb"
)

func TestFewWarnings(t *testing.T) {
	all := make([]string, 1000)
	for i := range all {
		all[i] = string(rune('a' + i%26))
	}
	if got := few(slices.Clone(all[:fewWarnings])); !slices.Equal(got, all[:fewWarnings]) {
		t.Errorf("%d warnings became %q", fewWarnings, got)
	}
	got := few(slices.Clone(all))
	if len(got) != fewWarnings || !slices.Equal(got[:fewWarnings-1], all[:fewWarnings-1]) || got[fewWarnings-1] != "and 981 more like the last" {
		t.Errorf("1000 warnings became %q", got)
	}
}

func TestSlowInterfaces(t *testing.T) {
	d := lb.DataPlaneInfo{Attachments: []lb.Attachment{{Interface: "eth0", Mode: "native"}, {Interface: "bond0", Mode: "generic"}}}
	got := slowInterfaces(lb.Config{XDPMode: lb.XDPAuto}, d)
	if len(got) != 1 || !strings.Contains(got[0], "generic mode on bond0") {
		t.Errorf("warnings %q, want one about bond0", got)
	}
	if got := slowInterfaces(lb.Config{XDPMode: lb.XDPGeneric}, d); len(got) != 0 {
		t.Errorf("warnings %q where generic mode was asked for", got)
	}
}
