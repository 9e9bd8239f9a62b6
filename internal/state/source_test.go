package state_test

import (
	"testing"

	"github.com/ginnel/ginnel/extension"
	"github.com/ginnel/ginnel/internal/state"
)

func TestOperatorSuggestions(t *testing.T) {
	for misspelt, want := range map[string]string{
		"HPOS": "HOPS", "DURATOIN": "DURATION", "UPSTREAM_HOSTS": "UPSTREAM_HOST", "NOTHING_LIKE_IT": "",
	} {
		r := &extension.Report{}
		_, ok := state.CompileText(extension.NewScope(r, nil, nil).At("format"), "%"+misspelt+"%", state.Options{})
		if ok || len(r.Issues) != 1 || r.Issues[0].Suggestion != want {
			t.Errorf("%s: %+v, want %q", misspelt, r.Issues, want)
		}
	}
}
