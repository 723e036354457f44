/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Fragments: the first goes as its ports say, and what came of it is noted; the
 * others go the same way. What would go elsewhere than its first goes nowhere. */
#pragma once

/* Is a pair of snat's that of the scratch's flow? */
static __always_inline bool fragment_has_pair(const struct scratch *s, __u32 pair, __u32 id)
{
	struct snat_client *client = bpf_map_lookup_elem(&snat_clients, &pair);
	struct flow_at at = {};

	return client && client->port == s->tuple.sport &&
	       flow_id(snat_holder(&at, pair)) == id &&
	       same_address(&client->addr, &s->tuple.src);
}

/* May a first fragment go where it would? Not if an earlier one of its packet
 * went elsewhere. Otherwise its way is noted; that of snat's requests, which
 * have their pair yet to come, later. value: as noted, for those the id. */
__noinline int fragment_admit(__u32 kind, __u32 value)
{
	struct scratch *s = scratch();
	bool same;

	if (!s)
		return 0;
	if (!s->fragment_known) {
		if (kind != FRAGMENT_SNAT_REQUEST)
			fragment_note(s->fragment_hash, kind, value);
		return 1;
	}
	same = fragment_kind(s->fragment_known) == kind;
	if (same && feature_snat && kind == FRAGMENT_SNAT_REQUEST)
		same = fragment_has_pair(s, fragment_value(s->fragment_known), value);
	else
		same = same && fragment_value(s->fragment_known) == value;
	if (!same)
		fragment_break(s->fragment_hash);
	return same;
}

/* Notes the pair that a request has as its source by now. */
__noinline int fragment_note_pair(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct packet p = { .l3 = data + sizeof(struct ethhdr) };
	struct scratch *s = scratch();
	struct address addr;
	__u32 *index;
	__u16 *port;

	if (!s || s->fragment_known)
		return 0;
	port = data + (s->l4_at & FRAME_MAX);
	p.version = s->tuple.version;
	if ((void *)(port + 1) > end ||
	    p.l3 + (p.version == 4 ? sizeof(*p.ip4) : sizeof(*p.ip6)) > end)
		return 0;
	packet_source(&p, &addr);
	index = bpf_map_lookup_elem(&snat_index, &addr);
	if (!index)
		return 0;
	return fragment_note(s->fragment_hash, FRAGMENT_SNAT_REQUEST,
			     *index * SNAT_PORTS + bpf_ntohs(*port) - SNAT_FIRST_PORT);
}

/* A first fragment that may be of a reply. */
__noinline int fragment_reply(struct xdp_md *ctx)
{
	struct backend *b;
	struct packet p = {};
	__u32 id = 0, pair;
	bool snat;

	if (!fragment_read(ctx, &p))
		return lost();
	pair = feature_snat ? snat_addressed(&p) - 1 : 0;
	b = replier(&p, &id);
	if (!b)
		return ASK_REQUEST;
	snat = feature_snat && b->forward == FORWARD_SNAT;
	if (!fragment_admit(snat ? FRAGMENT_SNAT_REPLY : FRAGMENT_REPLY, snat ? pair : id))
		return settle(&p, refusal(DROP_FRAGMENT_OVERLAP), id);
	return settle(&p, translate_back(&p, b, id), id);
}

/* One that is for this host's own stack, which puts packets together. */
static __always_inline int first_local(struct packet *p, int refused)
{
	if (!service_has_address(p) || fragment_admit(FRAGMENT_LOCAL, ~refused))
		return refused;
	return refusal(DROP_FRAGMENT_OVERLAP);
}

static __always_inline int first_request(struct packet *p, __u32 *id)
{
	struct backend *b = 0;
	__u64 hash = 0;
	struct scratch *s = scratch();
	int verdict;
	bool snat;

	if (!s)
		return refusal(DROP_INTERNAL);
	if (feature_acl && acl_refuses(p))
		return refusal(DROP_ACL);
	verdict = balance(p, id, &b, &hash);
	if (verdict)
		return ~verdict >= PASS_NOT_IP ? first_local(p, verdict) : verdict;
	if (!b)
		b = bpf_map_lookup_elem(&backends, id);
	if (!b)
		return refusal(DROP_INTERNAL);
	snat = feature_snat && b->forward == FORWARD_SNAT;
	packet_tuple(p, &s->tuple);
	if (!fragment_admit(snat ? FRAGMENT_SNAT_REQUEST : FRAGMENT_REQUEST, *id))
		return refusal(DROP_FRAGMENT_OVERLAP);
	verdict = forward(p, *id, b, hash);
	if (snat && verdict >= 0)
		fragment_note_pair(p->ctx);
	return verdict;
}

/* A first fragment from a client, or for somebody else. */
__noinline int fragment_request(struct xdp_md *ctx)
{
	struct packet p = {};
	__u32 id = 0;

	if (!fragment_read(ctx, &p))
		return lost();
	return settle(&p, first_request(&p, &id), id);
}

/* Replaces an address (the source if `source`) of a packet that has no ports. */
static __always_inline void readdress(struct packet *p, bool source, const struct address *addr)
{
	struct in6_addr *at6;
	__u32 *at4;

	if (p->version == 4) {
		at4 = source ? &p->ip4->saddr : &p->ip4->daddr;
		p->ip4->check = csum_add(p->ip4->check, csum_words(at4, &addr->word[3], 1));
		*at4 = addr->word[3];
		return;
	}
	at6 = source ? &p->ip6->saddr : &p->ip6->daddr;
	__builtin_memcpy(at6, addr, sizeof(*at6));
}

