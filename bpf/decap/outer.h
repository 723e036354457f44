/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Is this frame a whole tunnel packet to this host? */
#pragma once

#define IP_FRAGMENT_MASK 0x3fff /* more fragments, or an offset */
#define ECN_MASK 3
#define IP4_MAX_WORDS 15

/* The header's sum is to be 0xffff (RFC 791). The stack never sees this header,
 * so nobody else looks at it. */
static __always_inline bool intact4(const struct tunnel *t)
{
	__u16 *half = t->outer;
	__u32 sum = 0;

#pragma unroll
	for (int i = 0; i < 2 * IP4_MAX_WORDS; i++) {
		if (i * sizeof(*half) >= t->outer4->ihl * 4)
			break;
		if ((void *)(half + i + 1) > t->end)
			return false;
		sum += half[i];
	}
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff;
}

/* A UDP checksum is not looked at: what is delivered has its own inside. */
static __always_inline int open_udp(struct tunnel *t)
{
	struct udphdr *udp = t->outer + t->overhead;
	__u32 length;

	if (t->room < sizeof(*udp) || (void *)(udp + 1) > t->end)
		return refusal(PASS_MALFORMED);
	if (udp->dest != gue_port)
		return refusal(PASS_NOT_TUNNEL);
	length = bpf_ntohs(udp->len);
	if (length < sizeof(*udp) || length > t->room)
		return refusal(PASS_MALFORMED);
	t->overhead += sizeof(*udp);
	t->room = length - sizeof(*udp);
	return DECAPPED;
}

static __always_inline int open4(struct tunnel *t, struct address *to)
{
	struct iphdr *ip = t->outer;
	__u32 total;

	if ((void *)(ip + 1) > t->end)
		return refusal(PASS_MALFORMED);
	t->proto = ip->protocol;
	if (!carries_ip(t->proto))
		return refusal(PASS_NOT_TUNNEL);
	total = bpf_ntohs(ip->tot_len);
	t->overhead = ip->ihl * 4;
	if (ip->version != 4 || t->overhead < sizeof(*ip) || total < t->overhead || total > t->l3_room)
		return refusal(PASS_MALFORMED);
	if (ip->frag_off & bpf_htons(IP_FRAGMENT_MASK))
		return refusal(PASS_FRAGMENT);
	t->room = total - t->overhead;
	t->outer_ecn = ip->tos & ECN_MASK;
	address4(to, ip->daddr);
	return DECAPPED;
}

/* Of extension headers weir's tunnels have none. */
static __always_inline int open6(struct tunnel *t, struct address *to)
{
	struct ipv6hdr *ip = t->outer;

	if ((void *)(ip + 1) > t->end)
		return refusal(PASS_MALFORMED);
	t->proto = ip->nexthdr;
	if (t->proto == IPPROTO_FRAGMENT)
		return refusal(PASS_FRAGMENT);
	if (!carries_ip(t->proto))
		return refusal(PASS_NOT_TUNNEL);
	t->overhead = sizeof(*ip);
	t->room = bpf_ntohs(ip->payload_len);
	if (ip->version != 6 || t->overhead + t->room > t->l3_room)
		return refusal(PASS_MALFORMED);
	t->outer_ecn = ip->flow_lbl[0] >> 4 & ECN_MASK;
	__builtin_memcpy(to, &ip->daddr, sizeof(*to));
	return DECAPPED;
}

static __always_inline int open_ip(struct tunnel *t, struct address *to)
{
	switch (t->eth->h_proto) {
	case bpf_htons(ETH_P_IP):
		return open4(t, to);
	case bpf_htons(ETH_P_IPV6):
		return open6(t, to);
	case bpf_htons(ETH_P_8021Q):
	case bpf_htons(ETH_P_8021AD):
		return refusal(PASS_VLAN);
	}
	return refusal(PASS_NOT_IP);
}

static __always_inline int open_outer(struct xdp_md *ctx, struct tunnel *t)
{
	struct address to;
	int refused;

	t->ctx = ctx;
	t->eth = (void *)(long)ctx->data;
	t->end = (void *)(long)ctx->data_end;
	if ((void *)(t->eth + 1) > t->end)
		return refusal(PASS_NOT_IP);
	t->outer = t->eth + 1;
	t->l3_room = bpf_xdp_get_buff_len(ctx) - sizeof(*t->eth);
	refused = open_ip(t, &to);
	if (!refused && t->proto == IPPROTO_UDP)
		refused = open_udp(t);
	if (refused)
		return refused;
	if (!bpf_map_lookup_elem(&tunnel_addresses, &to))
		return refusal(PASS_NOT_LOCAL);
	if (t->eth->h_proto == bpf_htons(ETH_P_IP) && !intact4(t))
		return refusal(PASS_MALFORMED);
	return DECAPPED;
}
