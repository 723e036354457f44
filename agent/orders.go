package agent

import (
	"errors"
	"os"
	"time"

	"weir/agent/local"
	"weir/agent/report"
	"weir/agent/state"
)

// Status is how the agent is, for its operator.
func (a *Agent) Status() local.Status {
	v := a.sampler.Now(time.Now())
	s := local.Status{
		Backend: a.options.Config.Backend, Version: a.options.Version, PID: os.Getpid(), Started: a.started.Round(0),
		State: a.state.Get(), Boot: a.boot, Seq: a.seq.Load(),
		AgeMS: v.Age.Milliseconds(), TauMS: a.options.Config.Tau.Milliseconds(),
		Rate: v.By[a.options.Config.Rate], Values: v.By, Missing: v.Missing, Lacking: a.lacking,
	}
	if a.scope != nil {
		s.Cgroup = a.scope.Path()
	}
	if a.reports != nil {
		s.Backend, s.Listen, s.Expires = a.reports.Backend(), a.reports.Addr().String(), a.reports.Expires()
		s.Refused += a.reports.Refused()
	}
	if a.checks != nil {
		s.Check = a.checks.Addr().String()
		s.Refused += a.checks.Refused()
		s.CheckSays, _ = report.FormatCheck(a.checkStatus())
	}
	return s
}

// Order changes what the operator asks for.
func (a *Agent) Order(o local.Order) (state.State, error) {
	if o.Admin == "" && o.Weight == nil && !o.AutoWeight {
		return a.state.Get(), errors.New("an order asks for a state or a weight")
	}
	if o.Reason != "" && o.Admin == "" {
		return a.state.Get(), errors.New("a reason belongs to a state")
	}
	if o.Weight != nil && o.AutoWeight {
		return a.state.Get(), errors.New("an order cannot set a weight and take it back")
	}
	return a.state.Change(func(s state.State) state.State {
		if o.Admin != "" {
			s.Admin, s.Reason, s.Since = o.Admin, o.Reason, time.Now().Round(0)
		}
		if o.Weight != nil || o.AutoWeight {
			s.Weight = o.Weight
		}
		return s
	})
}
