/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Packets as they came in and as they left, for who captures. Nobody else pays
 * for it more than a load. */
#pragma once

#define CAPTURE_MASK 0x3fff /* not below CAPTURE_MAX */

/* Packets of one CPU in a window of 2^20 ns: some 30,000 a second. */
#define CAPTURE_WINDOW_SHIFT 20
#define CAPTURE_BUDGET 32

/* The packet that this CPU is at. */
struct capture_buffer {
	struct captured head;
	__u8 frame[CAPTURE_MAX]; /* as it came in; sent together with head */
	__u64 window;
	__u32 used;
	__u32 skipped; /* over the budget, since the last that was sent */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct capture_buffer);
} capture_buffers SEC(".maps");

static __always_inline struct capture_buffer *capture_buffer(void)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&capture_buffers, &key);
}

/* What becomes of the packet is noted where it is decided. */
static __always_inline void capture_reason(__u32 reason)
{
	struct capture_buffer *c = capture_on ? capture_buffer() : 0;

	if (c)
		c->head.reason = reason;
}

static __always_inline void capture_backend(__u32 id)
{
	struct capture_buffer *c = capture_on ? capture_buffer() : 0;

	if (c)
		c->head.backend = id;
}

static __always_inline void capture_interface(__u32 ifindex)
{
	struct capture_buffer *c = capture_on ? capture_buffer() : 0;

	if (c)
		c->head.out_ifindex = ifindex;
}

static __always_inline __u32 capture_length(__u32 length)
{
	__u32 most = capture_want.snaplen;

	return length < most ? length : most;
}

__noinline int capture_begin(struct xdp_md *ctx)
{
	struct capture_buffer *c = capture_buffer();
	__u32 copied;

	if (!c)
		return 0;
	c->head.time = bpf_ktime_get_ns();
	c->head.length = ctx->data_end - ctx->data;
	c->head.ifindex = ctx->ingress_ifindex;
	c->head.out_ifindex = ctx->ingress_ifindex;
	c->head.backend = 0;
	c->head.reason = CAPTURE_NO_REASON;
	/* Not 0: a frame has a header. Linux 6.1 learns that from no comparison. */
	copied = (capture_length(c->head.length) - 1) & CAPTURE_MASK;
	copied++;
	c->head.copied = 0;
	if (copied > CAPTURE_MAX)
		return 0;
	if (!bpf_xdp_load_bytes(ctx, 0, c->frame, copied))
		c->head.copied = copied;
	return 0;
}

/* Is it of those that are wanted? A packet that got no backend may be of any
 * service: user space looks closer. */
static __always_inline bool capture_wanted(const struct captured *head)
{
	struct backend *b;
	__u32 id = head->backend;

	if (!(capture_want.reasons >> (head->reason & 63) & 1))
		return false;
	if (!id)
		return !capture_want.backend;
	if (capture_want.backend && capture_want.backend != id)
		return false;
	b = capture_want.service ? bpf_map_lookup_elem(&backends, &id) : 0;
	return !b || b->service == capture_want.service;
}

static __always_inline bool capture_allowed(struct capture_buffer *c)
{
	__u64 window = c->head.time >> CAPTURE_WINDOW_SHIFT;

	if (c->window != window) {
		c->window = window;
		c->used = 0;
	}
	if (c->used >= CAPTURE_BUDGET) {
		c->skipped++;
		return false;
	}
	c->used++;
	return true;
}

/* Has the packet left, or been handed on, with other bytes? */
static __always_inline bool capture_changed(const struct captured *head)
{
	if (head->verdict == XDP_PASS)
		return head->reason == PASS_NO_NEIGHBOUR || head->reason == PASS_TOO_BIG;
	return head->verdict == XDP_TX || head->verdict == XDP_REDIRECT;
}

__noinline int capture_end(struct xdp_md *ctx, int verdict)
{
	struct capture_buffer *c = capture_buffer();
	__u64 flags = BPF_F_CURRENT_CPU;
	__u32 size, left;

	if (!c)
		return 0;
	c->head.verdict = verdict;
	if (!capture_wanted(&c->head) || !capture_allowed(c))
		return 0;
	c->head.out_length = 0;
	c->head.out_copied = 0;
	if (capture_changed(&c->head)) {
		c->head.out_length = ctx->data_end - ctx->data;
		left = capture_length(c->head.out_length);
		c->head.out_copied = left;
		flags |= (__u64)left << 32; /* BPF_F_CTXLEN_MASK */
	}
	c->head.skipped = c->skipped;
	size = c->head.copied;
	if (size > CAPTURE_MAX)
		return 0;
	if (!bpf_perf_event_output(ctx, &captures, flags, &c->head, sizeof(c->head) + size))
		c->skipped = 0;
	return 0;
}
