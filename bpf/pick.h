/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The backend of a new flow. A table is an arena region: a head with the
 * picker (high 8 bits) and the number of entries, then that many slots. A
 * slot indexes the service's member list, which holds backend ids. */
#pragma once

#define TABLE_SIZE_MASK 0xffffff
#define TABLE_PICKER_SHIFT 24

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

/* steady: choose by hash whatever the picker, so that packets of a flow that
 * is not stored, or was not seen from its start, choose alike. 0: no backend
 * takes new flows. */
static __always_inline __u32 pick(const struct service *s, __u32 service, const struct packet *p,
				  bool steady)
{
	__u64 ref = load_once(s->ref);
	__u32 table = ref, members = ref >> 32;
	__u32 head = arena_read(table), size = head & TABLE_SIZE_MASK, index;

	if (!size)
		return 0;
	if (head >> TABLE_PICKER_SHIFT == PICK_CURSOR && !steady)
		index = cursor_next(service) % size;
	else
		index = (hash_packet(pick_key, p) >> 32) * size >> 32;
	return arena_read(members + 1 + arena_read(table + 1 + index));
}
