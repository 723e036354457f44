/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What packets do to the flow table: hits, new flows, ends. */
#pragma once

static __always_inline bool opens(__u8 proto, __u8 tcp_flags)
{
	return proto == IPPROTO_TCP && (tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

/* The 5-tuple that replies to a flow of b carry. */
static __always_inline void tuple_reply(const struct tuple *t, const struct backend *b,
					struct tuple *r)
{
	r->src = b->addr;
	r->sport = b->port ? b->port : t->dport;
	r->dst = t->src;
	r->dport = t->sport;
	r->version = t->version;
	r->proto = t->proto;
}

/* Ends the flow of this 5-tuple if it is `id`'s. 1 if this closed it. */
__noinline int track_end(struct tuple *t, __u32 id, __u32 state)
{
	struct flow_at at;
	__u64 word;
	__u32 slot;

	if (!t || !flow_locate(&at, hash_of(flow_key, t)))
		return 0;
	word = flow_find(&at, &slot);
	if (!word || flow_id(word) != id)
		return 0;
	return flow_move(&at, slot, word, state);
}

/* Stores the reply direction of s->tuple to a real that other services NAT to
 * as well. 0: another live flow has the same replies, or there is no room. */
__noinline int track_reverse(struct scratch *s, __u32 id)
{
	struct backend *b = bpf_map_lookup_elem(&backends, &id);
	struct flow_at at;
	__u64 word;
	__u32 slot;

	if (!s || !b)
		return 0;
	tuple_reply(&s->tuple, b, &s->reverse);
	if (!flow_locate(&at, hash_of(flow_key, &s->reverse)))
		return 0;
	word = flow_find(&at, &slot);
	if (word && !flow_finished(word) && flow_age(word, at.now) <= idle_limit[FLOW_REVERSE])
		return flow_id(word) == id;
	flow_victim(at.set, at.tag, at.now, &s->other);
	return flow_store(at.set, at.tag, at.now, &s->other, flow_want(id, FLOW_REVERSE)) == id;
}

/* The flow has ended, as `state` says. The reply direction of a flow to a
 * shared real ends with it, so that its 5-tuple can be used again. */
static __always_inline void track_ended(struct packet *p, const struct backend *b, __u32 id,
					__u32 state)
{
	struct scratch *s;

	event_send(p, EVENT_FLOW_CLOSED, 0, id);
	if (!feature_nat || !(b->flags & BACKEND_SHARED))
		return;
	s = scratch();
	if (!s)
		return;
	packet_tuple(p, &s->tuple);
	tuple_reply(&s->tuple, b, &s->reverse);
	track_end(&s->reverse, id, state);
}

/* What looks like a flow of b may be the reply direction of one, sent by a real
 * whose request direction has expired, or have the same hash by chance. */
static __always_inline bool track_is_for(const struct packet *p, const struct backend *b)
{
	if (p->version == 4)
		return p->ip4->daddr == b->vip.word[3];
	return same_address(&p->ip6->daddr, &b->vip);
}

/* A stored flow: its backend, or 0 if the packet starts a new one. */
static __always_inline struct backend *track_hit(struct packet *p, const struct flow_at *at,
						 __u32 slot, __u64 word)
{
	__u32 id = flow_id(word), state = flow_next(flow_state(word), p->proto, p->tcp_flags);
	struct backend *b = bpf_map_lookup_elem(&backends, &id);

	if (!b || !b->forward || !track_is_for(p, b) || (b->vip_port && b->vip_port != p->dport) ||
	    (flow_finished(word) && opens(p->proto, p->tcp_flags)))
		return 0;
	if (flow_move(at, slot, word, state))
		track_ended(p, b, id, state);
	return b;
}

/* The first state of a flow. Nothing is trusted before a second packet, so a
 * flood of single packets never looks live. */
static __always_inline __u32 first_state(__u8 proto, __u8 tcp_flags)
{
	if (proto != IPPROTO_TCP)
		return FLOW_EMBRYONIC;
	if (tcp_flags & TCP_RST)
		return FLOW_CLOSED;
	return tcp_flags & TCP_FIN ? FLOW_CLOSING : FLOW_EMBRYONIC;
}

/* May the choice differ from the last packet's: is this a flow's first? */
static __always_inline bool starts(const struct tuple *t, __u8 tcp_flags)
{
	return t->proto != IPPROTO_TCP || opens(t->proto, tcp_flags);
}

static __always_inline void count_flow(__u32 id, bool stored)
{
	struct backend_stats *s = stats_of(id);

	if (!s)
		return;
	if (stored)
		s->flows++;
	else
		s->unstored++;
}

#define OPENED_ID 0x3ffff
#define OPENED_STORED 0x40000

/* Chooses a backend for the scratch's flow, which is not stored, and stores it.
 * Returns the id of its backend, with OPENED_STORED if the table has it, or a
 * refusal. */
__noinline int track_open(struct xdp_md *ctx, __u32 tcp_flags)
{
	struct scratch *s = scratch();
	struct service *service;
	struct backend *b;
	struct flow_at at;
	__u32 index, id, kept, rank;
	int refused;

	if (!s || !flow_locate(&at, s->hash))
		return refusal(DROP_INTERNAL);
	service = service_for(s, &index);
	if (!service)
		return refusal(PASS_NOT_VIP);
	if (feature_limits && starts(&s->tuple, tcp_flags) && limited(service)) {
		refused = limit_refuses(index);
		if (refused)
			return refused;
	}
	if (service->forward == FORWARD_L7)
		return refusal(PASS_LOCAL);
	rank = flow_victim(at.set, at.tag, at.now, &s->victim);
	id = *(__u64 *)service->quic && s->payload ? quic_owner(ctx, index) : 0;
	if (!id)
		id = pick(service, index, s, rank <= RANK_EMBRYONIC || !starts(&s->tuple, tcp_flags));
	b = id ? bpf_map_lookup_elem(&backends, &id) : 0;
	if (!b)
		return refusal(DROP_NO_BACKEND);
	if (feature_nat && b->flags & BACKEND_SHARED && !track_reverse(s, id))
		return refusal(DROP_NAT_CONFLICT);
	kept = flow_store(at.set, at.tag, at.now, &s->victim,
			  flow_want(id, first_state(s->tuple.proto, tcp_flags)));
	count_flow(kept ? kept : id, kept);
	return kept ? kept | OPENED_STORED : id;
}

/* A packet of no stored flow: 0 and its backend's id, or a refusal. */
static __always_inline int track_new(struct packet *p, __u64 hash, __u32 *id)
{
	struct scratch *s = scratch();
	int opened;

	if (!s)
		return refusal(DROP_INTERNAL);
	s->hash = hash;
	s->payload = p->udp ? quic_payload(p) : 0;
	packet_tuple(p, &s->tuple);
	opened = track_open(p->ctx, p->tcp_flags);
	if (opened < 0)
		return opened;
	*id = opened & OPENED_ID;
	if (opened & OPENED_STORED)
		event_send(p, EVENT_FLOW_NEW, 0, *id);
	return 0;
}

static __always_inline bool sent_by(const struct packet *p, const struct backend *b)
{
	if (p->version == 4)
		return p->ip4->saddr == b->addr.word[3];
	return same_address(&p->ip6->saddr, &b->addr);
}

static __always_inline bool track_is_from(const struct packet *p, const struct backend *b)
{
	return b->proto == p->proto && (!b->port || b->port == p->sport) && sent_by(p, b);
}

/* A packet from a shared real: whose flow it is. Flows that began before the
 * real was shared are of the id it is registered for; but of a real that is
 * registered for every port, what is no stored flow's is its own traffic, and so
 * is what belongs to a flow that the real has opened itself. */
static __always_inline struct backend *track_shared_reply(const struct packet *p,
							  struct backend *b, __u32 *id)
{
	struct flow_at at;
	__u64 word;
	__u32 slot;

	if (!flow_locate(&at, hash_packet(flow_key, p)))
		return 0;
	word = flow_find(&at, &slot);
	if (!word)
		return b->port ? b : 0;
	*id = flow_id(word);
	b = bpf_map_lookup_elem(&backends, id);
	if (!b || !track_is_from(p, b))
		return 0;
	flow_move(&at, slot, word, flow_state(word));
	return b;
}

enum replied {
	REPLIED_NOT = 0,
	REPLIED,
	REPLIED_CLOSED, /* and closed its flow */
};

/* The flow of a request, by a packet from id's real that may be a reply to it.
 * Where all slots are live the flow may be one that was not stored. */
__noinline int track_replied(struct scratch *s, __u32 id, __u32 resets)
{
	struct flow_at at;
	__u64 word;
	__u32 slot;

	if (!s || !flow_locate(&at, hash_of(flow_key, &s->tuple)))
		return REPLIED_NOT;
	word = flow_find(&at, &slot);
	if (!word)
		return flow_victim(at.set, at.tag, at.now, &s->victim) ? REPLIED_NOT : REPLIED;
	if (flow_id(word) != id)
		return REPLIED_NOT;
	if (flow_move(&at, slot, word, resets ? FLOW_CLOSED : flow_state(word)))
		return REPLIED_CLOSED;
	return REPLIED;
}

/* Is a packet from a real a reply, or the real's own traffic: to a health
 * check, or to who talks to it directly? A reply keeps its flow alive; a
 * backend that resets a connection ends it. */
static __always_inline bool track_reply(struct packet *p, const struct backend *b, __u32 id)
{
	struct scratch *s = scratch();
	int replied;

	if (!s)
		return false;
	nat_request_tuple(p, b, &s->tuple);
	replied = track_replied(s, id, p->tcp_flags & TCP_RST);
	if (replied != REPLIED_CLOSED)
		return replied;
	event_send(p, EVENT_FLOW_CLOSED, 0, id);
	if (!(b->flags & BACKEND_SHARED))
		return true;
	packet_tuple(p, &s->reverse);
	track_end(&s->reverse, id, FLOW_CLOSED);
	return true;
}
