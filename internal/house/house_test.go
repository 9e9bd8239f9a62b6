// Package house holds the rules of the code base that a compiler does not: which
// packages may know which, what every package says of itself, and what does not
// belong in a commit.
package house

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const module = "github.com/ginnel/ginnel"

// root is the top of the repository, as seen from this package.
const root = "../.."

type pkg struct {
	ImportPath, Dir, Name string
	Imports               []string
	GoFiles               []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Name,Imports,GoFiles", "./...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// forbidden maps a package (a path below the module, "..." for what is below it) to
// what it must not import, with the reason.
var forbidden = []struct {
	importer string
	imported []string
	reason   string
}{
	{"filter", []string{"extension", "builtin", "internal/..."}, "what extension authors build on stands alone"},
	{"extension", []string{"builtin", "internal/..."}, "what extension authors build on stands alone"},
	{"internal/plan", []string{"internal/..."}, "a plan is values: nothing runs in it"},
	{"internal/match", []string{"internal/app", "internal/listener", "internal/upstream", "internal/netconn", "internal/inproc/...", "internal/pump"}, "choosing is pure"},
	{"internal/lb", []string{"internal/app", "internal/listener", "internal/upstream", "internal/netconn", "internal/inproc/...", "internal/pump"}, "choosing is pure"},
	{"internal/route", []string{"internal/app", "internal/listener", "internal/upstream", "internal/netconn", "internal/inproc/...", "internal/pump", "internal/hcm", "internal/router"}, "choosing is pure"},
	{"internal/httpmatch", []string{"internal/app", "internal/listener", "internal/upstream", "internal/netconn", "internal/inproc/...", "internal/pump", "internal/hcm", "internal/router", "internal/route"}, "choosing is pure"},
	{"internal/config", []string{"internal/compile", "internal/plan", "internal/app", "internal/listener", "internal/upstream"}, "reading a file knows no meaning"},
	{"internal/compile", []string{"internal/config", "internal/app", "internal/listener", "internal/upstream", "internal/netconn", "internal/inproc/...", "internal/pump", "internal/tcpproxy", "internal/ext/..."}, "compiling starts nothing and reaches extensions through the registry"},
	{"internal/resource", []string{"internal/app", "internal/listener", "internal/upstream", "internal/hcm", "internal/route", "internal/compile", "internal/discovery"}, "who asks for a resource brings what it is compiled with"},
	{"internal/source", []string{"internal/resource", "internal/config", "internal/compile"}, "a message is compiled, and nothing is opened"},
	{"internal/netconn", []string{"internal/inproc/...", "internal/pump", "internal/listener", "internal/upstream", "internal/app"}, "sockets know nothing above them"},
	{"internal/inproc/pipe", []string{"filter", "extension", "internal/..."}, "the pipe is a connection and nothing else"},
	{"internal/inproc", []string{"internal/listener", "internal/upstream", "internal/tcpproxy", "internal/app", "internal/netconn", "internal/pump"}, "the network knows listeners by interface only"},
	{"internal/pump", []string{"internal/listener", "internal/upstream", "internal/tcpproxy", "internal/app"}, "a pump knows hops by interface only"},
	{"internal/tcpproxy", []string{"internal/upstream", "internal/listener", "internal/inproc/...", "internal/pump", "internal/netconn", "internal/app"}, "clusters and pumps are reached through filter.Env"},
	{"internal/router", []string{"internal/hcm", "internal/ext/...", "internal/upstream", "internal/listener", "internal/pump", "internal/netconn", "internal/app"}, "clusters are reached through filter.Env, the client through filter.HTTPHost"},
	{"internal/hcm", []string{"internal/router", "internal/ext/...", "internal/upstream", "internal/listener", "internal/inproc", "internal/pump", "internal/netconn", "internal/app"}, "filters, the router among them, are reached through the registry"},
	{"internal/upstream", []string{"internal/listener", "internal/tcpproxy", "internal/app"}, "clusters do not know who uses them"},
	{"internal/listener", []string{"internal/upstream", "internal/tcpproxy", "internal/pump", "internal/app"}, "a listener knows filters by interface only"},
	{"internal/admin", []string{"internal/listener", "internal/upstream", "internal/app"}, "the admin server shows what it is given"},
	{"internal/ext/...", []string{"internal/ext/...", "internal/app", "internal/listener", "internal/upstream", "internal/tcpproxy"}, "extensions stand side by side"},
	{"internal/...", []string{""}, "nothing below imports the embedding package"},
}

// onlyBy says who may import a package.
var onlyBy = map[string][]string{
	"internal/app": {"", "cmd/ginnel"},
}

func within(path, pattern string) bool {
	if base, ok := strings.CutSuffix(pattern, "/..."); ok {
		return path == base || strings.HasPrefix(path, base+"/")
	}
	return path == pattern
}

func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		from := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		for _, imp := range p.Imports {
			if !strings.HasPrefix(imp, module) {
				continue
			}
			to := strings.TrimPrefix(strings.TrimPrefix(imp, module), "/")
			for _, rule := range forbidden {
				if !within(from, rule.importer) {
					continue
				}
				for _, bad := range rule.imported {
					if within(to, bad) && !strings.HasPrefix(to, from+"/") {
						t.Errorf("%s must not import %q: %s", from, to, rule.reason)
					}
				}
			}
			if allowed, ok := onlyBy[to]; ok && !contains(allowed, from) {
				t.Errorf("%s must not import %s: only %q may", from, to, allowed)
			}
		}
	}
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// TestPackageDocs asks each package for a first sentence that names it.
func TestPackageDocs(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) == 0 {
			continue
		}
		want := "Package " + p.Name + " "
		if p.Name == "main" {
			want = "Command "
		}
		if !documented(t, p, want) {
			t.Errorf("%s: no file says %q...", p.ImportPath, want)
		}
	}
}

