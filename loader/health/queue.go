package health

import "time"

// entry is a check and when it is due, which is here so that ordering
// thousands looks at no other memory.
type entry struct {
	due   time.Duration // since the agenda's epoch
	check *check
}

// queue is a binary heap: what is due first is at 0. Each check knows its index.
// container/heap would call by interface for each comparison; with ten thousand
// checks a second that is a tenth of what they cost.
type queue []entry

func (q *queue) add(e entry) {
	*q = append(*q, e)
	q.up(len(*q)-1, e)
}

// remove takes out the entry at an index.
func (q *queue) remove(i int) {
	end := len(*q) - 1
	(*q)[i].check.index = -1
	last := (*q)[end]
	(*q)[end] = entry{}
	*q = (*q)[:end]
	if i == end {
		return
	}
	if i > 0 && last.due < (*q)[(i-1)/2].due {
		q.up(i, last)
		return
	}
	q.down(i, last)
}

// up puts an entry at an index or above it.
func (q queue) up(i int, e entry) {
	for i > 0 && e.due < q[(i-1)/2].due {
		q.set(i, q[(i-1)/2])
		i = (i - 1) / 2
	}
	q.set(i, e)
}

// down puts an entry at an index or below it.
func (q queue) down(i int, e entry) {
	for {
		child := 2*i + 1
		if child >= len(q) {
			break
		}
		if child+1 < len(q) && q[child+1].due < q[child].due {
			child++
		}
		if e.due <= q[child].due {
			break
		}
		q.set(i, q[child])
		i = child
	}
	q.set(i, e)
}

func (q queue) set(i int, e entry) {
	q[i] = e
	e.check.index = i
}