/* To the backend of the first. source: of ours, 0 to keep the client's. */
static __always_inline int later_request(struct packet *p, const struct backend *b, __u32 id,
					 const struct address *source, __u32 hash)
{
	bool translated = b->forward == FORWARD_NAT || b->forward == FORWARD_SNAT;
	int refused;

	if (!b->ifindex)
		return refusal(DROP_NO_NEXT_HOP);
	if (!p->hops || (translated && p->hops == 1))
		return refusal(DROP_TTL);
	if (translated) {
		nat_hop(p, 0);
		readdress(p, false, &b->addr);
		if (source)
			readdress(p, true, source);
	}
	if (feature_tunnel && is_tunnel(b)) {
		if (p->l3_length + encap_overhead(b) > b->mtu)
			return refusal(DROP_TOO_BIG);
		refused = encapsulate(p, b, hash);
		if (refused)
			return refused;
	}
	return send_on(p, id, b);
}

/* To the client, from the VIP. client: 0 if it is addressed already. */
static __always_inline int later_reply(struct packet *p, const struct backend *b, __u32 id,
				       const struct address *client)
{
	struct backend_stats *s;

	if (p->hops <= 1)
		return refusal(DROP_TTL);
	nat_hop(p, 0);
	readdress(p, true, &b->vip);
	if (client)
		readdress(p, false, client);
	s = stats_of(id);
	if (s) {
		s->reply_packets++;
		s->reply_bytes += p->length;
	}
	return forward_reply(p, id);
}

/* What is noted may be of a backend that is gone, and its id another's: then the
 * addresses do not fit. */
static __always_inline int follow_pair(struct packet *p, __u64 known, __u32 *id)
{
	__u32 pair = fragment_value(known), key = pair;
	struct snat_client *client;
	struct flow_at at = {};
	struct address source;
	struct backend *b;

	*id = flow_id(snat_holder(&at, pair));
	b = *id ? bpf_map_lookup_elem(&backends, id) : 0;
	if (!b || b->forward != FORWARD_SNAT)
		return refusal(DROP_FRAGMENT);
	if (fragment_kind(known) == FRAGMENT_SNAT_REQUEST) {
		source = snat_sources[pair / SNAT_PORTS & (SNAT_SOURCES - 1)];
		return track_is_for(p, b) ? later_request(p, b, *id, &source, 0) : refusal(DROP_FRAGMENT);
	}
	client = bpf_map_lookup_elem(&snat_clients, &key);
	return client && sent_by(p, b) ? later_reply(p, b, *id, &client->addr) : refusal(DROP_FRAGMENT);
}

static __always_inline int follow(struct packet *p, __u64 known, __u32 hash, __u32 *id)
{
	struct backend *b;

	switch (fragment_kind(known)) {
	case FRAGMENT_REQUEST:
		*id = fragment_value(known);
		b = bpf_map_lookup_elem(&backends, id);
		if (!b || !b->forward || b->forward == FORWARD_SNAT || !track_is_for(p, b))
			return refusal(DROP_FRAGMENT);
		return later_request(p, b, *id, 0, hash);
	case FRAGMENT_REPLY:
		*id = fragment_value(known);
		b = bpf_map_lookup_elem(&backends, id);
		if (!feature_nat || !b || b->forward != FORWARD_NAT || !sent_by(p, b))
			return refusal(DROP_FRAGMENT);
		return later_reply(p, b, *id, 0);
	case FRAGMENT_SNAT_REQUEST:
	case FRAGMENT_SNAT_REPLY:
		return feature_snat ? follow_pair(p, known, id) : refusal(DROP_FRAGMENT);
	case FRAGMENT_LOCAL:
		return refusal(fragment_value(known));
	}
	return refusal(DROP_FRAGMENT_OVERLAP);
}

/* A fragment that is not the first. */
static __always_inline int later(struct packet *p, const struct fragment *f, __u64 known,
				 __u32 hash, __u32 *id)
{
	if (!known && !service_has_address(p))
		return refusal(PASS_NOT_VIP);
	if (fragment_overlaps(p, f))
		return refusal(DROP_FRAGMENT_OVERLAP);
	return known ? follow(p, known, hash, id) : refusal(DROP_FRAGMENT);
}

/* Any fragment. */
__noinline int fragment(struct xdp_md *ctx)
{
	struct fragment f = {};
	struct packet p;
	enum parsed what = parse_fragment(ctx, &p, &f);
	struct scratch *s = scratch();
	__u32 id = 0;

	if (what != PARSED)
		return settle(&p, unbalanced(&p, what), 0);
	if (!s)
		return settle(&p, refusal(DROP_INTERNAL), 0);
	s->fragment_hash = fragment_hash(&p, f.id);
	s->fragment_known = fragment_find(s->fragment_hash);
	if (fragment_kind(s->fragment_known) == FRAGMENT_BROKEN)
		return settle(&p, refusal(DROP_FRAGMENT_OVERLAP), 0);
	if (f.offset)
		return settle(&p, later(&p, &f, s->fragment_known, s->fragment_hash, &id), id);
	fragment_keep(&p, s);
	return feature_nat && real_maybe(&p) ? ASK_REPLY : ASK_REQUEST;
}
