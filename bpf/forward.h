/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Out of the box again. */
#pragma once

static __always_inline void copy_mac(__u8 *to, const __u8 *from)
{
	for (int i = 0; i < 3; i++)
		((__u16 *)to)[i] = ((const __u16 *)from)[i];
}

static __always_inline int transmit(const struct packet *p, __u32 ifindex)
{
	if (feature_vlan)
		ifindex = vlan_below(ifindex);
	if (ifindex == p->ctx->ingress_ifindex)
		return XDP_TX;
	capture_interface(ifindex);
	return bpf_redirect(ifindex, 0) == XDP_REDIRECT ? XDP_REDIRECT : lost();
}

/* A packet that is as its backend gets it, but for the MAC addresses. */
static __always_inline int send_on(struct packet *p, __u32 id, const struct backend *b)
{
	struct backend_stats *s = stats_of(id);

	if (s) {
		s->packets++;
		s->bytes += p->length;
	}
	copy_mac(p->eth->h_dest, b->dst_mac);
	copy_mac(p->eth->h_source, b->src_mac);
	return transmit(p, b->ifindex);
}

/* To the backend. hash: the flow's. */
static __always_inline int forward(struct packet *p, __u32 id, const struct backend *b, __u64 hash)
{
	int refused;

	if (!b->ifindex)
		return refusal(DROP_NO_NEXT_HOP);
	if (!p->hops)
		return refusal(DROP_TTL);
	if (feature_nat && (b->forward == FORWARD_NAT || b->forward == FORWARD_SNAT)) {
		if (p->hops == 1)
			return refusal(DROP_TTL);
		if (nat_lacks_checksum(p))
			return refusal(DROP_NO_CHECKSUM);
		if (feature_snat && b->forward == FORWARD_SNAT) {
			refused = snat_request(p, hash, id);
			if (refused)
				return refused;
		}
		nat_destination(p, b);
	}
	if (feature_mss)
		mss_limit(p, id);
	if (feature_tunnel && is_tunnel(b)) {
		refused = encapsulate(p, b, hash);
		if (refused)
			return refused;
	}
	return send_on(p, id, b);
}

static __always_inline void fib_fill(struct bpf_fib_lookup *fib, const struct packet *p)
{
	fib->ifindex = p->ctx->ingress_ifindex;
	fib->tot_len = p->l3_length;
	if (p->version == 4) {
		fib->family = 2; /* AF_INET */
		fib->tos = p->ip4->tos;
		fib->ipv4_src = p->ip4->saddr;
		fib->ipv4_dst = p->ip4->daddr;
		return;
	}
	fib->family = 10; /* AF_INET6 */
	__builtin_memcpy(fib->ipv6_src, &p->ip6->saddr, sizeof(fib->ipv6_src));
	__builtin_memcpy(fib->ipv6_dst, &p->ip6->daddr, sizeof(fib->ipv6_dst));
}

/* A rewritten reply, to its client. What the kernel must do itself (find a
 * neighbour, fragment) it gets rewritten. */
static __always_inline int forward_reply(struct packet *p, __u32 id)
{
	struct bpf_fib_lookup fib = {};

	fib_fill(&fib, p);
	switch (bpf_fib_lookup(p->ctx, &fib, sizeof(fib), 0)) {
	case BPF_FIB_LKUP_RET_SUCCESS:
		break;
	case BPF_FIB_LKUP_RET_NO_NEIGH:
		event_send(p, EVENT_NO_NEIGHBOUR, PASS_NO_NEIGHBOUR, id);
		return refusal(PASS_NO_NEIGHBOUR);
	case BPF_FIB_LKUP_RET_FRAG_NEEDED:
		return refusal(PASS_TOO_BIG);
	case BPF_FIB_LKUP_RET_FWD_DISABLED:
		return refusal(DROP_NO_FORWARDING);
	default:
		return refusal(DROP_NO_ROUTE);
	}
	copy_mac(p->eth->h_dest, fib.dmac);
	copy_mac(p->eth->h_source, fib.smac);
	return transmit(p, fib.ifindex);
}
