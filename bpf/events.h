/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Nothing is sent, and nothing but one load is paid, while nobody listens. */
#pragma once

static __always_inline void event_fill(struct event *e, const struct packet *p)
{
	packet_source(p, &e->src);
	packet_destination(p, &e->dst);
	e->sport = p->sport;
	e->dport = p->dport;
	e->proto = p->proto;
	e->length = p->length;
	e->ifindex = p->ctx->ingress_ifindex;
}

static __always_inline void event_send(const struct packet *p, __u8 kind, __u8 reason, __u32 id)
{
	struct event e = {};

	if (!(events_on >> kind & 1))
		return;
	e.sampled = kind == EVENT_NO_NEIGHBOUR ? 1 : event_sample;
	if (e.sampled > 1 && bpf_get_prandom_u32() % e.sampled)
		return;
	event_fill(&e, p);
	e.time = bpf_ktime_get_ns();
	e.kind = kind;
	e.reason = reason;
	e.backend = id;
	bpf_perf_event_output(p->ctx, &events, BPF_F_CURRENT_CPU, &e, sizeof(e));
}
