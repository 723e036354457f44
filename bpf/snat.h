/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Full NAT: the backend sees one of our own addresses and a port that only
 * this flow has. The pairs are the slots of a table like the flow table: word
 * n stands for address n / SNAT_PORTS and port SNAT_FIRST_PORT + n % SNAT_PORTS,
 * so a pair is taken by the compare-and-swap that stores the flow, and never by
 * two. A flow may have a slot of either of two sets; if all are live, sources are
 * exhausted. */
#pragma once

#define SNAT_SETS (SNAT_PORTS / FLOW_SLOTS) /* of one address */

static __always_inline __u32 snat_set_index(__u64 hash, __u32 version)
{
	__u32 count = version == 4 ? snat_count4 : snat_count6;
	__u32 first = version == 4 ? 0 : snat_count4 * SNAT_SETS;

	return first + ((hash >> 32) * (count * SNAT_SETS) >> 32);
}

static __always_inline bool snat_locate(struct flow_at *at, __u64 hash, __u32 version, __u32 *index)
{
	at->tag = hash ? hash : 1;
	at->now = flow_clock();
	*index = snat_set_index(hash, version);
	at->set = bpf_map_lookup_elem(&snat_flows, index);
	return at->set;
}

/* The other set of a flow; the tag is the same. */
static __always_inline __u64 snat_rehash(__u64 hash)
{
	return (mix64(hash) & 0xffffffff00000000ULL) | (hash & 0xffffffff);
}

static __always_inline __u32 snat_rank(__u64 hash, __u32 version, struct victim *v)
{
	struct flow_at at;
	__u32 index;

	if (!snat_locate(&at, hash, version, &index))
		return RANK_LIVE;
	return flow_victim(at.set, at.tag, at.now, v);
}

/* The pair of a flow whose slot is in this set, plus 1; 0: it is not. The slot
 * goes through the states that the flow goes through. */
static __always_inline int snat_known(__u64 hash, __u32 version, __u32 id, __u8 proto, __u8 flags)
{
	struct flow_at at;
	__u32 index, slot;
	__u64 word;

	if (!snat_locate(&at, hash, version, &index))
		return 0;
	word = flow_find(&at, &slot);
	if (!word || flow_id(word) != id)
		return 0;
	if (flow_finished(word) && opens(proto, flags))
		flow_swap(at.set, slot, word, flow_word(at.tag, id, at.now, FLOW_EMBRYONIC));
	else
		flow_move(&at, slot, word, flow_next(flow_state(word), proto, flags) | FLOW_UNCOUNTED);
	return index * FLOW_SLOTS + slot + 1;
}

static __always_inline int snat_take(__u64 hash, __u32 version, __u32 id, struct victim *v)
{
	__u64 want = flow_want(id, FLOW_EMBRYONIC | FLOW_UNCOUNTED);
	struct flow_at at;
	__u32 index, slot;

	if (!snat_locate(&at, hash, version, &index) ||
	    flow_store(at.set, at.tag, at.now, v, want) != id)
		return 0;
	/* Another CPU may have stored the same flow. */
	return flow_find(&at, &slot) ? index * FLOW_SLOTS + slot + 1 : 0;
}

/* A pair for a new flow, plus 1; 0: all that it may have are live. */
static __always_inline int snat_allocate(struct scratch *s, __u32 id)
{
	__u32 version = s->tuple.version, rank = snat_rank(s->hash, version, &s->victim), key;
	__u64 other = snat_rehash(s->hash);
	struct snat_client *client;
	int pair;

	if (rank < RANK_EMPTY && snat_rank(other, version, &s->other) > rank)
		pair = snat_take(other, version, id, &s->other);
	else
		pair = snat_take(s->hash, version, id, &s->victim);
	key = pair - 1;
	client = pair ? bpf_map_lookup_elem(&snat_clients, &key) : 0;
	if (!client)
		return 0;
	client->addr = s->tuple.src;
	client->port = s->tuple.sport;
	return pair;
}

/* The pair of the flow s->tuple, which is not in its first set: known or new, plus
 * 1; 0: exhausted. */
__noinline int snat_pair(struct scratch *s, __u32 id, __u32 tcp_flags)
{
	int pair;

	if (!s)
		return 0;
	pair = snat_known(snat_rehash(s->hash), s->tuple.version, id, s->tuple.proto, tcp_flags);
	return pair ? pair : snat_allocate(s, id);
}

