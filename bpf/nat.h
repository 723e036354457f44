/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Address translation. What a checksum has to gain is the same for every
 * packet of a backend, so the loader computes it once. */
#pragma once

/* UDP: 0 means no checksum, and a sum of 0 is written as 0xffff (RFC 768). */
static __always_inline void nat_l4_checksum(struct packet *p, __u32 delta)
{
	if (!p->udp) {
		*p->check = csum_add(*p->check, delta);
		return;
	}
	if (!*p->check)
		return;
	*p->check = csum_add(*p->check, delta);
	if (!*p->check)
		*p->check = 0xffff;
}

/* RFC 8200, 8.1: UDP over IPv6 has a checksum; without one there is nothing
 * to update. */
static __always_inline bool nat_lacks_checksum(const struct packet *p)
{
	return p->version == 6 && p->udp && !*p->check;
}

/* One hop less, and the header's checksum for that and for delta. */
static __always_inline void nat_hop(struct packet *p, __u32 delta)
{
	if (p->version == 6) {
		p->ip6->hop_limit--;
		return;
	}
	p->ip4->ttl--;
	p->ip4->check = csum_add(p->ip4->check, delta + (__u16)~bpf_htons(0x0100));
}

static __always_inline void nat_destination(struct packet *p, const struct backend *b)
{
	if (p->icmp)
		nat_icmp(p, b);
	else
		nat_l4_checksum(p, b->l4_delta);
	nat_hop(p, b->ip_delta);
	if (p->version == 4)
		p->ip4->daddr = b->addr.word[3];
	else
		__builtin_memcpy(&p->ip6->daddr, &b->addr, sizeof(b->addr));
	if (b->port && !p->icmp)
		((__u16 *)p->l4)[1] = b->port;
}

static __always_inline void nat_source(struct packet *p, const struct backend *b)
{
	nat_l4_checksum(p, (__u16)~b->l4_delta);
	nat_hop(p, (__u16)~b->ip_delta);
	if (p->version == 4)
		p->ip4->saddr = b->vip.word[3];
	else
		__builtin_memcpy(&p->ip6->saddr, &b->vip, sizeof(b->vip));
	if (b->port)
		((__u16 *)p->l4)[0] = b->vip_port;
}

/* The 5-tuple of the request that this packet replies to. */
static __always_inline void nat_request_tuple(const struct packet *p, const struct backend *b,
					      struct tuple *t)
{
	packet_destination(p, &t->src);
	t->sport = p->dport;
	t->dst = b->vip;
	t->dport = b->port ? b->vip_port : p->sport;
	t->version = p->version;
	t->proto = p->proto;
}

/* One bit of 65,536 for each real, by its address: what most packets pay to
 * learn that they are no replies. */
static __always_inline bool real_maybe(const struct packet *p)
{
	__u32 fold, key;
	__u64 *word;

	if (p->version == 4) {
		fold = p->ip4->saddr;
	} else {
		__u32 *w = p->ip6->saddr.in6_u.u6_addr32;

		fold = w[0] ^ w[1] ^ w[2] ^ w[3];
	}
	fold = fold * 0x9e3779b1 >> 16;
	key = fold >> 6;
	word = bpf_map_lookup_elem(&real_filter, &key);
	return word && load_once(*word) >> (fold & 63) & 1;
}

/* The backend id that a packet's source is registered for, or 0. */
static __always_inline __u32 real_find(const struct packet *p)
{
	struct real_key key = { .port = p->sport, .proto = p->proto };
	__u32 *id;

	packet_source(p, &key.addr);
	id = bpf_map_lookup_elem(&reals, &key);
	if (!id) {
		key.port = 0;
		id = bpf_map_lookup_elem(&reals, &key);
	}
	return id ? *id : 0;
}
