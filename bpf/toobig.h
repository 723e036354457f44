/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* "Fragmentation needed" (RFC 1191) and "packet too big" (RFC 4443, 3.2) in
 * answer to a packet that does not fit its tunnel. */
#pragma once

#define TOO_BIG_TTL 64
#define ADDRESSES_WORDS 16 /* of 16 bits: both addresses of an IPv6 header */

/* Answers a CPU may send in 2^24 ns: about 950 a second. */
#define ANSWER_WINDOW_SHIFT 24
#define ANSWERS_A_WINDOW 16

static __always_inline bool answer_allowed(void)
{
	__u64 window = bpf_ktime_get_coarse_ns() >> ANSWER_WINDOW_SHIFT;
	__u32 key = 0;
	struct answer_budget *b = bpf_map_lookup_elem(&answers, &key);

	if (!b)
		return false;
	if (b->window != window) {
		b->window = window;
		b->used = 0;
	}
	return b->used++ < ANSWERS_A_WINDOW;
}

static __always_inline __u16 csum_of(const void *data, int words, __u32 sum)
{
	const __u16 *w = data;

#pragma unroll
	for (int i = 0; i < words; i++)
		sum += w[i];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

static __always_inline void eth_turn(struct ethhdr *to, const struct ethhdr *from)
{
	__builtin_memcpy(to->h_dest, from->h_source, ETH_ALEN);
	__builtin_memcpy(to->h_source, from->h_dest, ETH_ALEN);
	to->h_proto = from->h_proto;
}

struct too_big4 {
	struct ethhdr eth;
	struct iphdr ip;
	struct icmp_header icmp;
	struct iphdr quoted;
	__u8 quoted_l4[QUOTED_L4];
} __attribute__((packed, aligned(2)));

struct too_big6 {
	struct ethhdr eth;
	struct ipv6hdr ip;
	struct icmp_header icmp;
	struct ipv6hdr quoted;
	__u8 quoted_l4[QUOTED_L4];
} __attribute__((packed, aligned(2)));

/* Makes room before the packet for the headers of an answer, and cuts the
 * packet to what the answer quotes. */
static __always_inline bool reframe(struct xdp_md *ctx, int head, int total)
{
	int length = ctx->data_end - ctx->data;

	return !bpf_xdp_adjust_head(ctx, -head) && !bpf_xdp_adjust_tail(ctx, total - length - head);
}

/* XDP_TX, or 0 if the packet is to be dropped without an answer. */
__noinline int answer_too_big4(struct xdp_md *ctx, __u32 mtu)
{
	struct too_big4 *a = (void *)(long)ctx->data;
	struct ethhdr eth;

	if ((void *)(a + 1) > (void *)(long)ctx->data_end)
		return 0;
	eth = a->eth;
	if (!reframe(ctx, sizeof(a->ip) + sizeof(a->icmp), sizeof(*a)))
		return 0;
	a = (void *)(long)ctx->data;
	if ((void *)(a + 1) > (void *)(long)ctx->data_end)
		return 0;
	eth_turn(&a->eth, &eth);
	__builtin_memset(&a->ip, 0, sizeof(a->ip));
	a->ip.version = 4;
	a->ip.ihl = 5;
	a->ip.tot_len = bpf_htons(sizeof(*a) - sizeof(a->eth));
	a->ip.ttl = TOO_BIG_TTL;
	a->ip.protocol = IPPROTO_ICMP;
	a->ip.saddr = a->quoted.daddr;
	a->ip.daddr = a->quoted.saddr;
	a->ip.check = csum_of(&a->ip, sizeof(a->ip) / 2, 0);
	a->icmp.type = ICMP4_UNREACHABLE;
	a->icmp.code = ICMP4_FRAG_NEEDED;
	a->icmp.check = 0;
	a->icmp.rest = bpf_htonl(mtu);
	a->icmp.check = csum_of(&a->icmp, (sizeof(*a) - sizeof(a->eth) - sizeof(a->ip)) / 2, 0);
	return XDP_TX;
}

__noinline int answer_too_big6(struct xdp_md *ctx, __u32 mtu)
{
	struct too_big6 *a = (void *)(long)ctx->data;
	__u16 length = sizeof(*a) - sizeof(a->eth) - sizeof(a->ip);
	struct ethhdr eth;
	__u32 pseudo = bpf_htons(length) + bpf_htons(IPPROTO_ICMPV6);

	if ((void *)(a + 1) > (void *)(long)ctx->data_end)
		return 0;
	eth = a->eth;
	if (!reframe(ctx, sizeof(a->ip) + sizeof(a->icmp), sizeof(*a)))
		return 0;
	a = (void *)(long)ctx->data;
	if ((void *)(a + 1) > (void *)(long)ctx->data_end)
		return 0;
	eth_turn(&a->eth, &eth);
	__builtin_memset(&a->ip, 0, sizeof(a->ip));
	a->ip.version = 6;
	a->ip.payload_len = bpf_htons(length);
	a->ip.nexthdr = IPPROTO_ICMPV6;
	a->ip.hop_limit = TOO_BIG_TTL;
	a->ip.saddr = a->quoted.daddr;
	a->ip.daddr = a->quoted.saddr;
	a->icmp.type = ICMP6_TOO_BIG;
	a->icmp.code = 0;
	a->icmp.check = 0;
	a->icmp.rest = bpf_htonl(mtu);
	pseudo += (__u16)~csum_of(&a->ip.saddr, ADDRESSES_WORDS, 0);
	a->icmp.check = csum_of(&a->icmp, length / 2, pseudo);
	return XDP_TX;
}

/* Fragments may be made of IPv4 packets without DF, but not by us. */
static __always_inline bool may_answer(const struct packet *p)
{
	return p->version == 6 || (p->ip4->ihl == 5 && p->ip4->frag_off & bpf_htons(0x4000));
}

static __always_inline int too_big(struct packet *p, __u32 mtu)
{
	int answered;

	if (p->icmp || !may_answer(p) || !answer_allowed())
		return refusal(DROP_TOO_BIG);
	answered = p->version == 4 ? answer_too_big4(p->ctx, mtu) : answer_too_big6(p->ctx, mtu);
	count_reason(DROP_TOO_BIG);
	if (answered != XDP_TX)
		return XDP_DROP;
	count_reason(SENT_TOO_BIG);
	return XDP_TX;
}
