/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What packets do to the flow table: hits, new flows, ends. */
#pragma once

static __always_inline bool opens(const struct packet *p)
{
	return p->proto == IPPROTO_TCP && (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
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

/* Stores the reply direction of a flow to a real that other services NAT to as
 * well. 0: another live flow has the same replies, or there is no room. */
__noinline int track_reverse(struct tuple *t, __u32 id)
{
	struct flow_at at;
	struct victim v;
	__u64 word;
	__u32 slot;

	if (!t || !flow_locate(&at, hash_of(flow_key, t)))
		return 0;
	word = flow_find(&at, &slot);
	if (word && !flow_finished(word) && flow_age(word, at.now) <= idle_limit[FLOW_REVERSE])
		return flow_id(word) == id;
	flow_victim(at.set, at.tag, at.now, &v);
	return flow_store(at.set, at.tag, at.now, &v, flow_want(id, FLOW_REVERSE)) == id;
}

/* The flow has ended, as `state` says: so has its reply direction, and its
 * 5-tuple can be used again. */
static __always_inline void track_ended(const struct packet *p, const struct backend *b, __u32 id,
					__u32 state)
{
	struct tuple t;

	event_send(p, EVENT_FLOW_CLOSED, 0, id);
	if (!feature_nat || !(b->flags & BACKEND_SHARED))
		return;
	nat_reply_tuple(p, b, &t);
	track_end(&t, id, state);
}

/* A stored flow: its backend, or 0 if the packet starts a new one. */
static __always_inline struct backend *track_hit(const struct packet *p, const struct flow_at *at,
						 __u32 slot, __u64 word)
{
	__u32 id = flow_id(word), state = flow_next(flow_state(word), p->proto, p->tcp_flags);
	struct backend *b = bpf_map_lookup_elem(&backends, &id);

	if (!b || !b->forward || (flow_finished(word) && opens(p)))
		return 0;
	if (flow_move(at, slot, word, state))
		track_ended(p, b, id, state);
	return b;
}

static __always_inline void track_stored(const struct packet *p, __u32 id, bool stored)
{
	struct backend_stats *s = stats_of(id);

	if (!s)
		return;
	if (!stored) {
		s->unstored++;
		return;
	}
	s->flows++;
	event_send(p, EVENT_FLOW_NEW, 0, id);
}

/* The first state of a flow. Nothing is trusted before a second packet, so a
 * flood of single packets never looks live. */
static __always_inline __u32 first_state(const struct packet *p)
{
	if (p->proto != IPPROTO_TCP)
		return FLOW_EMBRYONIC;
	if (p->tcp_flags & TCP_RST)
		return FLOW_CLOSED;
	return p->tcp_flags & TCP_FIN ? FLOW_CLOSING : FLOW_EMBRYONIC;
}

/* A packet of no stored flow: stores it for a backend. */
static __always_inline int track_new(const struct packet *p, const struct flow_at *at, __u32 *id)
{
	struct vip_key key = { .port = p->dport, .proto = p->proto };
	struct service *s;
	struct backend *b;
	struct victim v;
	struct tuple t;
	__u32 service, kept;
	bool steady;

	packet_destination(p, &key.addr);
	s = service_find(&key, &service);
	if (!s)
		return refusal(PASS_NOT_VIP);
	if (s->forward == FORWARD_L7)
		return refusal(PASS_LOCAL);
	flow_victim(at->set, at->tag, at->now, &v);
	steady = v.rank <= RANK_EMBRYONIC || (p->proto == IPPROTO_TCP && !opens(p));
	*id = pick(s, service, hash_packet(pick_key, p), steady);
	b = *id ? bpf_map_lookup_elem(&backends, id) : 0;
	if (!b)
		return refusal(DROP_NO_BACKEND);
	if (feature_nat && b->flags & BACKEND_SHARED) {
		nat_reply_tuple(p, b, &t);
		if (!track_reverse(&t, *id))
			return refusal(DROP_NAT_CONFLICT);
	}
	kept = flow_store(at->set, at->tag, at->now, &v, flow_want(*id, first_state(p)));
	if (kept)
		*id = kept;
	track_stored(p, *id, kept);
	return 0;
}

/* A packet from a shared real: whose flow it is. Flows that began before the
 * real was shared are of the id it is registered for; but of a real that is
 * registered for every port, what is no stored flow's is its own traffic. */
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
	flow_move(&at, slot, word, flow_state(word));
	*id = flow_id(word);
	return bpf_map_lookup_elem(&backends, id);
}

enum replied {
	REPLIED_NOT = 0,
	REPLIED,
	REPLIED_CLOSED, /* and closed its flow */
};

/* The flow of a request, by a packet from id's real that may be a reply to it.
 * Where all slots are live the flow may be one that was not stored. */
__noinline int track_replied(struct tuple *t, __u32 id, __u32 resets)
{
	struct flow_at at;
	struct victim v;
	__u64 word;
	__u32 slot;

	if (!t || !flow_locate(&at, hash_of(flow_key, t)))
		return REPLIED_NOT;
	word = flow_find(&at, &slot);
	if (!word)
		return flow_victim(at.set, at.tag, at.now, &v) ? REPLIED_NOT : REPLIED;
	if (flow_id(word) != id)
		return REPLIED_NOT;
	if (flow_move(&at, slot, word, resets ? FLOW_CLOSED : flow_state(word)))
		return REPLIED_CLOSED;
	return REPLIED;
}

/* Is a packet from a real a reply, or the real's own traffic: to a health
 * check, or to who talks to it directly? A reply keeps its flow alive; a
 * backend that resets a connection ends it. */
static __always_inline bool track_reply(const struct packet *p, const struct backend *b, __u32 id)
{
	struct tuple t;
	int replied;

	nat_request_tuple(p, b, &t);
	replied = track_replied(&t, id, p->tcp_flags & TCP_RST);
	if (replied != REPLIED_CLOSED)
		return replied;
	event_send(p, EVENT_FLOW_CLOSED, 0, id);
	if (!(b->flags & BACKEND_SHARED))
		return true;
	packet_source(p, &t.src);
	packet_destination(p, &t.dst);
	t.sport = p->sport;
	t.dport = p->dport;
	track_end(&t, id, FLOW_CLOSED);
	return true;
}
