/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once

static __always_inline void count_reason(__u32 reason)
{
	__u64 *n = bpf_map_lookup_elem(&reasons, &reason);

	if (n)
		*n += 1;
	capture_reason(reason);
}

/* A row of its own for each CPU: plain additions are exact, as nothing
 * interrupts an XDP program on its CPU with another. */
static __always_inline struct backend_stats *stats_of(__u32 id)
{
	__u32 key = bpf_get_smp_processor_id() * backend_ids + id;

	return bpf_map_lookup_elem(&stats, &key);
}

/* For a packet whose headers can no longer be read. */
static __always_inline int lost(void)
{
	count_reason(DROP_INTERNAL);
	return XDP_DROP;
}
