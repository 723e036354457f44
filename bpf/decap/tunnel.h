/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A frame and the two IP packets in it. */
#pragma once

#define DECAPPED 0 /* no refusal */

/* What the steps learn of a frame. Pointers stay valid until the frame is
 * changed in size. */
struct tunnel {
	struct xdp_md *ctx;
	struct ethhdr *eth;
	union {
		struct iphdr *outer4;
		struct ipv6hdr *outer6;
		void *outer;
	};
	union {
		struct iphdr *inner4;
		struct ipv6hdr *inner6;
		void *inner;
	};
	void *end;
	__u32 l3_room;    /* bytes of the frame from `outer` on */
	__u32 overhead;   /* bytes of the outer headers */
	__u32 room;       /* bytes inside the tunnel, as the outer headers say */
	__u8 proto;       /* of the outer packet */
	__u8 outer_ecn;
	__u8 version;     /* of the inner packet */
};

/* Steps return DECAPPED or why they stopped. */
static __always_inline int refusal(enum reason r)
{
	return ~(int)r;
}

static __always_inline void count_reason(__u32 reason)
{
	__u64 *n = bpf_map_lookup_elem(&reasons, &reason);

	if (n)
		*n += 1;
}

static __always_inline void address4(struct address *a, __be32 addr)
{
	a->word[0] = 0;
	a->word[1] = 0;
	a->word[2] = bpf_htonl(0xffff);
	a->word[3] = addr;
}

static __always_inline bool carries_ip(__u8 proto)
{
	return proto == IPPROTO_IPIP || proto == IPPROTO_IPV6 || proto == IPPROTO_UDP;
}
