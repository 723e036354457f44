/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* ICMP errors about flows of snat, both ways: what they quote becomes what its
 * sender had sent, and they come from whom that was sent to. Who reported the
 * error stays unknown to it, as it may have no route there. */
#pragma once

/* Keeps where an error has its parts, which are known to be there. */
static __always_inline void error_keep(const struct packet *p, struct scratch *s)
{
	void *data = (void *)(long)p->ctx->data;

	s->l4_at = p->l4 - data;
	s->quoted_at = (void *)p->quoted_ports - data;
}

/* The packet that was kept. */
static __always_inline struct scratch *error_read(struct xdp_md *ctx, struct packet *p)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct scratch *s = scratch();

	if (!s)
		return 0;
	p->ctx = ctx;
	p->eth = data;
	p->l3 = data + sizeof(struct ethhdr);
	p->l4 = data + (s->l4_at & FRAME_MAX);
	p->quoted = p->l4 + ICMP_HEADER;
	p->quoted_ports = data + (s->quoted_at & FRAME_MAX);
	p->length = end - data;
	p->version = s->tuple.version;
	if (p->quoted + sizeof(struct ipv6hdr) > end && p->version == 6)
		return 0;
	if (p->quoted + sizeof(struct iphdr) > end || (void *)(p->quoted_ports + 2) > end)
		return 0;
	if (p->version == 4) {
		if ((void *)(p->ip4 + 1) > end)
			return 0;
		p->hops = p->ip4->ttl;
		p->l3_length = bpf_ntohs(p->ip4->tot_len);
		return s;
	}
	if ((void *)(p->ip6 + 1) > end)
		return 0;
	p->hops = p->ip6->hop_limit;
	p->l3_length = sizeof(*p->ip6) + bpf_ntohs(p->ip6->payload_len);
	return s;
}

/* Addresses of both packets; q is what the quoted one becomes. Returns what the
 * sum of the ICMP message gains: in IPv4 the quoted header's checksum takes back
 * what addresses change, in IPv6 the pseudo header has addresses once more. */
static __always_inline __u32 error_addresses(struct packet *p, const struct tuple *q)
{
	struct ipv6hdr *ip6 = p->quoted;
	struct iphdr *ip4 = p->quoted;
	__u32 delta;

	if (p->version == 4) {
		ip4->check = csum_add(ip4->check, csum_words(&ip4->saddr, &q->src.word[3], 1) +
						  csum_words(&ip4->daddr, &q->dst.word[3], 1));
		ip4->saddr = q->src.word[3];
		ip4->daddr = q->dst.word[3];
		p->ip4->check = csum_add(p->ip4->check,
					 csum_words(&p->ip4->saddr, &q->dst.word[3], 1) +
					 csum_words(&p->ip4->daddr, &q->src.word[3], 1));
		p->ip4->saddr = q->dst.word[3];
		p->ip4->daddr = q->src.word[3];
		return 0;
	}
	if ((void *)(ip6 + 1) > (void *)(long)p->ctx->data_end)
		return 0; /* error_read has looked, but the verifier forgets */
	delta = csum_words(ip6->saddr.in6_u.u6_addr32, q->src.word, 4) +
		csum_words(ip6->daddr.in6_u.u6_addr32, q->dst.word, 4) +
		csum_words(p->ip6->saddr.in6_u.u6_addr32, q->dst.word, 4) +
		csum_words(p->ip6->daddr.in6_u.u6_addr32, q->src.word, 4);
	__builtin_memcpy(&ip6->saddr, &q->src, sizeof(q->src));
	__builtin_memcpy(&ip6->daddr, &q->dst, sizeof(q->dst));
	__builtin_memcpy(&p->ip6->saddr, &q->dst, sizeof(q->dst));
	__builtin_memcpy(&p->ip6->daddr, &q->src, sizeof(q->src));
	return delta;
}

/* Makes the quoted packet the one in the scratch's `reverse` and addresses the
 * error to its sender. The quoted header's checksum is kept right, that of TCP or
 * UDP is not, which nobody reads (RFC 5508, 4.2). */
