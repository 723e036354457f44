/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The fragment table: where the first fragment of a packet went, by source,
 * destination, protocol and identification. Sets of eight words, as in flow.h:
 *
 *   63      32 31      11 10     3 2     0
 *   |   tag   |  value   |  time  | kind |
 *
 * It is apart from the flow table, so that a flood of fragments pushes out
 * nothing but other fragments' words. */
#pragma once

#define FRAGMENT_VALUE_SHIFT 11
#define FRAGMENT_VALUE_MASK 0x1fffff
#define FRAGMENT_TIME_SHIFT 3
#define FRAGMENT_TIME_MASK 0xff
#define FRAGMENT_KIND_MASK 7

/* In units of the flow clock: 17 to 21 s; RFC 791, 3.2 waits for 15 s. */
#define FRAGMENT_AGE 4

static __always_inline __u64 fragment_word(__u32 tag, __u32 now, __u32 kind, __u32 value)
{
	return (__u64)tag << 32 | (__u64)value << FRAGMENT_VALUE_SHIFT |
	       (now & FRAGMENT_TIME_MASK) << FRAGMENT_TIME_SHIFT | kind;
}

static __always_inline __u32 fragment_value(__u64 word)
{
	return word >> FRAGMENT_VALUE_SHIFT & FRAGMENT_VALUE_MASK;
}

static __always_inline __u32 fragment_kind(__u64 word)
{
	return word & FRAGMENT_KIND_MASK;
}

/* A word that another CPU stamped may be one unit ahead. */
static __always_inline bool fragment_expired(__u64 word, __u32 now)
{
	__u32 age = (now + 1 - (__u32)(word >> FRAGMENT_TIME_SHIFT)) & FRAGMENT_TIME_MASK;

	return age > FRAGMENT_AGE + 1;
}

static __always_inline __u64 fragment_hash(const struct packet *p, __u32 id)
{
	if (p->version == 4)
		return hash_tuple(flow_key, 4, p->proto, id, &p->ip4->saddr, &p->ip4->daddr);
	return hash_tuple(flow_key, 6, p->proto, id, p->ip6->saddr.in6_u.u6_addr32,
			  p->ip6->daddr.in6_u.u6_addr32);
}

static __always_inline __u32 fragment_tag(__u64 hash)
{
	return hash & 0xffffffff ? hash : 1;
}

static __always_inline struct flow_set *fragment_set(__u64 hash)
{
	__u32 index = (hash >> 32) * FRAGMENT_SETS >> 32;

	return bpf_map_lookup_elem(&fragments, &index);
}

/* The word of a packet, 0 if there is none. Two CPUs may have stored different
 * ones at the same time: that counts as broken. */
__noinline __u64 fragment_find(__u64 hash)
{
	const __u64 same = ~((__u64)FRAGMENT_TIME_MASK << FRAGMENT_TIME_SHIFT);
	struct flow_set *set = fragment_set(hash);
	__u32 tag = fragment_tag(hash), now = flow_clock();
	__u64 found = 0;

	if (!set)
		return 0;
	for (__u32 i = 0; i < FLOW_SLOTS; i++) {
		__u64 word = load_once(set->word[i]);

		if (word >> 32 != tag || !fragment_kind(word) || fragment_expired(word, now))
			continue;
		if (found && (found ^ word) & same)
			return fragment_word(tag, now, FRAGMENT_BROKEN, 0);
		found = word;
	}
	return found;
}

/* Stores a word in a free slot or, if there is none, in any: with the newest
 * word there a packet whose fragments come soon after each other has the best
 * chance, whoever floods. */
__noinline int fragment_note(__u64 hash, __u32 kind, __u32 value)
{
	struct flow_set *set = fragment_set(hash);
	__u32 tag = fragment_tag(hash), now = flow_clock();

	if (!set)
		return 0;
	for (int tries = 0; tries < FLOW_TRIES; tries++) {
		__u32 slot = tag & FLOW_SLOT_MASK;
		__u64 old;

		for (__u32 i = 0; i < FLOW_SLOTS; i++) {
			__u64 word = load_once(set->word[i]);

			if (!fragment_kind(word) || fragment_expired(word, now))
				slot = i;
		}
		old = load_once(set->word[slot & FLOW_SLOT_MASK]);
		if (flow_swap(set, slot, old, fragment_word(tag, now, kind, value)))
			return 1;
	}
	return 0;
}

/* From now on no fragment of the packet goes anywhere. */
__noinline int fragment_break(__u64 hash)
{
	struct flow_set *set = fragment_set(hash);
	__u32 tag = fragment_tag(hash);

	if (!set)
		return 0;
	for (__u32 i = 0; i < FLOW_SLOTS; i++) {
		__u64 word = load_once(set->word[i]);

		if (word >> 32 == tag && fragment_kind(word))
			flow_swap(set, i, word, word | FRAGMENT_KIND_MASK);
	}
	return 0;
}

/* RFC 1858, RFC 3128: what would write over the first fragment's TCP header. */
static __always_inline bool fragment_overlaps(const struct packet *p, const struct fragment *f)
{
	return p->proto == IPPROTO_TCP && f->offset && f->offset < sizeof(struct tcphdr);
}

/* A first fragment as parse_fragment() left it, from what the scratch keeps. */
static __always_inline struct scratch *fragment_read(struct xdp_md *ctx, struct packet *p)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct scratch *s = scratch();
	struct udphdr *udp;
	struct tcphdr *tcp;

	if (!s)
		return 0;
	p->ctx = ctx;
	p->eth = data;
	p->l3 = data + sizeof(struct ethhdr);
	p->length = end - data;
	p->version = s->version;
	p->proto = s->proto;
	p->icmp = false;
	if (p->version == 4) {
		if ((void *)(p->ip4 + 1) > end)
			return 0;
		p->hops = p->ip4->ttl;
		p->l3_length = bpf_ntohs(p->ip4->tot_len);
	} else {
		if ((void *)(p->ip6 + 1) > end)
			return 0;
		p->hops = p->ip6->hop_limit;
		p->l3_length = sizeof(*p->ip6) + bpf_ntohs(p->ip6->payload_len);
	}
	p->l4 = data + (s->l4_at & FRAME_MAX);
	if (p->proto == IPPROTO_TCP) {
		tcp = p->l4;
		if ((void *)(tcp + 1) > end)
			return 0;
		p->udp = false;
		p->sport = tcp->source;
		p->dport = tcp->dest;
		p->check = &tcp->check;
		p->tcp_flags = ((__u8 *)tcp)[TCP_FLAGS_OFFSET];
		return s;
	}
	udp = p->l4;
	if ((void *)(udp + 1) > end)
		return 0;
	p->udp = true;
	p->sport = udp->source;
	p->dport = udp->dest;
	p->check = &udp->check;
	p->tcp_flags = 0;
	return s;
}

static __always_inline void fragment_keep(const struct packet *p, struct scratch *s)
{
	s->l4_at = p->l4 - (void *)(long)p->ctx->data;
	s->version = p->version;
	s->proto = p->proto;
}
