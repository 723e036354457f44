/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

#define ADDRESS_SET(NAME)                         \
	struct {                                  \
		__uint(type, BPF_MAP_TYPE_HASH);  \
		__uint(max_entries, 1024);        \
		__type(key, struct address);      \
		__type(value, __u8);              \
	} NAME SEC(".maps")

ADDRESS_SET(tunnel_addresses); /* of this host */
ADDRESS_SET(vips);

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, REASONS);
	__type(key, __u32);
	__type(value, __u64);
} reasons SEC(".maps");

/* Network byte order. Set by the agent before the verifier runs. */
const volatile __u16 gue_port;
