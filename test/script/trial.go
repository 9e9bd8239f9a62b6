package script

import (
	"fmt"
	"runtime"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// A trial is a report of a run that may fail without failing a test. Like a testing.T it
// ends the goroutine that it is told to fail in.
type trial struct {
	mu     sync.Mutex
	failed bool
	said   strings.Builder
}

func (t *trial) Parallel()     {}
func (t *trial) Verbose() bool { return false }

// Run runs f to its end, in a goroutine of its own.
func (t *trial) Run(_ string, f func(testscript.T)) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f(t)
	}()
	<-ended
}

func (t *trial) Log(args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintln(&t.said, args...)
}

func (t *trial) Errorf(format string, args ...any) {
	t.Log(fmt.Sprintf(format, args...))
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failed = true
}

func (t *trial) Failed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failed
}

func (t *trial) FailNow() {
	t.Errorf("failed")
	runtime.Goexit()
}

func (t *trial) Fatal(args ...any) {
	t.Log(args...)
	t.FailNow()
}

// Skip is of scripts that skip, which none here does.
func (t *trial) Skip(args ...any) { t.Fatal(args...) }
