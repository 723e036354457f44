/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* IP in IP (RFC 2003, 2473, 4213) and GUE variant 1, which is IP straight in
 * UDP (draft-ietf-intarea-gue, 4). DSCP and ECN are carried as they are (RFC
 * 6040, 4.1, normal mode). */
#pragma once

#define OUTER_TTL 64
#define UDP_HEADER sizeof(struct udphdr)

static __always_inline bool is_tunnel(const struct backend *b)
{
	return b->forward == FORWARD_IPIP || b->forward == FORWARD_GUE;
}

static __always_inline __u32 encap_overhead(const struct backend *b)
{
	__u32 ip = b->family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);

	return b->forward == FORWARD_GUE ? ip + UDP_HEADER : ip;
}

/* The next protocol of the outer header. */
static __always_inline __u8 encap_proto(const struct backend *b, __u8 version)
{
	if (b->forward == FORWARD_GUE)
		return IPPROTO_UDP;
	return version == 4 ? IPPROTO_IPIP : IPPROTO_IPV6;
}

static __always_inline __u8 inner_tos(const struct packet *p)
{
	if (p->version == 4)
		return p->ip4->tos;
	return p->ip6->priority << 4 | p->ip6->flow_lbl[0] >> 4;
}

/* ip_delta is the sum of what is the same for every packet of the backend:
 * version and length, don't fragment, TTL and destination. */
static __always_inline void outer_ip4(struct iphdr *ip, const struct backend *b, __u8 tos,
				      __u8 proto, __u16 length, __u32 hash)
{
	__u32 source = tunnel_source4 | bpf_htonl(hash & 0xffff), sum;

	ip->version = 4;
	ip->ihl = 5;
	ip->tos = tos;
	ip->tot_len = bpf_htons(length);
	ip->id = 0;
	ip->frag_off = bpf_htons(0x4000);
	ip->ttl = OUTER_TTL;
	ip->protocol = proto;
	ip->saddr = source;
	ip->daddr = b->addr.word[3];
	sum = b->ip_delta + bpf_htons(tos) + bpf_htons(proto) + ip->tot_len;
	sum += (source & 0xffff) + (source >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	ip->check = ~sum;
}

static __always_inline void outer_ip6(struct ipv6hdr *ip, const struct backend *b, __u8 tos,
				      __u8 proto, __u16 length, __u32 hash)
{
	__u32 *source = ip->saddr.in6_u.u6_addr32;

	*(__be32 *)ip = bpf_htonl(6 << 28 | (__u32)tos << 20 | (hash & 0xfffff));
	ip->payload_len = bpf_htons(length);
	ip->nexthdr = proto;
	ip->hop_limit = OUTER_TTL;
	source[0] = tunnel_source6[0];
	source[1] = tunnel_source6[1];
	source[2] = 0;
	source[3] = hash;
	__builtin_memcpy(&ip->daddr, &b->addr, sizeof(b->addr));
}

/* Without checksum, which tunnels may leave out over IPv6 too (RFC 6935). The
 * source port is the flow's (dynamic range, RFC 6335). */
static __always_inline void outer_udp(struct udphdr *udp, __u16 length, __u32 hash)
{
	udp->source = bpf_htons(0xc000 | (hash & 0x3fff));
	udp->dest = gue_port;
	udp->len = bpf_htons(length + UDP_HEADER);
	udp->check = 0;
}

/* Puts the outer headers before a packet. All of its pointers but eth are void
 * afterwards; MAC addresses are yet to be written. */
static __always_inline int encapsulate(struct packet *p, const struct backend *b, __u32 hash)
{
	__u32 overhead = encap_overhead(b), udp = b->forward == FORWARD_GUE ? UDP_HEADER : 0;
	__u8 tos = inner_tos(p), proto = encap_proto(b, p->version);
	void *end, *l3;

	if (p->l3_length + overhead > b->mtu)
		return too_big(p, b->mtu - overhead);
	if (bpf_xdp_adjust_head(p->ctx, -(int)overhead))
		return lost();
	p->eth = (void *)(long)p->ctx->data;
	end = (void *)(long)p->ctx->data_end;
	l3 = p->eth + 1;
	if (b->family == 4) {
		if (l3 + sizeof(struct iphdr) + UDP_HEADER > end)
			return lost();
		*ethertype(p->eth) = bpf_htons(ETH_P_IP);
		outer_ip4(l3, b, tos, proto, p->l3_length + overhead, hash);
		if (udp)
			outer_udp(l3 + sizeof(struct iphdr), p->l3_length, hash);
		return 0;
	}
	if (l3 + sizeof(struct ipv6hdr) + UDP_HEADER > end)
		return lost();
	*ethertype(p->eth) = bpf_htons(ETH_P_IPV6);
	outer_ip6(l3, b, tos, proto, p->l3_length + udp, hash);
	if (udp)
		outer_udp(l3 + sizeof(struct ipv6hdr), p->l3_length, hash);
	return 0;
}
