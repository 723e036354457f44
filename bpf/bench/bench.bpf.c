//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What `make bench-l4` measures against, and what floods tests. `generate` writes
 * a whole packet, as test runs recycle pages that the last run rewrote, and calls
 * the program under test, whose time the kernel then adds to that of `generate`. */
#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define FRAME_MAX 96
#define FRAME_WORDS (FRAME_MAX / 8)
#define L3 14
#define IP4_SRC (L3 + 12)
#define IP4_DST (L3 + 16)
#define IP4_L4 (L3 + 20)
#define IP6_SRC (L3 + 8)
#define IP6_DST (L3 + 24)
#define IP6_L4 (L3 + 40)

/* How a run chooses the flow of a packet. */
enum order {
	ORDER_RANDOM = 0, /* any of `count` flows */
	ORDER_EACH = 1,   /* one after the other */
	ORDER_NEW = 2,    /* none was ever seen before */
	ORDER_FLOOD = 3,  /* random sources: 24 bits of address, 16 of port */
};

struct plan {
	__u64 next;
	__u32 order;
	__u32 count;
	__u32 version;
	__u32 length;
	__u64 frame[FRAME_WORDS];
};

/* The key that a table shared by IPv4 and IPv6 needs. */
struct lru_key {
	__u32 src[4];
	__u32 dst[4];
	__u16 sport;
	__u16 dport;
	__u8 proto;
	__u8 pad[3];
};

struct lru_value {
	__u32 backend;
	__u32 pad;
	__u64 seen;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct plan);
} plans SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1 << 20);
	__type(key, struct lru_key);
	__type(value, struct lru_value);
} lru SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} under_test SEC(".maps");

static __always_inline __u32 flow_index(struct plan *p)
{
	__u64 n = p->next++;

	if (p->order == ORDER_NEW)
		return n;
	if (p->order == ORDER_FLOOD)
		return bpf_get_prandom_u32();
	if (p->order == ORDER_EACH)
		return n % p->count;
	n *= 0x9e3779b97f4a7c15ULL;
	n ^= n >> 29;
	n *= 0xbf58476d1ce4e5b9ULL;
	return (n >> 32) * p->count >> 32;
}

SEC("xdp")
int generate(struct xdp_md *ctx)
{
	__u64 *words = (void *)(long)ctx->data;
	void *data = words, *end = (void *)(long)ctx->data_end;
	__u32 key = 0, flow, n;
	__u16 port;
	struct plan *p = bpf_map_lookup_elem(&plans, &key);

	if (!p || data + FRAME_MAX > end)
		return XDP_ABORTED;
#pragma unroll
	for (int i = 0; i < FRAME_WORDS; i++)
		words[i] = p->frame[i];
	flow = flow_index(p);
	/* New flows come from another /8 than those that are there. */
	n = (flow & 0xffffff) + (p->order == ORDER_RANDOM || p->order == ORDER_EACH ? 0x0a000000 :
											 0x0b000000);
	port = p->order == ORDER_FLOOD ? bpf_get_prandom_u32() : 1024 + (flow >> 10 & 0x7fff);
	if (p->version == 4) {
		*(__be32 *)(data + IP4_SRC) = bpf_htonl(n);
		*(__be16 *)(data + IP4_L4) = bpf_htons(port);
	} else {
		*(__be32 *)(data + IP6_SRC + 12) = bpf_htonl(n);
		*(__be16 *)(data + IP6_L4) = bpf_htons(port);
	}
	bpf_tail_call(ctx, &under_test, 0);
	return XDP_ABORTED;
}

SEC("xdp")
int answer(struct xdp_md *ctx)
{
	return XDP_TX;
}

static __always_inline bool key_of(struct xdp_md *ctx, struct lru_key *key)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

	if (data + FRAME_MAX > end)
		return false;
	if (*(__u8 *)(data + 12) == 0x08) {
		key->src[0] = *(__u32 *)(data + IP4_SRC);
		key->dst[0] = *(__u32 *)(data + IP4_DST);
		key->sport = *(__u16 *)(data + IP4_L4);
		key->dport = *(__u16 *)(data + IP4_L4 + 2);
		key->proto = *(__u8 *)(data + L3 + 9);
		return true;
	}
	__builtin_memcpy(key->src, data + IP6_SRC, 16);
	__builtin_memcpy(key->dst, data + IP6_DST, 16);
	key->sport = *(__u16 *)(data + IP6_L4);
	key->dport = *(__u16 *)(data + IP6_L4 + 2);
	key->proto = *(__u8 *)(data + L3 + 6);
	return true;
}

SEC("xdp")
int yardstick(struct xdp_md *ctx)
{
	struct lru_key key = {};

	if (!key_of(ctx, &key))
		return XDP_ABORTED;
	/* The answer must depend on the look-up, or the compiler drops it. */
	struct lru_value *v = bpf_map_lookup_elem(&lru, &key);

	return v && v->backend == 0xffffffff ? XDP_DROP : XDP_TX;
}

SEC("xdp")
int fill(struct xdp_md *ctx)
{
	struct lru_key key = {};
	struct lru_value value = { .backend = 1 };

	if (!key_of(ctx, &key))
		return XDP_ABORTED;
	bpf_map_update_elem(&lru, &key, &value, BPF_ANY);
	return XDP_DROP;
}

/* The traffic class, so that a flood is told from the rest whatever becomes of
 * its addresses. */
#define FLOOD_CLASS 0x20 /* CS1 */

static __always_inline bool floods(struct xdp_md *ctx)
{
	__u8 *data = (void *)(long)ctx->data;

	if (data + L3 + 2 > (__u8 *)(long)ctx->data_end)
		return false;
	if (data[12] == 0x08 && data[13] == 0x00)
		return data[L3 + 1] == FLOOD_CLASS;
	return data[12] == 0x86 && data[13] == 0xdd &&
	       ((data[L3] << 4 | data[L3 + 1] >> 4) & 0xff) == FLOOD_CLASS;
}

/* Behind a balancer: keeps a flood from the backends. */
SEC("xdp")
int sink(struct xdp_md *ctx)
{
	return floods(ctx) ? XDP_DROP : XDP_PASS;
}

SEC("xdp")
int discard(struct xdp_md *ctx)
{
	return XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
