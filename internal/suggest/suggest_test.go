package suggest

import (
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	words := []string{"name", "cluster", "connect_timeout", "clusters", "stat_prefix"}
	for word, want := range map[string]string{
		"nmae": "name", "clutser": "cluster", "clusterz": "cluster", "connect_timout": "connect_timeout",
		"x": "", "": "", "zzzz": "", strings.Repeat("name", 100): "",
	} {
		got := Nearest(word, words)
		if got != want {
			t.Errorf("%s: got %q, want %q", word, got, want)
		}
	}
}
