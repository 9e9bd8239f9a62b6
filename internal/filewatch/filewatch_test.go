package filewatch

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// watched starts a watch and returns what it tells.
func watched(t *testing.T, o Options) <-chan struct{} {
	t.Helper()
	o.Settle = 5 * time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	told, begun, over := make(chan struct{}, 100), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		Watch(ctx, o, func() { close(begun) }, func() { told <- struct{}{} })
	}()
	t.Cleanup(func() { cancel(); <-over })
	<-begun
	return told
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func try(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func await(t *testing.T, told <-chan struct{}) {
	t.Helper()
	select {
	case <-told:
	case <-time.After(30 * time.Second):
		t.Fatal("not told")
	}
}

func TestWhatIsTold(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, dir, file string){
		"written": func(t *testing.T, _, file string) { write(t, file, "another") },
		"moved": func(t *testing.T, dir, file string) {
			write(t, dir+"/new", "another")
			try(t, os.Rename(dir+"/new", file))
		},
		"removed, made":   func(t *testing.T, _, file string) { try(t, os.Remove(file)); write(t, file, "another") },
		"link to another": func(t *testing.T, dir, file string) { link(t, dir, file, "second") },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "f")
			write(t, file, "x")
			told := watched(t, Options{File: file, Again: time.Hour})
			change(t, dir, file)
			await(t, told)
		})
	}
}

func link(t *testing.T, dir, file, text string) {
	t.Helper()
	write(t, filepath.Join(dir, text), text)
	try(t, os.Symlink(text, filepath.Join(dir, "link")))
	try(t, os.Rename(filepath.Join(dir, "link"), file))
}

// What Kubernetes does with a mounted ConfigMap: the link ..data is moved.
func TestLinkOfAFolder(t *testing.T) {
	dir := t.TempDir()
	for _, v := range []string{"1", "2"} {
		try(t, os.Mkdir(filepath.Join(dir, v), 0o755))
		write(t, filepath.Join(dir, v, "f"), v)
	}
	try(t, os.Symlink("1", filepath.Join(dir, "..data")))
	try(t, os.Symlink("..data/f", filepath.Join(dir, "f")))
	for name, o := range map[string]Options{
		"file":              {File: filepath.Join(dir, "f"), Moved: true, Again: time.Hour},
		"watched_directory": {File: filepath.Join(dir, "f"), Dir: dir, Moved: true, Again: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			told := watched(t, o)
			for _, to := range []string{"2", "1"} {
				try(t, os.Symlink(to, filepath.Join(dir, "next")))
				try(t, os.Rename(filepath.Join(dir, "next"), filepath.Join(dir, "..data")))
				await(t, told)
			}
		})
	}
}

// A file that is written where it stands is not told of where only moves are.
func TestOnlyMoves(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	write(t, file, "x")
	w := &watch{o: Options{File: file, Moved: true}}
	w.seen = w.o.Look()
	write(t, file, "another")
	if w.differs(w.o.Look()) {
		t.Error("told of a file that was written")
	}
	write(t, dir+"/new", "third")
	try(t, os.Rename(dir+"/new", file))
	if !w.differs(w.o.Look()) {
		t.Error("not told of a move")
	}
}

// A file that was removed before another one was moved to its place, which has its number
// then on some file systems: they differ in when they were made.
func TestMovedWithTheSameNumber(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	write(t, file, "x")
	w := &watch{o: Options{File: file, Moved: true}}
	w.seen = w.o.Look()
	w.seen.files[0].born = w.seen.files[0].born.Add(-time.Second)
	if !w.differs(w.o.Look()) {
		t.Error("not told of a move")
	}
}

// Where nothing is told by the system, looking again finds it.
func TestLookingAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "later", "f")
	told := watched(t, Options{File: file, Again: 5 * time.Millisecond})
	try(t, os.Mkdir(filepath.Dir(file), 0o755))
	write(t, file, "x")
	await(t, told)
}

// A change of any of several files is told of.
func TestMoreFiles(t *testing.T) {
	dir := t.TempDir()
	for _, f := range []string{"cert", "key"} {
		write(t, filepath.Join(dir, f), "x")
	}
	told := watched(t, Options{File: filepath.Join(dir, "cert"), More: []string{filepath.Join(dir, "key")}, Moved: true, Again: time.Hour})
	for _, f := range []string{"key", "cert", "key"} {
		write(t, filepath.Join(dir, "new"), f)
		try(t, os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, f)))
		await(t, told)
	}
}

// A file in whose place others are moved without a rest is told of all the same.
func TestNeverStill(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	write(t, file, "x")
	told := watched(t, Options{File: file, Moved: true})
	for end := time.Now().Add(30 * time.Second); len(told) < 3; {
		write(t, dir+"/new", "another")
		try(t, os.Rename(dir+"/new", file))
		if time.Now().After(end) {
			t.Fatal("not told")
		}
	}
}
