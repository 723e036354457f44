/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The backend of a new flow. A table is an arena region: a head with the
 * picker (high 8 bits) and the number of entries, then that many entries: a
 * slot (low 16 bits), which indexes the service's member list of backend ids,
 * and for pickers that compare loads a weight (high 16 bits). */
#pragma once

static __always_inline __u32 arena_read(__u32 at)
{
	__u32 line = at / ARENA_LINE;
	struct arena_line *found = bpf_map_lookup_elem(&arena, &line);

	return found ? load_once(found->entry[at % ARENA_LINE]) : 0;
}

static __always_inline __u32 cursor_next(__u32 service)
{
	__u64 *cursor = bpf_map_lookup_elem(&cursors, &service);

	return cursor ? __sync_fetch_and_add(cursor, 1) : 0;
}

struct candidate {
	__u64 load; /* active flows */
	__u32 weight;
	__u32 id;
};

static __always_inline void candidate_get(struct candidate *c, __u32 table, __u32 members,
					  __u32 index)
{
	__u32 entry = arena_read(table + 1 + index);
	__u64 *count;

	c->id = arena_read(members + 1 + (entry & ENTRY_SLOT));
	c->weight = entry >> ENTRY_WEIGHT_SHIFT;
	count = active_of(active_all(), c->id);
	c->load = count ? load_once(*count) : 0;
}

/* Fewer flows for its weight. */
static __always_inline bool candidate_less(const struct candidate *a, const struct candidate *b)
{
	return a->load * b->weight < b->load * a->weight;
}

/* The next of a sequence of draws: a multiplicative congruential generator
 * (Steele, Vigna, "Computationally easy, spectrally good multipliers", 2021), of
 * which only the high half is used. */
static __always_inline __u64 draw_next(__u64 draw)
{
	return draw * 0xf1357aea2e62a9c5ULL;
}

/* Where an index lies in the arena; most lie in the line of the one before. */
struct arena_cursor {
	struct arena_line *line;
	__u32 number;
};

static __always_inline __u32 arena_follow(struct arena_cursor *c, __u32 at)
{
	__u32 number = at / ARENA_LINE;

	if (number != c->number || !c->line) {
		c->number = number;
		c->line = bpf_map_lookup_elem(&arena, &number);
	}
	return c->line ? load_once(c->line->entry[at % ARENA_LINE]) : 0;
}

/* What is known of the entries looked at so far. */
struct least {
	struct arena_cursor entries, ids;
	__u64 *counts;
	__u64 load, weight, equals, draw;
	__u32 table, members, id;
};

/* Arithmetic instead of branches: which of two has fewer flows cannot be
 * predicted. */
static long least_consider(__u32 i, struct least *l)
{
	__u32 entry = arena_follow(&l->entries, l->table + 1 + i);
	__u32 other = arena_follow(&l->ids, l->members + 1 + (entry & ENTRY_SLOT));
	__u64 *count = active_of(l->counts, other);
	__u64 w = entry >> ENTRY_WEIGHT_SHIFT, n = count ? load_once(*count) : 0;
	__u64 ours = l->load * w, theirs = n * l->weight, less, more, drawn;

	less = theirs - ours;
	more = ours - theirs;
	opaque(less);
	opaque(more);
	less >>= 63;
	more >>= 63;
	l->equals = (l->equals & (less - 1)) + (w & (more - 1));
	l->draw = draw_next(l->draw);
	drawn = ((l->draw >> 32) * l->equals >> 32) - w;
	opaque(drawn);
	if ((drawn >> 63) & ~more) {
		l->load = n;
		l->weight = w;
		l->id = other;
	}
	return 0;
}

/* The least loaded of all. Of equals any is taken, by weight, so that idle
 * backends share as busy ones do. The loop is the kernel's (5.17), whose verifier
 * then looks at one round and not at all ways through thirty-two. */
__noinline int pick_least(__u32 table, __u32 members, __u32 size, __u64 draw)
{
	struct least l = { .counts = active_all(), .load = 1, .draw = draw,
			   .table = table, .members = members };

	if (!l.counts)
		return 0;
	bpf_loop(size < LEAST_MAX ? size : LEAST_MAX, least_consider, &l, 0);
	return l.id;
}

/* The less loaded of two (Mitzenmacher, "The Power of Two Choices"). */
__noinline int pick_two(__u32 table, __u32 members, __u32 size, __u64 hash)
{
	struct candidate a, b;

	candidate_get(&a, table, members, (hash >> 32) * size >> 32);
	candidate_get(&b, table, members, (hash & 0xffffffff) * size >> 32);
	return candidate_less(&b, &a) ? b.id : a.id;
}

/* steady: choose by the flow's hash whatever the picker, so that packets of a
 * flow that is not stored, or was not seen from its start, choose alike. 0: no
 * backend takes new flows. */
static __always_inline __u32 pick(const struct service *service, __u32 index,
				  struct scratch *s, bool steady)
{
	__u64 ref = load_once(service->ref), hash = hash_of(pick_key, &s->tuple);
	__u32 table = ref, members = ref >> 32;
	__u32 head = arena_read(table), size = head & TABLE_SIZE_MASK;
	__u32 picker = steady ? PICK_HASH : head >> TABLE_PICKER_SHIFT, entry;

	if (!size)
		return 0;
	if (picker == PICK_LEAST)
		return pick_least(table, members, size, hash);
	if (picker == PICK_TWO)
		return pick_two(table, members, size, hash);
	if (picker == PICK_CURSOR)
		entry = cursor_next(index) % size;
	else
		entry = (hash >> 32) * size >> 32;
	return arena_read(members + 1 + (arena_read(table + 1 + entry) & ENTRY_SLOT));
}
