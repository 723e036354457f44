/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

/* A backend that may get a new flow. */
struct candidate {
	__u64 load; /* active flows */
	__u32 weight;
	__u32 id;
};

/* What functions that are verified by themselves hand each other; their stacks
 * add up to 512 bytes. A function that takes
 * keys of maps from it must look it up: Linux 6.1 takes none from an argument. */
struct scratch {
	__u64 hash;           /* of `tuple`, by flow_key */
	struct tuple tuple;   /* a flow */
	struct tuple reverse; /* the same, as its replies have it */
	struct vip_key key;
	__u32 last_service;   /* index: outlives packets */
	struct quic_key quic;
	struct acl_key acl;
	__u32 payload;        /* UDP: where it begins in the frame, bytes */
	struct victim victim;
	struct victim other;
	__u32 owner;          /* of the flow that an error quotes: backend id */
	__u64 fragment_hash;  /* of its packet */
	__u64 fragment_known; /* the word of that, or 0 */
	__u32 l4_at;          /* places in the frame, bytes, of the transport header */
	__u32 quoted_at;      /* and of the quoted packet's */
	__u8 version;         /* of a first fragment */
	__u8 proto;
	struct tag came[2];   /* tags that the frame had, outermost first */
	struct tag leaves[2]; /* and those that it shall have */
	struct candidate candidates[LEAST_MAX];
	struct arena_line entries[LEAST_LINES]; /* see pick.h; from here on copied by 8 bytes */
	struct arena_line ids[LEAST_LINES];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

static __always_inline struct scratch *scratch(void)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&scratches, &key);
}
