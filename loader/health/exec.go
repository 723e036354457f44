package health

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// maxOutput is how much of a command's output is kept for the failure's text.
const maxOutput = 4 << 10

// command runs a program of this host. Exit status 0 means that the backend
// can serve.
type command struct {
	argv []string
	env  []string
}

func newExec(t Target) (Checker, error) {
	if len(t.Health.Command) == 0 {
		return nil, errors.New("there is no command")
	}
	vip := ""
	if t.VIP.IsValid() {
		vip = t.VIP.String()
	}
	return command{argv: t.Health.Command, env: append(os.Environ(),
		"WEIR_POOL="+t.Pool,
		"WEIR_ADDRESS="+t.Endpoint.Addr().String(),
		"WEIR_PORT="+strconv.Itoa(int(t.Address.Port())),
		"WEIR_VIP="+vip,
	)}, nil
}

func (c command) Check(ctx context.Context) (Report, error) {
	output := &tail{most: maxOutput}
	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = c.env, output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// What the command started goes with it, and nothing that keeps its
	// output open is waited for.
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 100 * time.Millisecond
	err := cmd.Run()
	if ctx.Err() != nil {
		return Report{}, failed("run "+c.argv[0], ctx.Err(), ReasonTimeout)
	}
	return Report{}, c.judge(err, output)
}

func (c command) judge(err error, output *tail) error {
	exit := (*exec.ExitError)(nil)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &exit):
		return failedf(ReasonCommand, "run "+c.argv[0], "%s: %s", exit, output.lastLine())
	case errors.Is(err, exec.ErrWaitDelay):
		return failedf(ReasonCommand, "run "+c.argv[0], "it ended and left its output open")
	}
	return failed("run "+c.argv[0], err, ReasonLocal)
}

// tail keeps the last bytes that are written to it.
type tail struct {
	most int
	kept []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.kept = append(t.kept, b...)
	if extra := len(t.kept) - t.most; extra > 0 {
		t.kept = append(t.kept[:0], t.kept[extra:]...)
	}
	return len(b), nil
}

func (t *tail) lastLine() string {
	text := strings.TrimSpace(string(t.kept))
	if text == "" {
		return "it said nothing"
	}
	return excerpt([]byte(text[strings.LastIndexByte(text, '\n')+1:]))
}
