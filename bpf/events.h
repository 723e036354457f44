/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Nothing is sent, and nothing but one load is paid, while nobody listens. */
#pragma once

/* Reads the packet once more: the callers need not keep it for an event that
 * is hardly ever sent. */
__noinline int event_report(struct xdp_md *ctx, __u32 kind, __u32 reason, __u32 id)
{
	struct event e = {};
	struct packet p = {};
	struct fragment f = {};
	enum parsed what = parse(ctx, &p);

	e.sampled = kind == EVENT_NO_NEIGHBOUR ? 1 : event_sample;
	if (e.sampled > 1 && bpf_get_prandom_u32() % e.sampled)
		return 0;
	if (what == PARSED || what >= PARSED_MALFORMED) {
		packet_source(&p, &e.src);
		packet_destination(&p, &e.dst);
	}
	if (feature_fragments && what == PARSED_FRAGMENT)
		what = parse_part(ctx, &p, &f);
	e.proto = p.proto;
	if (what == PARSED) {
		e.sport = p.sport;
		e.dport = p.dport;
	}
	e.length = p.length;
	e.ifindex = ctx->ingress_ifindex;
	e.time = bpf_ktime_get_ns();
	e.kind = kind;
	e.reason = reason;
	e.backend = id;
	return bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &e, sizeof(e));
}

static __always_inline void event_send(const struct packet *p, __u8 kind, __u8 reason, __u32 id)
{
	if (events_on >> kind & 1)
		event_report(p->ctx, kind, reason, id);
}

/* A verdict of XDP is not negative; a refusal names its reason instead. */
static __always_inline int refusal(__u32 reason)
{
	return ~(int)reason;
}

/* Counts a refusal and makes it a verdict; verdicts stay. */
static __always_inline int settle(const struct packet *p, int verdict, __u32 id)
{
	__u32 reason = ~verdict;

	capture_backend(id);
	if (verdict >= 0)
		return verdict;
	count_reason(reason);
	if (reason >= PASS_NOT_IP)
		return XDP_PASS;
	event_send(p, EVENT_DROP, reason, id);
	return XDP_DROP;
}
