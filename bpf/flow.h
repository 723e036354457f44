/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The flow table: sets of eight words, one word a flow:
 *
 *   63      32 31        14 13      3 2     0
 *   |   tag   | backend id |  time   | state |
 *
 * The hash's high half chooses the set, its low half is the tag. A word is
 * read and written whole and replaced only by compare-and-swap, by programs on
 * any CPU and by the loader's sweep through its mapping. Whoever's swap
 * succeeds accounts for it in `active`, so that the counts are exact. */
#pragma once

#define FLOW_ID_SHIFT 14
#define FLOW_ID_MASK 0x3ffff
#define FLOW_TIME_SHIFT 3
#define FLOW_TIME_BITS 11
#define FLOW_TIME_MASK 0x7ff
#define FLOW_STATE_MASK 7
#define FLOW_SLOT_MASK (FLOW_SLOTS - 1)
#define FLOW_TRIES 4

/* With a state: the table is not the one whose flows `active` counts. */
#define FLOW_UNCOUNTED 0x100

/* Keeps the compiler from making branches of arithmetic. */
#define opaque(X) asm volatile("" : "+r"(X))

#define load_once(X) (*(volatile typeof(X) *)&(X))

struct flow_at {
	struct flow_set *set;
	__u32 tag;
	__u32 now;
};

static __always_inline __u64 flow_word(__u32 tag, __u32 id, __u32 now, __u32 state)
{
	return (__u64)tag << 32 | (__u64)id << FLOW_ID_SHIFT | now << FLOW_TIME_SHIFT | state;
}

static __always_inline __u32 flow_id(__u64 word)
{
	return word >> FLOW_ID_SHIFT & FLOW_ID_MASK;
}

static __always_inline __u32 flow_state(__u64 word)
{
	return word & FLOW_STATE_MASK;
}

/* 1 if a > b; both are small. */
static __always_inline __u32 exceeds(__u32 a, __u32 b)
{
	__u32 difference = b - a;

	opaque(difference);
	difference >>= 31;
	opaque(difference);
	return difference;
}

/* In units of the clock. A word that another CPU stamped after we read the
 * clock may be one unit ahead: that is age 0, not the oldest. */
static __always_inline __u32 flow_age(__u64 word, __u32 now)
{
	__u32 next = (now - (__u32)(word >> FLOW_TIME_SHIFT) + 1) & FLOW_TIME_MASK;

	return next - exceeds(next, 0);
}

static __always_inline bool flow_counted(__u32 state)
{
	return state >= FLOW_EMBRYONIC && state <= FLOW_STREAM;
}

static __always_inline bool flow_finished(__u64 word)
{
	__u32 state = flow_state(word);

	return state == FLOW_CLOSING || state == FLOW_CLOSED;
}

/* The clock when it was last asked, below the jiffies at that time: the clock is
 * a call, which costs as much as the rest of a hit, jiffies are a load (inlined
 * by the verifier since Linux 5.7). They tick together. */
volatile __u64 flow_clock_read;

static __always_inline __u32 flow_clock(void)
{
	__u64 jiffies = bpf_jiffies64(), read = flow_clock_read;

	if (read >> FLOW_TIME_BITS != jiffies << FLOW_TIME_BITS >> FLOW_TIME_BITS) {
		read = jiffies << FLOW_TIME_BITS |
		       (bpf_ktime_get_coarse_ns() >> clock_shift & FLOW_TIME_MASK);
		flow_clock_read = read;
	}
	return read & FLOW_TIME_MASK;
}

static __always_inline bool flow_locate(struct flow_at *at, __u64 hash)
{
	__u32 index = (hash >> 32) * flow_sets >> 32;

	at->tag = hash;
	if (!at->tag)
		at->tag = 1;
	at->set = bpf_map_lookup_elem(&flows, &index);
	at->now = flow_clock();
	return at->set;
}

/* The word of this flow, 0 if there is none. Most are in the slot that they
 * prefer, so that the first look is mostly the last. */
static __always_inline __u64 flow_find(const struct flow_at *at, __u32 *slot)
{
	__u64 first = load_once(at->set->word[at->tag & FLOW_SLOT_MASK]);

	*slot = at->tag & FLOW_SLOT_MASK;
	if (first >> 32 == at->tag)
		return first;
#pragma unroll
	for (__u32 i = 0; i < FLOW_SLOTS; i++) {
		__u64 word = load_once(at->set->word[i]);

		if (word >> 32 == at->tag) {
			*slot = i;
			return word;
		}
	}
	return 0;
}

