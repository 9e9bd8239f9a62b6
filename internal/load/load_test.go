package load_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"

	"github.com/ginnel/ginnel/builtin"
	"github.com/ginnel/ginnel/internal/config"
	"github.com/ginnel/ginnel/internal/config/expect"
	"github.com/ginnel/ginnel/internal/load"
)

// Every file of testdata/broken says in its text what is wrong with it.
func TestBroken(t *testing.T) {
	expect.Run(t, "testdata/broken/*.yaml", func(path string, data []byte) []config.Issue {
		return loaded(t, load.Source{Path: path, Data: data}).Issues
	})
}

func loaded(t *testing.T, src load.Source) *load.Result {
	t.Helper()
	r, err := load.Load(src, builtin.Registry())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Published samples, and our own, load: ours without a warning.
func TestSamples(t *testing.T) {
	for pattern, worst := range map[string]config.Severity{
		"../config/testdata/origin/*.yaml": config.Error, "../../examples/*.yaml": config.Warning,
	} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no files (%v)", pattern, err)
		}
		for _, file := range files {
			for _, i := range loaded(t, load.Source{Path: file}).Issues {
				if i.Severity <= worst {
					t.Errorf("%s: %v", file, i)
				}
			}
		}
	}
}

// A fault that reading finds is not told again by compiling, with positions or
// without.
func TestOneFaultOneIssue(t *testing.T) {
	const text = `
static_resources:
  listeners:
  - name: l
    address: {socket_address: {address: 127.0.0.1, port_value: 65536}}
    filter_chains: [{filters: [{name: x, typed_config: {"@type": type.googleapis.com/no.such.Type}}]}]
`
	if got := loaded(t, load.Source{Path: "f.yaml", Data: []byte(text)}).Issues; len(got) != 2 {
		t.Errorf("file: %v", got)
	}
	doc, err := config.Load(config.Input{Path: "f.yaml", Data: []byte(`
static_resources:
  listeners:
  - name: l
    address: {socket_address: {address: 127.0.0.1, port_value: 1}}
    filter_chains: [{filters: [{name: x, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo}}]}]
`)})
	if err != nil {
		t.Fatal(err)
	}
	b := doc.Message.(*bootstrapv3.Bootstrap)
	b.StaticResources.Listeners[0].FilterChains[0].Filters[0].GetTypedConfig().TypeUrl = "type.googleapis.com/no.such.Type"
	if got := loaded(t, load.Source{Message: b}).Issues; len(got) != 1 {
		t.Errorf("message: %v", got)
	}
}

// Whatever the bytes are, Load answers with a plan or faults, the same each time.
func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"testdata/broken/*.yaml", "../config/testdata/origin/*.yaml", "../config/testdata/istio/*"} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	reg := builtin.Registry()
	f.Fuzz(func(t *testing.T, data []byte) {
		src := load.Source{Path: "f.yaml", Data: data}
		first, err := load.Load(src, reg)
		if err != nil {
			return
		}
		if again, _ := load.Load(src, reg); !slices.Equal(first.Issues, again.Issues) {
			t.Errorf("%v\nthen\n%v", first.Issues, again.Issues)
		}
		if first.Err(false) == nil && first.Plan == nil {
			t.Error("neither plan nor faults")
		}
	})
}
