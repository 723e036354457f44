/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Is the packet inside whole, for a VIP, and what becomes of its ECN field? */
#pragma once

enum ecn { /* RFC 3168, 5 */
	ECN_NOT_ECT = 0,
	ECN_ECT1 = 1,
	ECN_ECT0 = 2,
	ECN_CE = 3,
};

#define ECN_LOST -1

/* RFC 6040, 4.2, figure 4. */
static __always_inline int ecn_after(__u8 outer, __u8 inner)
{
	if (inner == ECN_NOT_ECT)
		return outer == ECN_CE ? ECN_LOST : ECN_NOT_ECT;
	if (outer == ECN_CE)
		return ECN_CE;
	if (outer == ECN_ECT1 && inner == ECN_ECT0)
		return ECN_ECT1;
	return inner;
}

/* Incremental checksum (RFC 1624, eqn. 3); TOS is the low byte of its word. */
static __always_inline void set_ecn4(struct iphdr *ip, __u8 ecn)
{
	__u8 tos = (ip->tos & ~ECN_MASK) | ecn;
	__u32 sum = (__u16)~ip->check + (__u16)~bpf_htons(ip->tos) + bpf_htons(tos);

	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	ip->check = ~sum;
	ip->tos = tos;
}

static __always_inline int mark4(struct tunnel *t)
{
	__u8 now = t->inner4->tos & ECN_MASK;
	int then = ecn_after(t->outer_ecn, now);

	if (then == ECN_LOST)
		return refusal(DROP_ECN);
	if (then != now)
		set_ecn4(t->inner4, then);
	return DECAPPED;
}

/* The traffic class's low half lies in the first byte after the version. */
static __always_inline int mark6(struct tunnel *t)
{
	__u8 *field = &t->inner6->flow_lbl[0], now = *field >> 4 & ECN_MASK;
	int then = ecn_after(t->outer_ecn, now);

	if (then == ECN_LOST)
		return refusal(DROP_ECN);
	if (then != now)
		*field = (*field & ~(ECN_MASK << 4)) | then << 4;
	return DECAPPED;
}

static __always_inline int inner4(struct tunnel *t)
{
	struct iphdr *ip = t->inner;
	struct address to;
	__u32 total;

	if (t->room < sizeof(*ip) || (void *)(ip + 1) > t->end)
		return refusal(PASS_INNER_MALFORMED);
	total = bpf_ntohs(ip->tot_len);
	if (ip->ihl * 4 < sizeof(*ip) || total < ip->ihl * 4 || total > t->room)
		return refusal(PASS_INNER_MALFORMED);
	address4(&to, ip->daddr);
	return bpf_map_lookup_elem(&vips, &to) ? mark4(t) : refusal(PASS_FOREIGN);
}

static __always_inline int inner6(struct tunnel *t)
{
	struct ipv6hdr *ip = t->inner;
	struct address to;

	if (t->room < sizeof(*ip) || (void *)(ip + 1) > t->end)
		return refusal(PASS_INNER_MALFORMED);
	if (sizeof(*ip) + bpf_ntohs(ip->payload_len) > t->room)
		return refusal(PASS_INNER_MALFORMED);
	__builtin_memcpy(&to, &ip->daddr, sizeof(to));
	return bpf_map_lookup_elem(&vips, &to) ? mark6(t) : refusal(PASS_FOREIGN);
}

/* UDP carries either version (GUE variant 1, draft-ietf-intarea-gue, 4); other
 * variants begin with other bits. */
static __always_inline int open_inner(struct tunnel *t)
{
	__u8 *first;

	t->inner = t->outer + t->overhead;
	first = t->inner;
	if (!t->room || (void *)(first + 1) > t->end)
		return refusal(PASS_INNER_MALFORMED);
	t->version = *first >> 4;
	if (t->version == 4 && t->proto != IPPROTO_IPV6)
		return inner4(t);
	if (t->version == 6 && t->proto != IPPROTO_IPIP)
		return inner6(t);
	return refusal(PASS_INNER_MALFORMED);
}
