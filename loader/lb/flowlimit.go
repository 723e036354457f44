package lb

import "time"

// FlowLimit bounds the flows that are opened: Rate a second on the average and
// Burst at once. The zero value is no limit.
type FlowLimit struct{ Rate, Burst uint32 }

// Bounds of limits of new flows. Burst may take MaxBurstTime at most to be
// available again.
const (
	MaxSourceRate  = 10_000
	MaxSourceBurst = 10_000
	MaxNewFlows    = 10_000_000
	MaxBurstTime   = 10 * time.Minute
)
