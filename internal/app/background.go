package app

import (
	"context"
	"sync"
)

// background is what runs beside connections and may outlast them. The zero value is ready
// for use.
type background struct {
	mu    sync.Mutex
	ctx   context.Context // nil until first needed
	stop  context.CancelFunc
	over  bool
	tasks sync.WaitGroup
}

// run implements filter.Env.Background.
func (b *background) run(f func(ctx context.Context)) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over {
		return false
	}
	if b.ctx == nil {
		b.ctx, b.stop = context.WithCancel(context.Background())
	}
	b.tasks.Go(func() { f(b.ctx) })
	return true
}

// end ends all of it and waits for that.
func (b *background) end() {
	b.mu.Lock()
	b.over = true
	if b.stop != nil {
		b.stop()
	}
	b.mu.Unlock()
	b.tasks.Wait()
}
