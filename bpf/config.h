/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Set by the loader before the verifier runs, which removes what is off. */
#pragma once

/* Secret of the flow table's hash. Of this node alone, so that nobody outside
 * can aim at one set. */
const volatile __u32 flow_key[12];

/* Key of the hash that picks. From the configured seed: nodes agree. */
const volatile __u32 pick_key[12];

const volatile __u32 flow_sets = 1;
const volatile __u32 backend_ids = 1; /* entries of `backends` */
const volatile __u32 active_mask;     /* counts of `active`, a power of two, less 1 */
const volatile __u32 service_ids = 1; /* entries of `services` */

const volatile bool feature_nat = true;
const volatile bool feature_tunnel = true;
const volatile bool feature_vlan = true;
const volatile bool feature_fragments = true;
const volatile bool feature_mss = true;
const volatile bool feature_acl = true;
const volatile bool feature_limits = true;

/* The clock of limits is CLOCK_MONOTONIC >> limit_shift: 1.024 us. */
const volatile __u32 limit_shift = 10;
const volatile __u32 source_sets = 1; /* entries of `sources` */

/* Tunnels: what an outer source address begins with; the flow's hash fills the
 * rest (16 and 64 bits), so that a backend's receive queues spread. */
const volatile __u32 tunnel_source4;
const volatile __u32 tunnel_source6[2];
const volatile __u16 gue_port;

/* Source addresses of ours: IPv4 first. */
const volatile struct address snat_sources[SNAT_SOURCES];
const volatile __u32 snat_count4;
const volatile __u32 snat_count6;
const volatile bool feature_snat = true;

/* The flow clock is CLOCK_MONOTONIC >> clock_shift, in 11 bits. */
const volatile __u32 clock_shift = 32;

/* Idle timeouts in units of the flow clock, by enum flow_state. */
const volatile __u16 idle_limit[FLOW_STATES] = { 0, 210, 7, 210, 14, 14, 1, 0 };

/* Changed while running. Bit n: send events of kind n. */
volatile __u32 events_on;
volatile __u32 event_sample = 1;

/* Likewise. The wants are changed while capture_on is 0. */
volatile __u32 capture_on;
volatile struct capture_filter capture_want;
