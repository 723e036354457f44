/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The loader sets max_entries; arrays are mapped by user space, which reads
 * and writes them without system calls. */
#pragma once

#define MAPPED_ARRAY(NAME, TYPE)                   \
	struct {                                   \
		__uint(type, BPF_MAP_TYPE_ARRAY);  \
		__uint(map_flags, BPF_F_MMAPABLE); \
		__uint(max_entries, 1);            \
		__type(key, __u32);                \
		__type(value, TYPE);               \
	} NAME SEC(".maps")

#define FRAGMENT_SETS 8192 /* 512 KiB */

MAPPED_ARRAY(meta, struct node);
MAPPED_ARRAY(flows, struct flow_set);
MAPPED_ARRAY(services, struct service);
MAPPED_ARRAY(backends, struct backend);
MAPPED_ARRAY(cursors, __u64);              /* round robin, by service */
MAPPED_ARRAY(arena, struct arena_line);    /* tables and member lists */
MAPPED_ARRAY(stats, struct backend_stats); /* [cpu * backend_ids + id] */
MAPPED_ARRAY(real_filter, __u64);          /* see nat.h */
MAPPED_ARRAY(fragments, struct flow_set);  /* see fragment.h */
MAPPED_ARRAY(snat_flows, struct flow_set); /* see snat.h */
MAPPED_ARRAY(snat_clients, struct snat_client);
MAPPED_ARRAY(drops, struct service_drops); /* [cpu * service_ids + index] */
MAPPED_ARRAY(acl_lists, struct acl_state);
MAPPED_ARRAY(sources, struct flow_set);            /* see limit.h */
MAPPED_ARRAY(ceilings, __u64);                     /* likewise, by service */

/* Flows now, by backend id. One element holds all counts (the loader sets its
 * size), so that one look-up serves for as many backends as are compared. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u64));
} active SEC(".maps");

/* VIP -> index into services. Written only whole and by one writer. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct vip_key);
	__type(value, __u32);
} vips SEC(".maps");

/* Backend's address as replies carry it -> backend id. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct real_key);
	__type(value, __u32);
} reals SEC(".maps");

/* Server id -> backend id. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct quic_key);
	__type(value, __u32);
} quic_ids SEC(".maps");

/* Source address of ours -> index into snat_sources. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, SNAT_SOURCES);
	__type(key, struct address);
	__type(value, __u32);
} snat_index SEC(".maps");

/* Lists of sources -> 1: denied, 0: allowed. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, struct acl_key);
	__type(value, __u32);
} acl SEC(".maps");

/* Interfaces that tag. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct vlan);
} vlans SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, REASONS);
	__type(key, __u32);
	__type(value, __u64);
} reasons SEC(".maps");

/* Of ICMP errors that we send. */
struct answer_budget {
	__u64 window;
	__u64 used;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct answer_budget);
} answers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} captures SEC(".maps");