__noinline int error_requote(struct xdp_md *ctx)
{
	struct packet p = {};
	struct scratch *s = error_read(ctx, &p);
	struct icmp_header *icmp = p.l4;
	__u32 delta;

	if (!s)
		return 0;
	delta = csum_port(p.quoted_ports[0], s->reverse.sport) +
		csum_port(p.quoted_ports[1], s->reverse.dport);
	delta += error_addresses(&p, &s->reverse);
	icmp->check = csum_add(icmp->check, delta);
	p.quoted_ports[0] = s->reverse.sport;
	p.quoted_ports[1] = s->reverse.dport;
	nat_hop(&p, 0);
	return 1;
}

/* The pair of a flow, plus 1, or 0; it stays as it is. */
static __always_inline int snat_held(__u64 hash, __u32 version, __u32 id)
{
	struct flow_at at;
	__u32 index, slot;
	__u64 word;

	if (!snat_locate(&at, hash, version, &index))
		return 0;
	word = flow_find(&at, &slot);
	return word && flow_id(word) == id ? index * FLOW_SLOTS + slot + 1 : 0;
}

/* An error to a client's backend: about what that sent to the pair. */
static __always_inline int send_to_backend(struct packet *p, struct scratch *s, __u32 id)
{
	struct backend *b = bpf_map_lookup_elem(&backends, &id);
	__u64 hash = hash_of(flow_key, &s->tuple);
	int pair = snat_held(hash, p->version, id);

	if (!pair)
		pair = snat_held(snat_rehash(hash), p->version, id);
	if (!b || !pair)
		return refusal(DROP_ICMP_UNKNOWN);
	if (!b->ifindex)
		return refusal(DROP_NO_NEXT_HOP);
	if (p->hops <= 1)
		return refusal(DROP_TTL);
	s->reverse.src = b->addr;
	s->reverse.sport = b->port ? b->port : s->tuple.dport;
	pair_address(pair - 1, &s->reverse.dst, &s->reverse.dport);
	if (!error_requote(p->ctx))
		return refusal(DROP_INTERNAL);
	return send_on(p, id, b);
}

__noinline int error_to_backend(struct xdp_md *ctx)
{
	struct packet p = {};
	struct scratch *s = error_read(ctx, &p);
	__u32 id = s ? s->owner : 0;

	return settle(&p, s ? send_to_backend(&p, s, id) : refusal(DROP_ICMP_UNKNOWN), id);
}

/* Is the scratch's tuple that of b's replies to the pair? */
static __always_inline bool quotes_backend(const struct scratch *s, const struct backend *b)
{
	return b->forward == FORWARD_SNAT && b->proto == s->tuple.proto &&
	       (!b->port || b->port == s->tuple.sport) &&
	       same_address(&s->tuple.src, &b->addr);
}

/* An error to a source of ours: about what a client sent to the VIP, or this
 * host's own. */
static __always_inline int send_to_client(struct packet *p, struct scratch *s, __u32 *id)
{
	__u32 port = bpf_ntohs(s->tuple.dport), key, *index;
	struct snat_client *client;
	struct flow_at at = {};
	struct backend_stats *n;
	struct backend *b;

	index = bpf_map_lookup_elem(&snat_index, &s->tuple.dst);
	if (!index || port < SNAT_FIRST_PORT)
		return refusal(PASS_NOT_VIP);
	key = *index * SNAT_PORTS + port - SNAT_FIRST_PORT;
	*id = flow_id(snat_holder(&at, key));
	b = *id ? bpf_map_lookup_elem(&backends, id) : 0;
	client = bpf_map_lookup_elem(&snat_clients, &key);
	if (!b || !client || !quotes_backend(s, b))
		return refusal(PASS_NOT_VIP);
	if (p->hops <= 1)
		return refusal(DROP_TTL);
	s->reverse.src = client->addr;
	s->reverse.sport = client->port;
	s->reverse.dst = b->vip;
	s->reverse.dport = b->port ? b->vip_port : s->tuple.sport;
	if (!error_requote(p->ctx))
		return refusal(DROP_INTERNAL);
	n = stats_of(*id);
	if (n) {
		n->reply_packets++;
		n->reply_bytes += p->length;
	}
	return forward_reply(p, *id);
}

__noinline int error_to_client(struct xdp_md *ctx)
{
	struct packet p = {};
	struct scratch *s = error_read(ctx, &p);
	__u32 id = 0;

	return settle(&p, s ? send_to_client(&p, s, &id) : refusal(PASS_NOT_VIP), id);
}

static __always_inline bool to_snat_source(const struct packet *p)
{
	struct address addr;

	packet_destination(p, &addr);
	return bpf_map_lookup_elem(&snat_index, &addr);
}
