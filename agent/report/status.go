package report

// Admin is what the backend's operator wants, in HAProxy's words.
type Admin string

// Oper is whether the service works, in HAProxy's words.
type Oper string

// States. An empty one says nothing and changes nothing.
const (
	Ready Admin = "ready"
	Drain Admin = "drain" // finish flows, get no others
	Maint Admin = "maint" // not to be used or checked

	Up      Oper = "up"
	Down    Oper = "down"
	Failed  Oper = "fail"
	Stopped Oper = "stopped"
)

// Status is what an agent asks of the balancer besides reporting values.
type Status struct {
	Admin   Admin
	Oper    Oper
	Weight  *int // percent of the configured weight, 0 to 10,000; nil: not said
	MaxConn *int // connections that the backend takes, 0: without limit; nil: not said
	Reason  string
}

// Takes reports whether the backend takes new flows as far as the states say.
func (s Status) Takes() bool {
	return s.Admin != Drain && s.Admin != Maint && (s.Oper == "" || s.Oper == Up)
}

// Check refuses a status that no report may carry, with a RefusedError.
func (s Status) Check() error {
	switch s.Admin {
	case "", Ready, Drain, Maint:
	default:
		return refuse(BadState, "admin %.40q is not ready, drain or maint", s.Admin)
	}
	switch s.Oper {
	case "", Up, Down, Failed, Stopped:
	default:
		return refuse(BadState, "oper %.40q is not up, down, fail or stopped", s.Oper)
	}
	if err := checkCount("weight_percent", s.Weight, maxPercent); err != nil {
		return err
	}
	if err := checkCount("maxconn", s.MaxConn, 1<<31-1); err != nil {
		return err
	}
	return checkText("reason", s.Reason)
}

func checkCount(name string, n *int, most int) error {
	switch {
	case n == nil:
		return nil
	case *n < 0:
		return refuse(Negative, "%s is %d", name, *n)
	case *n > most:
		return refuse(TooLarge, "%s is %d, the most is %d", name, *n, most)
	}
	return nil
}
