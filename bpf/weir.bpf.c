//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The packet path of weir, layer 4. */
#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/icmpv6.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "types.h"
#include "config.h"
#include "maps.h"
#include "parse.h"
#include "hash.h"
#include "stats.h"
#include "events.h"
#include "flow.h"
#include "service.h"
#include "pick.h"
#include "csum.h"
#include "icmp.h"
#include "nat.h"
#include "toobig.h"
#include "encap.h"
#include "forward.h"
#include "track.h"

#define NOT_A_REPLY -1000

/* The backend of a packet by its flow: a known one or a new one. */
static __always_inline int balance(struct packet *p, __u32 *id, struct backend **b, __u32 *hash)
{
	struct flow_at at;
	__u32 slot;
	__u64 word;

	if (!flow_locate(&at, hash_packet(flow_key, p)))
		return refusal(DROP_INTERNAL);
	word = flow_find(&at, &slot);
	*id = flow_id(word);
	*hash = at.tag;
	*b = word ? track_hit(p, &at, slot, word) : 0;
	return *b ? 0 : track_new(p, &at, id);
}

/* From a client, or for somebody else. */
static __always_inline int request(struct packet *p, __u32 *id)
{
	struct backend *b = 0;
	__u32 hash = 0;
	int refused = p->icmp ? icmp(p, id) : balance(p, id, &b, &hash);

	if (refused)
		return refused;
	if (!b)
		b = bpf_map_lookup_elem(&backends, id);
	if (!b)
		return refusal(DROP_INTERNAL);
	return forward(p, *id, b, hash);
}

/* From a backend that we NAT to, or NOT_A_REPLY. */
static __always_inline int reply(struct packet *p, __u32 *id)
{
	struct backend_stats *s;
	struct backend *b;

	if (!real_maybe(p))
		return NOT_A_REPLY;
	*id = real_find(p);
	b = *id ? bpf_map_lookup_elem(&backends, id) : 0;
	if (b && b->flags & BACKEND_SHARED)
		b = track_shared_reply(p, b, id);
	if (!b || b->forward != FORWARD_NAT || !track_reply(p, b, *id))
		return NOT_A_REPLY;
	if (p->hops <= 1)
		return refusal(DROP_TTL);
	if (nat_lacks_checksum(p))
		return refusal(DROP_NO_CHECKSUM);
	nat_source(p, b);
	s = stats_of(*id);
	if (s) {
		s->reply_packets++;
		s->reply_bytes += p->length;
	}
	return forward_reply(p, *id);
}

/* Packets that cannot be balanced: only those for a VIP are ours to drop. */
static __always_inline int unbalanced(struct packet *p, enum parsed what)
{
	p->sport = 0;
	p->dport = 0;
	switch (what) {
	case PARSED_VLAN:
		return refusal(PASS_VLAN);
	case PARSED_NOT_IP:
		return refusal(PASS_NOT_IP);
	case PARSED_OTHER:
		return refusal(PASS_NOT_VIP);
	case PARSED_FRAGMENT:
		return refusal(service_has_address(p) ? DROP_FRAGMENT : PASS_NOT_VIP);
	case PARSED_EXTENSIONS:
		return refusal(service_has_address(p) ? DROP_EXTENSIONS : PASS_NOT_VIP);
	case PARSED_MALFORMED:
		return refusal(service_has_address(p) ? DROP_MALFORMED : PASS_MALFORMED);
	default:
		return refusal(PASS_MALFORMED);
	}
}

static __always_inline int refuse(const struct packet *p, __u32 reason, __u32 id)
{
	count_reason(reason);
	if (reason >= PASS_NOT_IP)
		return XDP_PASS;
	event_send(p, EVENT_DROP, reason, id);
	return XDP_DROP;
}

SEC("xdp")
int weir(struct xdp_md *ctx)
{
	struct packet p;
	enum parsed what = parse(ctx, &p);
	int verdict = NOT_A_REPLY;
	__u32 id = 0;

	if (what != PARSED) {
		verdict = unbalanced(&p, what);
	} else {
		if (feature_nat && !p.icmp)
			verdict = reply(&p, &id);
		if (verdict == NOT_A_REPLY)
			verdict = request(&p, &id);
	}
	return verdict < 0 ? refuse(&p, ~verdict, id) : verdict;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
