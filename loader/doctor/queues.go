package doctor

import "fmt"

type cpus interface{ CPUs() (int, error) }

// checkQueues compares each interface's queues with the CPUs.
func checkQueues(links []Link, h cpus) []Finding {
	n, err := h.CPUs()
	if err != nil {
		return []Finding{blind("CPUs", err)}
	}
	return each(links, func(l Link) []Finding {
		if l.Driver == "virtio_net" && l.Queues.MaxTX > 0 {
			return checkVirtioQueues(l, n)
		}
		return checkSpread(l, n)
	})
}

func checkSpread(l Link, cpus int) []Finding {
	q := l.Queues
	if q.RX >= cpus && q.TX >= cpus {
		return []Finding{fine(l.Name, "%d receive and %d transmit queues for %d CPUs", q.RX, q.TX, cpus)}
	}
	what := fmt.Sprintf("%d receive and %d transmit queues for %d CPUs: some CPUs stay idle, or share a lock", q.RX, q.TX, cpus)
	rx, tx := min(cpus, q.MaxRX), min(cpus, q.MaxTX)
	if rx <= q.RX && tx <= q.TX {
		return []Finding{warning(l.Name, "ethtool -l "+l.Name+" # no more are possible: give the (virtual) NIC more queues", "%s", what)}
	}
	return []Finding{warning(l.Name, setQueues(l, max(rx, q.RX), max(tx, q.TX)), "%s", what)}
}

func setQueues(l Link, rx, tx int) string {
	if l.Queues.Combined {
		return fmt.Sprintf("ethtool -L %s combined %d", l.Name, rx)
	}
	return fmt.Sprintf("ethtool -L %s rx %d tx %d", l.Name, rx, tx)
}

// checkVirtioQueues: with native XDP virtio-net wants one more transmit queue
// for each CPU, else CPUs share queues under a lock (virtnet_xdp_set in
// drivers/net/virtio_net.c).
func checkVirtioQueues(l Link, cpus int) []Finding {
	q := l.Queues
	if q.MaxTX >= 2*cpus {
		return checkSpread(l, cpus)
	}
	more := fmt.Sprintf("ethtool -l %s # give the virtual NIC %d queues: libvirt <driver queues='%d'/>, QEMU queues=%d,mq=on", l.Name, 2*cpus, 2*cpus, 2*cpus)
	if q.RX < cpus || q.RX+cpus > q.MaxTX {
		return []Finding{warning(l.Name, more, "%d of at most %d queue pairs for %d CPUs: native XDP on virtio wants %d, else transmit queues are shared under a lock", q.RX, q.MaxTX, cpus, 2*cpus)}
	}
	return []Finding{fine(l.Name, "%d of %d queue pairs for %d CPUs", q.RX, q.MaxTX, cpus)}
}
