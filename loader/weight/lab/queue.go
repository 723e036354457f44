package lab

// event is something that happens at a time, in nanoseconds since the start.
type event struct {
	at    int64
	order uint64 // of events at the same time
	kind  kind
	who   int32 // server or node
	flow  int32
	began int64 // when the request came
}

type kind uint8

const (
	arrival kind = iota // of a new flow
	again               // a flow's next request
	done                // a request is served
	sample              // an agent looks
	deliver             // a report arrives
	tick                // a node's control loop
	second              // the meter's
	change              // the neighbour comes or goes
	join                // a server comes into the pool
)

// queue is a binary heap of events, the next one first.
type queue struct {
	heap []event
	made uint64
}

func (q *queue) push(e event) {
	q.made++
	e.order = q.made
	q.heap = append(q.heap, e)
	i := len(q.heap) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !e.before(&q.heap[up]) {
			break
		}
		q.heap[i] = q.heap[up]
		i = up
	}
	q.heap[i] = e
}

func (q *queue) pop() event {
	first := q.heap[0]
	last := q.heap[len(q.heap)-1]
	q.heap = q.heap[:len(q.heap)-1]
	if len(q.heap) > 0 {
		q.sink(last)
	}
	return first
}

// sink puts e at the top, or below.
func (q *queue) sink(e event) {
	i := 0
	for {
		child := 2*i + 1
		if child >= len(q.heap) {
			break
		}
		if right := child + 1; right < len(q.heap) && q.heap[right].before(&q.heap[child]) {
			child = right
		}
		if !q.heap[child].before(&e) {
			break
		}
		q.heap[i] = q.heap[child]
		i = child
	}
	q.heap[i] = e
}

func (e *event) before(o *event) bool {
	return e.at < o.at || e.at == o.at && e.order < o.order
}
