/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How many flows a service, and each of its sources, may open. Limits are token
 * buckets that are kept as the time when they will be full again (GCRA, ITU-T
 * I.371): what is owed is the time until then.
 *
 * Sources are in sets like those of the flow table; a word is
 *
 *   63      32 31               0
 *   |   tag   | time when full  |
 *
 * and one that owes nothing is as good as empty. A source that owes more never
 * makes room for one that owes less, so that nobody sheds debts, or makes others
 * shed theirs, by sending from many addresses. If all eight owe more, a new
 * source is not counted. */
#pragma once

#define LIMIT_TRIES 4

static __always_inline bool limited(const struct service *service)
{
	return service->source_rate || service->flow_rate;
}

static __always_inline __u64 limit_clock(void)
{
	return bpf_ktime_get_ns() >> limit_shift;
}

/* A source is an IPv4 address or an IPv6 /64 (RFC 6177: a site has no less). */
static __always_inline __u64 limit_hash(const struct tuple *t, __u32 index)
{
	__u64 h = nh(flow_key, index, t->version);

	if (t->version == 4)
		return mix64(h + nh(flow_key + 2, t->src.word[3], 0));
	return mix64(h + nh(flow_key + 2, t->src.word[0], t->src.word[1]));
}

static __always_inline __u32 limit_debt(__u64 word, __u32 now)
{
	__u32 debt = (__u32)word - now;

	return !word || debt > LIMIT_DEBT_MAX ? 0 : debt;
}

/* The slot of a tag or, if it has none, that which owes least. */
static __always_inline __u32 limit_slot(const struct flow_set *set, __u32 tag, __u32 now)
{
	__u32 slot = 0, least = -1;

	for (__u32 i = 0; i < FLOW_SLOTS; i++) {
		__u64 word = load_once(set->word[i]);
		__u32 debt = limit_debt(word, now);

		if (word >> 32 == tag)
			return i;
		if (debt < least) {
			least = debt;
			slot = i;
		}
	}
	return slot;
}

/* 1: the source of s->tuple has opened as many flows as it may. */
__noinline int limit_source(__u32 rate, __u32 burst, __u64 hash)
{
	__u32 at = (hash >> 32) * source_sets >> 32, now = limit_clock(), tag = hash;
	struct flow_set *set = bpf_map_lookup_elem(&sources, &at);
	__u32 cost = rate ? LIMIT_SECOND / rate : 0;

	if (!set)
		return 0;
	if (!tag)
		tag = 1;
	for (int i = 0; i < LIMIT_TRIES; i++) {
		__u32 slot = limit_slot(set, tag, now) & FLOW_SLOT_MASK;
		__u64 word = load_once(set->word[slot]);
		__u32 debt = limit_debt(word, now);

		if (word >> 32 == tag) {
			if (debt > cost * burst)
				debt = 0; /* of another configuration */
			if (debt > cost * (burst - 1))
				return 1;
		} else {
			if (debt > cost)
				return 0;
			debt = 0;
		}
		if (flow_swap(set, slot, word, (__u64)tag << 32 | (__u32)(now + debt + cost)))
			return 0;
	}
	return 0;
}

/* 1: the service has taken as many flows as it does. Those of a tenth of a
 * second may come at once. */
static __always_inline bool limit_service(__u32 index, __u32 rate)
{
	const __u64 second = (__u64)LIMIT_SECOND << CEILING_SHIFT;
	__u64 now = limit_clock() << CEILING_SHIFT, *full = bpf_map_lookup_elem(&ceilings, &index);

	if (!full)
		return false;
	for (int i = 0; i < LIMIT_TRIES; i++) {
		__u64 word = load_once(*full), debt = word - now;

		if (debt > 2 * second)
			debt = 0;
		if (debt > second / 10)
			return true;
		if (__sync_val_compare_and_swap(full, word, now + debt + second / rate) == word)
			return false;
	}
	return false;
}

/* A refusal, or 0: the flow s->tuple may be opened. */
__noinline int limit_refuses(__u32 index)
{
	struct service *service = bpf_map_lookup_elem(&services, &index);
	struct service_drops *d = drops_of(index);
	struct scratch *s = scratch();
	__u32 rate;

	if (!s || !service || !d)
		return refusal(DROP_INTERNAL);
	rate = service->source_rate;
	if (rate && limit_source(rate, service->source_burst, limit_hash(&s->tuple, index))) {
		d->new_flows_per_source++;
		return refusal(DROP_NEW_FLOWS_PER_SOURCE);
	}
	rate = service->flow_rate;
	if (rate && limit_service(index, rate)) {
		d->max_new_flows++;
		return refusal(DROP_MAX_NEW_FLOWS);
	}
	return 0;
}