static __always_inline bool flow_swap(struct flow_set *set, __u32 slot, __u64 old, __u64 new)
{
	return __sync_val_compare_and_swap(&set->word[slot & FLOW_SLOT_MASK], old, new) == old;
}

static __always_inline __u64 *active_all(void)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&active, &key);
}

/* A mask, as Linux 6.1 forgets what a copy of a number was compared with. */
static __always_inline __u64 *active_of(__u64 *all, __u32 id)
{
	return all ? all + (id & active_mask) : 0;
}

static __always_inline void active_add(__u32 id, __s64 n)
{
	__u64 *count = active_of(active_all(), id);

	if (count)
		__sync_fetch_and_add(count, n);
}

/* flags: FLOW_UNCOUNTED. */
static __always_inline void flow_uncount(__u64 word, __u32 flags)
{
	if (!(flags & FLOW_UNCOUNTED) && flow_counted(flow_state(word)))
		active_add(flow_id(word), -1);
}

/* The state that a client's packet moves a flow to. Anybody can forge a RST: it
 * ends an established flow no more than a FIN does. */
static __always_inline __u32 flow_next(__u32 state, __u8 proto, __u8 tcp_flags)
{
	if (proto != IPPROTO_TCP)
		return state == FLOW_EMBRYONIC ? FLOW_STREAM : state;
	if (tcp_flags & TCP_RST && state == FLOW_EMBRYONIC)
		return FLOW_CLOSED;
	if (tcp_flags & (TCP_RST | TCP_FIN))
		return state == FLOW_CLOSED ? FLOW_CLOSED : FLOW_CLOSING;
	if (state == FLOW_EMBRYONIC && !(tcp_flags & TCP_SYN))
		return FLOW_ESTABLISHED;
	return state;
}

/* Functions that are not static are verified once, by themselves, and not for
 * each path that leads to them: the slow parts of the flow table. */

/* Moves a stored flow to now and to the state in `want`, unless another CPU has
 * brought it further. 1 if this closed it. */
__noinline int flow_change(struct flow_set *set, __u32 tag, __u32 now, __u32 slot, __u32 want)
{
	__u32 state, reached;
	__u64 word;

	if (!set)
		return 0;
	for (int i = 0; i < FLOW_TRIES; i++) {
		word = load_once(set->word[slot & FLOW_SLOT_MASK]);
		if (word >> 32 != tag)
			return 0;
		reached = flow_state(word);
		state = want & FLOW_STATE_MASK;
		if (state < reached)
			state = reached;
		if (!flow_swap(set, slot, word, flow_word(tag, flow_id(word), now, state)))
			continue;
		if (!flow_counted(reached) || flow_counted(state))
			return 0;
		flow_uncount(word, want);
		return 1;
	}
	return 0;
}

/* As flow_change, at the price of a comparison when there is nothing to do. */
static __always_inline bool flow_move(const struct flow_at *at, __u32 slot, __u64 word, __u32 state)
{
	if (flow_state(word) == (state & FLOW_STATE_MASK) && !flow_age(word, at->now))
		return false;
	return flow_change(at->set, at->tag, at->now, slot, state);
}

/* Who makes room for a new flow, the best last. An established flow that is not
 * idle never does. */
#define RANK_LIVE 0
#define RANK_EMBRYONIC 1
#define RANK_ENDED 2 /* by the backend, or by the client a while ago */
#define RANK_IDLE 4  /* past its timeout: this bit is added to the others */
#define RANK_EMPTY (RANK_IDLE | RANK_ENDED)
#define RANK_SAME 7  /* an ended flow of the same 5-tuple */
#define RANK_BITS 3

/* Clock units after which a flow that its client has ended counts as such: one
 * that still gets packets is live. */
#define ENDED_AGE 2

/* Where a new flow may go: the word that it replaces and why. */
struct victim {
	__u64 word;
	__u32 slot;
	__u32 rank; /* RANK_LIVE: nowhere */
};

#define RANK_OF(STATE, RANK) ((RANK) << (STATE) * RANK_BITS)

