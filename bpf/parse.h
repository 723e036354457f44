/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* From a frame to a packet whose headers are known to be there. */
#pragma once

#define EXTENSIONS_MAX 4
#define FRAME_MAX 0x3fff /* the verifier wants a bound for places in the frame */
#define IP_OFFSET_MASK 0x1fff
#define IP_FRAGMENT_MASK 0x3fff /* more fragments, or an offset */

struct tuple {
	struct address src;
	struct address dst;
	__u16 sport;
	__u16 dport;
	__u8 version;
	__u8 proto;
};

/* A frame as parse() left it. Pointers stay valid until the frame is changed
 * in size; `l4` has at least the fixed header of `proto` behind it. */
struct packet {
	struct xdp_md *ctx;
	struct ethhdr *eth;
	union {
		struct iphdr *ip4;
		struct ipv6hdr *ip6;
		void *l3;
	};
	void *l4;
	__u16 *check;   /* of TCP or UDP */
	void *quoted;   /* ICMP errors: the quoted IP header, see icmp.h */
	__u16 *quoted_ports;
	__u32 length;   /* of the frame, bytes */
	__u32 l3_length; /* as the IP header says, bytes */
	__u16 sport;
	__u16 dport;
	__u8 version; /* 4 or 6 */
	__u8 proto;
	__u8 tcp_flags;
	__u8 hops; /* TTL or hop limit */
	/* The verifier knows constants, but not what a protocol number that it
	 * saw compared before implies. */
	bool icmp;
	bool udp;
};

enum parsed {
	PARSED = 0,
	PARSED_NOT_IP,
	PARSED_VLAN,
	PARSED_SHORT,      /* no destination address to be read */
	PARSED_OTHER,      /* neither TCP nor UDP nor ICMP */
	/* from here on version, l3 and proto are known (proto 0: unknown) */
	PARSED_MALFORMED,
	PARSED_FRAGMENT,
	PARSED_EXTENSIONS,
};

#define TCP_FLAGS_OFFSET 13
#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

static __always_inline enum parsed parse_tcp(struct packet *p, void *end, __u32 room)
{
	struct tcphdr *tcp = p->l4;

	if (room < sizeof(*tcp) || (void *)(tcp + 1) > end)
		return PARSED_MALFORMED;
	if (tcp->doff < 5 || tcp->doff * 4 > room)
		return PARSED_MALFORMED;
	p->sport = tcp->source;
	p->dport = tcp->dest;
	p->check = &tcp->check;
	p->icmp = false;
	p->udp = false;
	p->tcp_flags = ((__u8 *)tcp)[TCP_FLAGS_OFFSET];
	return PARSED;
}

/* Of a packet or its first fragment, which does not reach as far as the length
 * says. */
static __always_inline enum parsed parse_udp_part(struct packet *p, void *end, __u32 room)
{
	struct udphdr *udp = p->l4;

	if (room < sizeof(*udp) || (void *)(udp + 1) > end)
		return PARSED_MALFORMED;
	if (bpf_ntohs(udp->len) < sizeof(*udp))
		return PARSED_MALFORMED;
	p->sport = udp->source;
	p->dport = udp->dest;
	p->check = &udp->check;
	p->icmp = false;
	p->udp = true;
	p->tcp_flags = 0;
	return PARSED;
}

static __always_inline enum parsed parse_udp(struct packet *p, void *end, __u32 room)
{
	enum parsed what = parse_udp_part(p, end, room);
	struct udphdr *udp = p->l4;

	if (what == PARSED && bpf_ntohs(udp->len) > room)
		return PARSED_MALFORMED;
	return what;
}

static __always_inline enum parsed parse_icmp(struct packet *p, void *end, __u32 room)
{
	p->sport = 0;
	p->dport = 0;
	p->tcp_flags = 0;
	p->icmp = true;
	p->udp = false;
	if (room < sizeof(struct icmp6hdr) || p->l4 + sizeof(struct icmp6hdr) > end)
		return PARSED_MALFORMED;
	return PARSED;
}

/* room: bytes from l4 to the end that the IP header states; the frame may be
 * longer (Ethernet padding). */
static __always_inline enum parsed parse_l4(struct packet *p, void *end, __u32 room)
{
	if (p->proto == IPPROTO_TCP)
		return parse_tcp(p, end, room);
	if (p->proto == IPPROTO_UDP)
		return parse_udp(p, end, room);
	return parse_icmp(p, end, room);
}

static __always_inline bool balanced(__u8 proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP;
}

