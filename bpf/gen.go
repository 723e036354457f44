// Package bpf holds weir's kernel programs as bpf2go made them from the C
// sources beside it. Only loader/dataplane uses it.
package bpf

//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -go-package bpf -tags linux -target bpfel -cflags "-O2 -g -Wall -Werror -mcpu=v3 -I/usr/include/x86_64-linux-gnu" -type vip_key -type service -type service_drops -type acl_key -type acl_state -type backend -type backend_stats -type flow_set -type real_key -type arena_line -type event -type captured -type node -type reason -type event_kind -type flow_state -type forward -type picker -type constant -type backend_flag -type tag -type vlan -type fragment_kind Weir weir.bpf.c