/* Arithmetic instead of branches: what a set holds cannot be predicted. */
static __always_inline __u32 flow_rank(__u64 word, __u32 tag, __u32 now)
{
	const __u32 ranks = RANK_OF(FLOW_EMPTY, RANK_EMPTY) | RANK_OF(FLOW_CLOSED, RANK_ENDED) |
			    RANK_OF(FLOW_EMBRYONIC, RANK_EMBRYONIC);
	const __u32 closing = 1 << FLOW_CLOSING;
	__u32 state = flow_state(word), age = flow_age(word, now);
	__u32 rank = ranks >> state * RANK_BITS & 7;
	__u64 differs = (word >> 32 ^ tag) - 1;
	__u32 ends = closing >> state;

	opaque(differs);
	opaque(ends);
	rank |= (differs >> 63) * RANK_SAME;
	rank |= (ends & exceeds(age, ENDED_AGE)) * RANK_ENDED;
	return rank | exceeds(age, idle_limit[state]) * RANK_IDLE;
}

/* The best slot for a new flow; of equals the one that is idle longest, of those
 * the one that is nearest to the preferred slot, which the tag says. */
__noinline int flow_victim(struct flow_set *set, __u32 tag, __u32 now, struct victim *v)
{
	__u32 farthest = ~tag & FLOW_SLOT_MASK, best = 0;

	if (!set || !v)
		return 0;
	for (__u32 i = 0; i < FLOW_SLOTS; i++) {
		__u64 word = load_once(set->word[i]);
		__u32 score = flow_rank(word, tag, now) << 16 | flow_age(word, now) << 4 |
			      (i ^ farthest);

		best += (score - best) * exceeds(score, best);
	}
	best ^= farthest;
	opaque(best); /* or what is masked is one side, and Linux 6.1 knows no bound of an exclusive or */
	v->slot = best & FLOW_SLOT_MASK;
	v->word = load_once(set->word[v->slot]);
	/* Of the word as it is now: another CPU may have changed it. */
	v->rank = flow_rank(v->word, tag, now);
	return v->rank;
}

/* Two CPUs may have stored the same flow in two slots. Both look after they
 * stored, so at least one sees both. Of two the higher goes. Returns the id
 * that stays. */
__noinline int flow_unite(struct flow_set *set, __u32 tag, __u32 id, __u32 flags)
{
	__u32 first = FLOW_SLOTS;
	__u64 word;

	if (!set)
		return id;
	for (__u32 i = 0; i < FLOW_SLOTS; i++) {
		word = load_once(set->word[i]);
		if (word >> 32 != tag)
			continue;
		if (first == FLOW_SLOTS) {
			first = i;
			id = flow_id(word);
		} else if (flow_swap(set, i, word, 0)) {
			flow_uncount(word, flags);
		}
	}
	return id;
}

static __always_inline bool flow_twice(struct flow_set *set, __u32 tag)
{
	__u32 n = 0;

#pragma unroll
	for (__u32 i = 0; i < FLOW_SLOTS; i++)
		n += load_once(set->word[i]) >> 32 == tag;
	return n > 1;
}

/* Stores a flow in the victim's place or, if another CPU took that, another.
 * Returns the id that the table now has for the flow, 0 if there is no room. */
__noinline int flow_store(struct flow_set *set, __u32 tag, __u32 now, struct victim *v, __u64 want)
{
	__u32 id = want >> 32, flags = want, state = want & FLOW_STATE_MASK;

	if (!set || !v)
		return 0;
	for (int i = 0; i < FLOW_TRIES; i++) {
		__u64 word;

		if (v->rank == RANK_LIVE)
			return 0;
		if (flow_swap(set, v->slot, v->word, flow_word(tag, id, now, state))) {
			flow_uncount(v->word, flags);
			if (!(flags & FLOW_UNCOUNTED) && flow_counted(state))
				active_add(id, 1);
			return flow_twice(set, tag) ? flow_unite(set, tag, id, flags) : id;
		}
		word = load_once(set->word[v->slot & FLOW_SLOT_MASK]);
		if (word >> 32 == tag && !flow_finished(word))
			return flow_id(word);
		flow_victim(set, tag, now, v);
	}
	return 0;
}

static __always_inline __u64 flow_want(__u32 id, __u32 state)
{
	return (__u64)id << 32 | state;
}
