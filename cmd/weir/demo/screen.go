package demo

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// screen is where progress goes: a table redrawn in place on a terminal, plain
// lines elsewhere. With --json it is the standard error output.
type screen struct {
	out    io.Writer
	result io.Writer
	live   bool
	height int // lines of the table that stands there
}

func newScreen(opts options, stdout, stderr io.Writer) *screen {
	s := &screen{out: stdout, result: stdout}
	if opts.json {
		s.out = stderr
	}
	s.live = isTerminal(s.out)
	return s
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// refresh is the time between two frames.
func (s *screen) refresh() time.Duration {
	if s.live {
		return 500 * time.Millisecond
	}
	return 2 * time.Second
}

// say prints a line. A table above it stays as it is.
func (s *screen) say(format string, args ...any) error {
	s.height = 0
	if _, err := fmt.Fprintf(s.out, format+"\n", args...); err != nil {
		return fmt.Errorf("writing to the terminal: %w", err)
	}
	return nil
}

// show draws a frame over the one before.
func (s *screen) show(f frame) error {
	if !s.live {
		return s.say("%s", f.line())
	}
	table := f.table()
	over := ""
	if s.height > 0 {
		over = fmt.Sprintf("\x1b[%dA\x1b[J", s.height) // up, and erase below
	}
	if _, err := io.WriteString(s.out, over+table); err != nil {
		return fmt.Errorf("drawing the table: %w", err)
	}
	s.height = strings.Count(table, "\n")
	return nil
}
