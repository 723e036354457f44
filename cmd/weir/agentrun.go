package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"weir/agent"
	"weir/agent/config"
)

// agentMemory is a soft limit: without it the heap would double before the
// first collection.
const agentMemory = 16 << 20

// agentFlags are the options of agent run as typed. They change what the file
// or the defaults say.
type agentFlags struct {
	file                string
	backend, listen     string
	checkListen, cgroup string
	ca, cert, key       string
	socket, stateDir    string
	tau                 time.Duration
}

func (a *app) agentRunCommand() *cobra.Command {
	var f agentFlags
	cmd := &cobra.Command{
		Use:   "run [-c FILE]",
		Short: "Report this host's load to balancers",
		Long: `Samples CPU, memory, disks, network and more once a second and serves them to
balancers over HTTPS, with certificates on both sides (weir agent keys makes
them). With --agent-check it answers HAProxy's agent-check too, in plain text.
Runs in the foreground until SIGTERM or SIGINT; SIGHUP reads the certificates
again.`,
		Example: `  weir agent run -c /etc/weir/agent.yaml
  weir agent run --cert agent-10.0.0.11.crt --key agent-10.0.0.11.key --ca ca.crt
  weir agent run --listen '' --agent-check :9708      # for HAProxy alone
  weir agent run --cgroup /system.slice/web.service   # the load of one service`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.config(cmd.Flags())
			if err != nil {
				return err
			}
			return a.runAgent(cmd.Context(), c)
		},
	}
	flags := cmd.Flags()
	d := config.Default()
	flags.StringVarP(&f.file, "config", "c", "", "YAML file, see docs/agent.md; flags come before it")
	flags.StringVar(&f.backend, "backend", "", "address or name of this backend; without it the one in the certificate")
	flags.StringVar(&f.listen, "listen", d.Listen, "address of reports over HTTPS; empty for none")
	flags.StringVar(&f.checkListen, "agent-check", "", "address of HAProxy's agent-check over TCP, such as :9708; empty for none")
	flags.StringVar(&f.cgroup, "cgroup", "", "control group that the values are about, such as /system.slice/web.service")
	flags.DurationVar(&f.tau, "tau", d.Tau, "time constant of the smoothing")
	flags.StringVar(&f.ca, "ca", d.TLS.CA, "certificate of the authority of balancers")
	flags.StringVar(&f.cert, "cert", d.TLS.Cert, "certificate of this agent")
	flags.StringVar(&f.key, "key", d.TLS.Key, "key of the certificate")
	flags.StringVar(&f.socket, "socket", d.Socket, "socket of the other agent verbs")
	flags.StringVar(&f.stateDir, "state-dir", d.StateDir, "where the operator's state is kept")
	return cmd
}

// config is the file's, changed by the flags that were given.
func (f *agentFlags) config(flags *pflag.FlagSet) (c config.Config, err error) {
	c = config.Default()
	if f.file != "" {
		if c, err = config.Load(f.file); err != nil {
			return c, err
		}
	}
	for name, set := range map[string]func(){
		"backend":     func() { c.Backend = f.backend },
		"listen":      func() { c.Listen = f.listen },
		"agent-check": func() { c.AgentCheck.Listen = f.checkListen },
		"cgroup":      func() { c.Cgroup = f.cgroup },
		"tau":         func() { c.Tau = f.tau },
		"ca":          func() { c.TLS.CA = f.ca },
		"cert":        func() { c.TLS.Cert = f.cert },
		"key":         func() { c.TLS.Key = f.key },
		"socket":      func() { c.Socket = f.socket },
		"state-dir":   func() { c.StateDir = f.stateDir },
	} {
		if flags.Changed(name) {
			set()
		}
	}
	if err := c.Check(); err != nil {
		if f.file != "" {
			return c, fmt.Errorf("%s: %w", f.file, err)
		}
		return c, usagef("%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return c, nil
}

func (a *app) runAgent(ctx context.Context, c config.Config) error {
	debug.SetMemoryLimit(agentMemory)
	debug.SetGCPercent(50)
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	log := a.logger()
	running, err := agent.Start(ctx, agent.Options{Config: c, Version: versionString(), Log: log})
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: run the agent as root, or as a user who may", err)
	}
	if err != nil {
		return err
	}
	s := running.Status()
	log.Info("agent runs", "backend", s.Backend, "listen", s.Listen, "agent_check", s.Check, "socket", c.Socket, "cgroup", s.Cgroup, "state", s.State.Admin)
	for name, why := range s.Lacking {
		log.Info("not on this host", "collector", name, "why", why)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go followHangups(ctx, hangup, running, log)
	return running.Run(ctx)
}

func followHangups(ctx context.Context, hangup <-chan os.Signal, running *agent.Agent, log *slog.Logger) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
			if err := running.Reload(); err != nil {
				log.Error("certificates stay as they were", "error", err)
				continue
			}
			log.Info("certificates were read again", "expires", running.Status().Expires)
		}
	}
}