func documented(t *testing.T, p pkg, want string) bool {
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if f.Doc != nil && strings.HasPrefix(f.Doc.Text(), want) {
			return true
		}
	}
	return false
}

// TestNoInit: nothing registers itself.
func TestNoInit(t *testing.T) {
	eachFile(t, func(path string, f *ast.File) {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s: no init functions in this house", path)
			}
		}
	})
}

// TestHouseRules finds what the code base does without.
func TestHouseRules(t *testing.T) {
	rules := []struct {
		bad    *regexp.Regexp
		except *regexp.Regexp
		reason string
	}{
		{regexp.MustCompile(`(^|[^A-Za-z0-9_.])/(work|root|farm)/`), nil, "paths of one machine"},
		{regexp.MustCompile(`\btime\.Sleep\(`), regexp.MustCompile(`_test\.go$|^test/|/bench`), "wait for what is awaited, not for time"},
		{regexp.MustCompile(`\bhttp\.DefaultServeMux\b`), regexp.MustCompile(`_test\.go$`), "no global state"},
	}
	eachFile(t, func(path string, _ *ast.File) {
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(text), "\n") {
			for _, r := range rules {
				if r.bad.MatchString(line) && (r.except == nil || !r.except.MatchString(path)) && !strings.Contains(line, "regexp.MustCompile") {
					t.Errorf("%s:%d: %s", path, i+1, r.reason)
				}
			}
		}
	})
}

// TestFormatted: what gofmt would write otherwise is found here, not by whoever builds.
func TestFormatted(t *testing.T) {
	eachFile(t, func(path string, _ *ast.File) {
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		if want, err := format.Source(text); err != nil || !bytes.Equal(text, want) {
			t.Errorf("%s: not as gofmt writes it (%v)", path, err)
		}
	})
}

func eachFile(t *testing.T, f func(path string, file *ast.File)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != ".." {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		f(filepath.ToSlash(rel), file)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
