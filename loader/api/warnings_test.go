package api

import (
	"slices"
	"testing"
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
