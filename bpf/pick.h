/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The backend of a new flow. A table is an arena region: a head with the
 * picker (high 8 bits) and the number of entries, then that many entries: a
 * slot (low 16 bits), which indexes the service's member list of backend ids,
 * and for pickers that compare loads a weight (high 16 bits). */
#pragma once

static __always_inline struct arena_line *arena_line_of(__u32 at)
{
	__u32 line = at / ARENA_LINE;

	return bpf_map_lookup_elem(&arena, &line);
}

static __always_inline __u32 arena_read(__u32 at)
{
	struct arena_line *found = arena_line_of(at);

	return found ? load_once(found->entry[at % ARENA_LINE]) : 0;
}

static __always_inline __u32 cursor_next(__u32 service)
{
	__u64 *cursor = bpf_map_lookup_elem(&cursors, &service);

	return cursor ? __sync_fetch_and_add(cursor, 1) : 0;
}

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

/* Copies the lines of LEAST_MAX words, the first of which is anywhere in its line. */
static __always_inline bool arena_copy(struct arena_line to[LEAST_LINES], __u32 at)
{
	for (__u32 n = 0; n < LEAST_LINES; n++) {
		struct arena_line *line = arena_line_of(at + n * ARENA_LINE);

		if (!line)
			return false;
		__builtin_memcpy(__builtin_assume_aligned(&to[n], 8), __builtin_assume_aligned(line, 8),
				 sizeof(*line));
	}
	return true;
}

/* Lists the candidates of a table; behind the last comes one of weight 0. False if
 * some are not among the first LEAST_MAX members. The loop calls nothing, so that
 * registers hold what it needs. */
static __always_inline bool candidates_near(struct scratch *s, __u32 table, __u32 members,
					    __u32 size)
{
	const __u32 *entry = s->entries[0].entry + table % ARENA_LINE;
	const __u32 *ids = s->ids[0].entry + members % ARENA_LINE;
	const __u32 mask = active_mask;
	struct candidate *c = s->candidates;
	__u64 *counts = active_all();

	if (!counts || !arena_copy(s->entries, table) || !arena_copy(s->ids, members))
		return false;
	for (__u32 i = 0; i < LEAST_MAX; i++, c++, entry++) {
		__u32 slot = *entry & ENTRY_SLOT, id;

		if (i >= size) {
			c->weight = 0;
			break;
		}
		if (slot >= LEAST_MAX)
			return false;
		id = ids[slot];
		c->load = load_once(counts[id & mask]);
		c->weight = *entry >> ENTRY_WEIGHT_SHIFT;
		c->id = id;
	}
	return true;
}

/* The same, wherever they are. */
static __always_inline void candidates_far(struct candidate *c, __u32 table, __u32 members,
					    __u32 size)
{
	for (__u32 i = 0; i < LEAST_MAX; i++, c++) {
		if (i >= size) {
			c->weight = 0;
			break;
		}
		candidate_get(c, table, members, i);
	}
}

/* The least loaded of all. Of equals any is taken, by weight, so that idle
 * backends share as busy ones do. Arithmetic instead of branches where it cannot be
 * predicted which of two has fewer flows. */
__noinline int pick_least(__u32 table, __u32 members, __u32 size, __u64 draw)
{
	__u64 load = 1, weight = 0, equals = 0;
	struct scratch *s = scratch();
	struct candidate *c;

	if (!s)
		return 0;
	if (!candidates_near(s, table + 1, members + 1, size))
		candidates_far(s->candidates, table, members, size);
	c = s->candidates;
#pragma unroll
	for (__u32 i = 0; i < LEAST_MAX && c->weight; i++, c++) {
		__u64 n = c->load, w = c->weight, ours = load * w, theirs = n * weight;

		if (theirs < ours) {
			load = n;
			opaque(load); /* no select */
			weight = w;
			equals = 0;
		}
		theirs -= ours + 1;
		opaque(theirs);
		equals += w & (__s64)theirs >> 63;
	}
	draw = (draw >> 32) * equals >> 32;
	c = s->candidates;
	for (__u32 i = 0; i < LEAST_MAX && c->weight; i++, c++) {
		__u64 w = c->weight, differs = (load * w ^ c->load * weight) - 1;

		opaque(differs);
		draw -= w & (__s64)differs >> 63;
		if ((__s64)draw < 0)
			return c->id;
	}
	return 0;
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
