// Package accesslog writes what became of requests, and never makes one wait
// for that.
package accesslog

import (
	"bufio"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Sink is a file that lines are written to by a goroutine of its own. Its
// methods may be called from any goroutine.
type Sink struct {
	name   string
	lines  chan *line
	reopen chan struct{}
	stop   chan struct{}
	done   chan struct{}
	closed sync.Once
	free   sync.Pool // of *line

	dropped, failed atomic.Uint64
}

type line struct{ text []byte }

const (
	linesKept   = 4 << 10  // bytes of a line's memory that is used again
	bufferSize  = 64 << 10 // bytes
	lookEvery   = time.Second
	logFileMode = 0o640
)

// Open opens a file for appending, or stdout or stderr, with room for so many
// lines that wait.
func Open(name string, queue int) (*Sink, error) {
	file, err := open(name)
	if err != nil {
		return nil, fmt.Errorf("access log: %w", err)
	}
	s := &Sink{
		name: name, lines: make(chan *line, queue), reopen: make(chan struct{}, 1),
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	s.free.New = func() any { return &line{} }
	go s.write(file)
	return s, nil
}

func open(name string) (*os.File, error) {
	switch name {
	case "stdout":
		return os.Stdout, nil
	case "stderr":
		return os.Stderr, nil
	}
	return os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, logFileMode)
}

// Reopen makes the sink open its file anew, after it was moved.
func (s *Sink) Reopen() {
	select {
	case s.reopen <- struct{}{}:
	default: // one is due already
	}
}

// Dropped is how many lines had no room, Failed how many could not be written.
func (s *Sink) Dropped() uint64 { return s.dropped.Load() }

// Failed is how many lines could not be written.
func (s *Sink) Failed() uint64 { return s.failed.Load() }

// Close writes what waits. Lines that come later are dropped.
func (s *Sink) Close() {
	s.closed.Do(func() { close(s.stop) })
	<-s.done
}

// take gives memory for a line, to be given to put.
func (s *Sink) take() *line { return s.free.Get().(*line) }

func (s *Sink) put(l *line) {
	select {
	case s.lines <- l:
	default:
		s.dropped.Add(1)
		s.recycle(l)
	}
}

func (s *Sink) recycle(l *line) {
	if cap(l.text) <= linesKept {
		l.text = l.text[:0]
		s.free.Put(l)
	}
}

// writer is the file as the goroutine sees it.
type writer struct {
	sink *Sink
	file *os.File
	buf  *bufio.Writer
	held int // lines in buf
}

func (s *Sink) write(file *os.File) {
	defer close(s.done)
	w := &writer{sink: s, file: file, buf: bufio.NewWriterSize(file, bufferSize)}
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case l := <-s.lines:
			w.add(l)
			w.rest()
			w.flush()
		case <-s.reopen:
			w.open()
		case <-look.C:
			if w.moved() {
				w.open()
			}
		case <-s.stop:
			w.rest()
			w.flush()
			w.close()
			return
		}
	}
}

// rest takes all lines that wait, so that they leave in few writes.
func (w *writer) rest() {
	for {
		select {
		case l := <-w.sink.lines:
			w.add(l)
		default:
			return
		}
	}
}

func (w *writer) add(l *line) {
	if w.buf.Available() < len(l.text) {
		w.flush()
	}
	w.held++
	_, _ = w.buf.Write(l.text) // flush gives the error
	w.sink.recycle(l)
}

func (w *writer) flush() {
	if err := w.buf.Flush(); err != nil {
		w.sink.failed.Add(uint64(w.held))
		w.buf.Reset(w.file) // forgets the error and what was lost
	}
	w.held = 0
}

// moved reports whether the file's name stands for another file now, or none.
func (w *writer) moved() bool {
	if w.isStandard() {
		return false
	}
	now, err := os.Stat(w.sink.name)
	if err != nil {
		return os.IsNotExist(err)
	}
	mine, err := w.file.Stat()
	return err != nil || !os.SameFile(now, mine)
}

// open keeps the old file if there can be no new one.
func (w *writer) open() {
	if w.isStandard() {
		return
	}
	w.flush()
	next, err := open(w.sink.name)
	if err != nil {
		return
	}
	w.close()
	w.file = next
	w.buf.Reset(next)
}

func (w *writer) isStandard() bool { return w.file == os.Stdout || w.file == os.Stderr }

func (w *writer) close() {
	if !w.isStandard() {
		_ = w.file.Close() // what was written is with the kernel
	}
}
