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
#include "part.h"
#include "hash.h"
#include "capture.h"
#include "stats.h"
#include "events.h"
#include "flow.h"
#include "scratch.h"
#include "service.h"
#include "acl.h"
#include "limit.h"
#include "pick.h"
#include "quic.h"
#include "csum.h"
#include "icmp.h"
#include "nat.h"
#include "track.h"
#include "snat.h"
#include "toobig.h"
#include "encap.h"
#include "mss.h"
#include "vlan.h"
#include "fragment.h"
#include "forward.h"
#include "snaterror.h"

/* Instead of a verdict: ask another part of the program. */
#define ASK_REPLY -1   /* maybe a reply */
#define ASK_REQUEST -2 /* no reply */
#define ASK_CONTROL -3 /* ICMP */
#define ASK_FRAGMENT -4
#define ASK_ERROR_TO_CLIENT -5 /* about a flow of snat */
#define ASK_ERROR_TO_BACKEND -6

/* The backend that a packet is a reply from, to one of our clients. */
static __always_inline struct backend *replier(struct packet *p, __u32 *id)
{
	struct backend *b = feature_snat ? snat_reply(p, id) : 0;

	if (b)
		return b;
	*id = real_find(p);
	b = *id ? bpf_map_lookup_elem(&backends, id) : 0;
	if (b && b->flags & BACKEND_SHARED)
		b = track_shared_reply(p, b, id);
	return b && b->forward == FORWARD_NAT && track_reply(p, b, *id) ? b : 0;
}

static __always_inline int translate_back(struct packet *p, const struct backend *b, __u32 id)
{
	struct backend_stats *s;

	if (p->hops <= 1)
		return refusal(DROP_TTL);
	if (nat_lacks_checksum(p))
		return refusal(DROP_NO_CHECKSUM);
	if (feature_mss)
		mss_limit(p, id);
	if (feature_snat && b->forward == FORWARD_SNAT)
		snat_to_client(p);
	nat_source(p, b);
	s = stats_of(id);
	if (s) {
		s->reply_packets++;
		s->reply_bytes += p->length;
	}
	return forward_reply(p, id);
}

/* A packet from an address of a backend that we NAT to. */
__noinline int reply(struct xdp_md *ctx)
{
	struct packet p;
	struct backend *b;
	__u32 id = 0;

	if (parse(ctx, &p) != PARSED || p.icmp)
		return ASK_REQUEST;
	b = replier(&p, &id);
	return b ? settle(&p, translate_back(&p, b, id), id) : ASK_REQUEST;
}

/* ICMP, for a VIP or not. */
__noinline int control(struct xdp_md *ctx)
{
	struct packet p;
	struct backend *b;
	struct scratch *s = scratch();
	__u32 id = 0;
	int verdict;

	if (!s || parse(ctx, &p) != PARSED || !p.icmp)
		return XDP_PASS;
	if (feature_snat && icmp_is_error(&p) && to_snat_source(&p)) {
		if (!icmp_quoted(&p, &s->tuple))
			return settle(&p, refusal(PASS_NOT_VIP), 0);
		error_keep(&p, s);
		return ASK_ERROR_TO_CLIENT;
	}
	verdict = icmp(&p, &id);
	if (verdict)
		return settle(&p, verdict, id);
	b = bpf_map_lookup_elem(&backends, &id);
	if (!b)
		return settle(&p, refusal(DROP_ICMP_UNKNOWN), id);
	if (feature_snat && b->forward == FORWARD_SNAT) {
		s->owner = id;
		error_keep(&p, s);
		return ASK_ERROR_TO_BACKEND;
	}
	return settle(&p, forward(&p, id, b, s->hash), id);
}

/* The backend of a packet by its flow: a known one or a new one. */
static __always_inline int balance(struct packet *p, __u32 *id, struct backend **b, __u64 *hash)
{
	struct flow_at at;
	__u32 slot;
	__u64 word;

	*hash = hash_packet(flow_key, p);
	if (!flow_locate(&at, *hash))
		return refusal(DROP_INTERNAL);
	word = flow_find(&at, &slot);
	*id = flow_id(word);
	*b = word ? track_hit(p, &at, slot, word) : 0;
	if (*b && quic_moved(p, *b, *id))
		*b = 0;
	return *b ? 0 : track_new(p, *hash, id);
}

/* Packets that cannot be balanced: only those for a VIP are ours to drop. */
static __always_inline int unbalanced(struct packet *p, enum parsed what)
{
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

static __always_inline int send_request(struct packet *p, __u32 *id)
{
	struct backend *b = 0;
	__u64 hash = 0;
	int refused;

	if (feature_acl && acl_refuses(p))
		return refusal(DROP_ACL);
	refused = balance(p, id, &b, &hash);
	if (refused)
		return refused;
	if (!b)
		b = bpf_map_lookup_elem(&backends, id);
	if (!b)
		return refusal(DROP_INTERNAL);
	return forward(p, *id, b, hash);
}

/* From a client, or for somebody else. */
__noinline int request(struct xdp_md *ctx, __u32 no_reply)
{
	struct packet p;
	enum parsed what = parse(ctx, &p);
	__u32 id = 0;

	if (feature_fragments && what == PARSED_FRAGMENT)
		return ASK_FRAGMENT;
	if (what != PARSED)
		return settle(&p, unbalanced(&p, what), id);
	if (p.icmp)
		return ASK_CONTROL;
	if (feature_nat && !no_reply && real_maybe(&p))
		return ASK_REPLY;
	return settle(&p, send_request(&p, &id), id);
}

#include "follow.h"

static __always_inline int judge_control(struct xdp_md *ctx)
{
	int verdict = control(ctx);

	if (feature_snat && verdict == ASK_ERROR_TO_CLIENT)
		return error_to_client(ctx);
	return feature_snat && verdict == ASK_ERROR_TO_BACKEND ? error_to_backend(ctx) : verdict;
}

static __always_inline int judge_fragment(struct xdp_md *ctx)
{
	int verdict = fragment(ctx);

	if (verdict == ASK_REPLY)
		verdict = fragment_reply(ctx);
	return verdict == ASK_REQUEST ? fragment_request(ctx) : verdict;
}

/* Each part is a function that is verified by itself and has the stack for
 * itself; the most frequent comes first. */
static __always_inline int judge(struct xdp_md *ctx)
{
	int verdict = request(ctx, 0);

	if (verdict == ASK_CONTROL)
		return judge_control(ctx);
	if (feature_fragments && verdict == ASK_FRAGMENT)
		return judge_fragment(ctx);
	if (verdict != ASK_REPLY)
		return verdict;
	verdict = reply(ctx);
	return verdict == ASK_REQUEST ? request(ctx, 1) : verdict;
}

static __always_inline int judge_frame(struct xdp_md *ctx)
{
	if (!feature_vlan)
		return judge(ctx);
	if (!vlan_untag(ctx))
		return lost();
	return vlan_retag(ctx, judge(ctx));
}

SEC("xdp")
int weir(struct xdp_md *ctx)
{
	int verdict;

	if (!capture_on)
		return judge_frame(ctx);
	capture_begin(ctx);
	verdict = judge_frame(ctx);
	capture_end(ctx, verdict);
	return verdict;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
