package dataplane

import "sync/atomic"

// drift is how far a backend's count of active flows was from what sweeps
// found, and in how many of them in a row it was just that while no flow came
// or went.
type drift struct {
	by     int64
	seen   int
	active uint64 // before the sweep that runs
	flows  uint64
}

// auditSweeps is how often a drift must be seen before it is believed: a
// program may be just between a swap and its count.
const auditSweeps = 3

// watch notes the counts of backends that drifted before a sweep looks.
func (d *DataPlane) watch() {
	for id, was := range d.drifts {
		was.active, was.flows = atomic.LoadUint64(&d.mem.active[id]), d.assigned(id)
		d.drifts[id] = was
	}
}

// audit mends a count that a loader left wrong which was killed between the
// swap that removed a flow and the subtraction. Only a backend of which no
// flow came or went during the sweep can be judged: then its flows counter
// stands still, as every new flow moves it, and its active flows fell by those
// that the sweep removed and no others.
func (d *DataPlane) audit(f found) {
	for id := range d.registry.backends {
		active := atomic.LoadUint64(&d.mem.active[id])
		by := int64(active - f.live[id])
		was, drifted := d.drifts[id]
		switch {
		case by == 0:
			delete(d.drifts, id)
		case !drifted || by != was.by || active+f.ended[id] != was.active || d.assigned(id) != was.flows:
			d.drifts[id] = drift{by: by}
		case was.seen+1 < auditSweeps:
			was.seen++
			d.drifts[id] = was
		default:
			atomic.AddUint64(&d.mem.active[id], uint64(-by))
			d.log.Warn("mended a count of active flows", "backend", d.registry.backends[id].key.endpoint, "by", -by)
			delete(d.drifts, id)
		}
	}
}

// assigned is a backend's flows counter.
func (d *DataPlane) assigned(id uint32) (n uint64) {
	for row := int(id); row < len(d.mem.stats); row += len(d.mem.backends) {
		n += atomic.LoadUint64(&d.mem.stats[row].Flows)
	}
	return n
}
