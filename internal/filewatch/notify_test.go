package filewatch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
)

// instances returns how many inotify instances the process has open.
func instances(t *testing.T) (n int) {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("descriptors cannot be counted here")
	}
	for _, fd := range open {
		if to, _ := os.Readlink("/proc/self/fd/" + fd.Name()); strings.Contains(to, "inotify") {
			n++
		}
	}
	return n
}

// More files than a user may have inotify instances: each is told of by the system, and
// nothing is left in the end (of goroutines, TestMain sees to it).
func TestManyFiles(t *testing.T) {
	for name, folder := range map[string]func(dir string, i int) string{
		"one folder":   func(dir string, _ int) string { return dir },
		"many folders": func(dir string, i int) string { return filepath.Join(dir, fmt.Sprint(i)) },
	} {
		t.Run(name, func(t *testing.T) {
			before := instances(t)
			if before != 0 {
				t.Fatalf("%d instances are open before", before)
			}
			ctx, cancel := context.WithCancel(context.Background())
			var watching, begun sync.WaitGroup
			defer watching.Wait()
			defer cancel()
			dir := t.TempDir()
			files, told := make([]string, 200), make([]chan struct{}, 200)
			for i := range files {
				try(t, os.MkdirAll(folder(dir, i), 0o755))
				files[i], told[i] = filepath.Join(folder(dir, i), fmt.Sprint("f", i)), make(chan struct{}, 100)
				write(t, files[i], "x")
				o := Options{File: files[i], Moved: true, Settle: time.Millisecond, Again: time.Hour}
				begun.Add(1)
				watching.Go(func() { Watch(ctx, o, begun.Done, func() { told[i] <- struct{}{} }) })
			}
			begun.Wait()
			if n := instances(t); n != 1 {
				t.Errorf("%d instances are open for 200 files", n)
			}
			for range 2 {
				for _, f := range files {
					write(t, f+".new", "another")
					try(t, os.Rename(f+".new", f))
				}
				for i := range files {
					await(t, told[i])
				}
			}
			cancel()
			watching.Wait()
			if n := instances(t); n != 0 || process.notifier != nil || process.users != 0 {
				t.Errorf("%d instances are left, of %d users", n, process.users)
			}
		})
	}
}

// The end of one watch takes nothing from another one of the same folder, by whatever path.
func TestOneOfTwoEnds(t *testing.T) {
	dir := t.TempDir()
	try(t, os.Mkdir(filepath.Join(dir, "real"), 0o755))
	try(t, os.Symlink("real", filepath.Join(dir, "link")))
	file := filepath.Join(dir, "real", "f")
	write(t, file, "x")
	for i, first := range []string{"real", "link"} {
		t.Run(first, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			begun, over := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(over)
				Watch(ctx, Options{File: filepath.Join(dir, first, "f"), Again: time.Hour}, func() { close(begun) }, func() {})
			}()
			<-begun
			told := watched(t, Options{File: file, Again: time.Hour})
			cancel()
			<-over
			write(t, file, strings.Repeat("another", i+1))
			await(t, told)
		})
	}
}

// A folder that was put in place of a watched one is watched from the first change of it
// that is found: here by a watch of its parent, as that of a watched_directory.
func TestFolderReplaced(t *testing.T) {
	dir := t.TempDir()
	place := filepath.Join(dir, "place")
	try(t, os.Mkdir(place, 0o755))
	file := filepath.Join(place, "f")
	write(t, file, "x")
	told := watched(t, Options{File: file, More: []string{filepath.Join(dir, "beside")}, Again: time.Hour})
	try(t, os.Mkdir(filepath.Join(dir, "next"), 0o755))
	write(t, filepath.Join(dir, "next", "f"), "another")
	try(t, os.Rename(place, filepath.Join(dir, "old")))
	try(t, os.Rename(filepath.Join(dir, "next"), place))
	await(t, told)
	// It is followed after it was told; a change until then is found as well.
	write(t, file, "a third one")
	await(t, told)
	write(t, file, "the fourth one")
	await(t, told)
}

// Where events have been lost, all files are looked at.
func TestEventsLost(t *testing.T) {
	watcher, err := fsnotify.NewWatcher()
	try(t, err)
	n := newNotifier(watcher)
	defer n.close()
	dir := t.TempDir()
	w := &watch{told: make(chan struct{}, 1)}
	n.follow(w, []string{dir})
	watcher.Errors <- fsnotify.ErrEventOverflow
	await(t, w.told)
}

// Where there is no watcher the log says so, once, and what changes is found all the same.
func TestNoWatcher(t *testing.T) {
	var lines bytes.Buffer
	log := slog.New(slog.NewTextHandler(&lines, nil))
	s := &shared{open: func() (*fsnotify.Watcher, error) { return nil, errors.New("too many open files") }}
	for range 3 {
		if s.join(log) != nil {
			t.Fatal("there is a notifier")
		}
	}
	if n := strings.Count(lines.String(), "too many open files"); n != 1 {
		t.Errorf("%d lines of\n%s", n, &lines)
	}
	s.open = fsnotify.NewWatcher
	n := s.join(log)
	if n == nil {
		t.Fatal("there is no notifier")
	}
	// A folder that is not there is not worth a line.
	n.follow(&watch{o: Options{Log: log}}, []string{filepath.Join(t.TempDir(), "none")})
	s.leave()
	if strings.Contains(lines.String(), fs.ErrNotExist.Error()) || s.notifier != nil {
		t.Errorf("%v, %s", s.notifier, &lines)
	}
}