/* What a ones' complement sum gains when 32-bit words change. */
static __always_inline __u32 csum_words(const __u32 *from, const __u32 *to, int words)
{
	__u64 sum = 0;

	for (int i = 0; i < words; i++)
		sum += (__u64)(__u32)~from[i] + to[i];
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

static __always_inline __u32 csum_port(__u16 from, __u16 to)
{
	return (__u16)~from + to;
}

static __always_inline void pair_address(__u32 pair, struct address *addr, __u16 *port)
{
	/* pair / SNAT_PORTS: 2081 / 2^17 is 1 / 63 for numbers below 4,228. A
	 * division would cost as much as finding the flow. */
	__u32 index = (pair >> 10) * 2081 >> 17;

	*addr = snat_sources[index & (SNAT_SOURCES - 1)];
	*port = bpf_htons(SNAT_FIRST_PORT + pair - index * SNAT_PORTS);
}

/* Replaces an address (the source if `source`) of a packet, and its port. */
static __always_inline void snat_rewrite(struct packet *p, bool source, const struct address *addr,
					 __u16 port)
{
	__u16 *ports = p->l4, *at = source ? ports : ports + 1;
	__u32 delta, *at4;
	struct in6_addr *at6;

	if (p->version == 4) {
		at4 = source ? &p->ip4->saddr : &p->ip4->daddr;
		delta = csum_words(at4, &addr->word[3], 1);
		p->ip4->check = csum_add(p->ip4->check, delta);
		*at4 = addr->word[3];
	} else {
		at6 = source ? &p->ip6->saddr : &p->ip6->daddr;
		delta = csum_words(at6->in6_u.u6_addr32, addr->word, 4);
		__builtin_memcpy(at6, addr, sizeof(*at6));
	}
	nat_l4_checksum(p, delta + csum_port(*at, port));
	*at = port;
}

/* Gives a request its own source. */
static __always_inline int snat_request(struct packet *p, __u64 hash, __u32 id)
{
	struct scratch *s;
	struct address addr;
	__u16 port;
	int pair;

	if (p->icmp)
		return refusal(DROP_ICMP_UNKNOWN);
	/* Most known flows are in their first set. */
	pair = snat_known(hash, p->version, id, p->proto, p->tcp_flags);
	if (!pair) {
		s = scratch();
		if (!s)
			return refusal(DROP_INTERNAL);
		s->hash = hash;
		packet_tuple(p, &s->tuple);
		pair = snat_pair(s, id, p->tcp_flags);
	}
	if (!pair)
		return refusal(DROP_SNAT_EXHAUSTED);
	pair_address(pair - 1, &addr, &port);
	snat_rewrite(p, true, &addr, port);
	return 0;
}

/* The pair that a packet is addressed to, plus 1, or 0. */
static __always_inline __u32 snat_addressed(const struct packet *p)
{
	__u32 port = bpf_ntohs(p->dport), *index;
	struct address addr;

	if (port < SNAT_FIRST_PORT)
		return 0;
	packet_destination(p, &addr);
	index = bpf_map_lookup_elem(&snat_index, &addr);
	return index ? *index * SNAT_PORTS + port - SNAT_FIRST_PORT + 1 : 0;
}

/* The word of the flow that holds a pair, 0 if none does. */
static __always_inline __u64 snat_holder(struct flow_at *at, __u32 pair)
{
	__u32 index = pair / FLOW_SLOTS;

	at->set = bpf_map_lookup_elem(&snat_flows, &index);
	return at->set ? load_once(at->set->word[pair & FLOW_SLOT_MASK]) : 0;
}

/* A reply of id's keeps the pair; a reset ends it. */
__noinline int snat_keep(__u32 pair, __u32 id, __u32 resets)
{
	struct flow_at at = { .now = flow_clock() };
	__u64 word = snat_holder(&at, pair);

	if (!word || flow_id(word) != id)
		return 0;
	at.tag = word >> 32;
	return flow_move(&at, pair & FLOW_SLOT_MASK, word,
			 (resets ? FLOW_CLOSED : flow_state(word)) | FLOW_UNCOUNTED);
}

static __always_inline bool snat_is_from(const struct packet *p, const struct backend *b)
{
	struct address from;

	packet_source(p, &from);
	return b->forward == FORWARD_SNAT && b->proto == p->proto &&
	       (!b->port || b->port == p->sport) &&
	       same_address(&from, &b->addr);
}

/* A packet to a source of ours, from the backend of the flow that has it: its
 * backend, and the flow is in the scratch. Otherwise 0. */
static __always_inline struct backend *snat_reply(struct packet *p, __u32 *id)
{
	__u32 pair = snat_addressed(p), key = pair - 1;
	struct scratch *s = scratch();
	struct snat_client *client;
	struct flow_at at = {};
	struct backend *b;

	if (!pair || !s)
		return 0;
	*id = flow_id(snat_holder(&at, key));
	b = *id ? bpf_map_lookup_elem(&backends, id) : 0;
	client = bpf_map_lookup_elem(&snat_clients, &key);
	if (!b || !client || !snat_is_from(p, b))
		return 0;
	snat_keep(key, *id, p->tcp_flags & TCP_RST);
	s->tuple.src = client->addr;
	s->tuple.sport = client->port;
	s->tuple.dst = b->vip;
	s->tuple.dport = b->port ? b->vip_port : p->sport;
	s->tuple.version = p->version;
	s->tuple.proto = p->proto;
	if (track_replied(s, *id, p->tcp_flags & TCP_RST) == REPLIED_CLOSED)
		event_send(p, EVENT_FLOW_CLOSED, 0, *id);
	return b;
}

/* Addresses a reply to the client that snat_reply found. */
static __always_inline void snat_to_client(struct packet *p)
{
	struct scratch *s = scratch();

	if (s)
		snat_rewrite(p, false, &s->tuple.src, s->tuple.sport);
}