static __always_inline enum parsed parse_ip4(struct packet *p, void *end)
{
	struct iphdr *ip = p->l3;
	__u32 header, total;

	if ((void *)(ip + 1) > end)
		return PARSED_SHORT;
	header = ip->ihl * 4;
	total = bpf_ntohs(ip->tot_len);
	p->version = 4;
	p->proto = ip->protocol;
	p->hops = ip->ttl;
	p->l3_length = total;
	if (ip->version != 4 || header < sizeof(*ip) || total < header ||
	    total > end - p->l3)
		return PARSED_MALFORMED;
	if (!balanced(ip->protocol) && ip->protocol != IPPROTO_ICMP)
		return PARSED_OTHER;
	if (ip->frag_off & bpf_htons(IP_FRAGMENT_MASK))
		return balanced(ip->protocol) ? PARSED_FRAGMENT : PARSED_OTHER;
	p->l4 = p->l3 + header;
	return parse_l4(p, end, total - header);
}

struct fragment_header6 {
	__u8 next;
	__u8 length; /* of other extension headers; reserved */
	__u16 offset;
	__u32 id;
};

/* Is there more of the packet? A fragment header may say that there is not (RFC
 * 6946): then it is an extension header like others. */
static __always_inline bool fragments6(const struct fragment_header6 *header)
{
	return header->offset & bpf_htons(0xfff9);
}

static __always_inline bool is_extension(__u8 next)
{
	return next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_DSTOPTS;
}

/* RFC 8200, 4: hop-by-hop, routing and destination options have a length in
 * units of 8 bytes without the first. */
static __always_inline enum parsed parse_ip6(struct packet *p, void *end)
{
	struct ipv6hdr *ip = p->l3;
	__u32 at = sizeof(*ip), total;
	__u8 next;

	if ((void *)(ip + 1) > end)
		return PARSED_SHORT;
	next = ip->nexthdr;
	total = sizeof(*ip) + bpf_ntohs(ip->payload_len);
	p->version = 6;
	p->proto = 0;
	p->hops = ip->hop_limit;
	p->l3_length = total;
	if (ip->version != 6 || total > end - p->l3)
		return PARSED_MALFORMED;
#pragma unroll
	for (int i = 0; i <= EXTENSIONS_MAX; i++) {
		__u8 *header = p->l3 + at;

		if (balanced(next) || next == IPPROTO_ICMPV6) {
			p->proto = next;
			p->l4 = header;
			return at > total ? PARSED_MALFORMED : parse_l4(p, end, total - at);
		}
		if (next == IPPROTO_FRAGMENT) {
			if (at + 8 > total || (void *)(header + 8) > end)
				return PARSED_MALFORMED;
			if (fragments6((void *)header))
				return PARSED_FRAGMENT;
			next = header[0];
			at += 8;
			continue;
		}
		if (!is_extension(next))
			return PARSED_OTHER;
		if (at + 2 > total || (void *)(header + 2) > end)
			return PARSED_MALFORMED;
		next = header[0];
		at += 8 * (header[1] + 1);
	}
	return PARSED_EXTENSIONS;
}

/* struct ethhdr is packed: its type would be read and written as bytes. */
static __always_inline __be16 *ethertype(struct ethhdr *eth)
{
	return (__be16 *)eth + ETH_ALEN;
}

static __always_inline enum parsed parse(struct xdp_md *ctx, struct packet *p)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;

	p->ctx = ctx;
	p->eth = eth;
	p->length = end - data;
	if ((void *)(eth + 1) > end)
		return PARSED_NOT_IP;
	p->l3 = eth + 1;
	switch (*ethertype(eth)) {
	case bpf_htons(ETH_P_IP):
		return parse_ip4(p, end);
	case bpf_htons(ETH_P_IPV6):
		return parse_ip6(p, end);
	case bpf_htons(ETH_P_8021Q):
	case bpf_htons(ETH_P_8021AD):
		return PARSED_VLAN;
	}
	return PARSED_NOT_IP;
}

/* Of 16 bytes. memcmp would be one of bytes: 64 instructions, 5 ns. */
static __always_inline bool same_address(const void *a, const void *b)
{
	const __u32 *v = a, *w = b;

	return !((v[0] ^ w[0]) | (v[1] ^ w[1]) | (v[2] ^ w[2]) | (v[3] ^ w[3]));
}

/* An address in 16 bytes, IPv4 mapped. */
static __always_inline void address4(struct address *a, __be32 addr)
{
	a->word[0] = 0;
	a->word[1] = 0;
	a->word[2] = bpf_htonl(0xffff);
	a->word[3] = addr;
}

static __always_inline void packet_source(const struct packet *p, struct address *a)
{
	if (p->version == 4)
		address4(a, p->ip4->saddr);
	else
		__builtin_memcpy(a, &p->ip6->saddr, sizeof(*a));
}

static __always_inline void packet_destination(const struct packet *p, struct address *a)
{
	if (p->version == 4)
		address4(a, p->ip4->daddr);
	else
		__builtin_memcpy(a, &p->ip6->daddr, sizeof(*a));
}

static __always_inline void packet_tuple(const struct packet *p, struct tuple *t)
{
	packet_source(p, &t->src);
	packet_destination(p, &t->dst);
	t->sport = p->sport;
	t->dport = p->dport;
	t->version = p->version;
	t->proto = p->proto;
}
