package compile_test

import (
	"os"
	"path/filepath"
	"testing"
)

// Every listener that a real istiod sends compiles, but for what is not built yet.
func TestIstio(t *testing.T) {
	files, err := filepath.Glob("../../testdata/istio/*.json")
	if err != nil || len(files) != 4 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range bootstrap(t, string(text)).Listeners {
				if len(l.Chains) == 0 {
					t.Errorf("%s has no chains", l.Info.Name)
				}
				if l.Info.Name == "main_internal" && (l.Matcher == nil || !l.Internal) {
					t.Errorf("%s chooses no chain by a matcher", l.Info.Name)
				}
			}
		})
	}
}
