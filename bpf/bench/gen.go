// Package bench holds the programs that the layer-4 benchmark measures
// against, as bpf2go made them.
package bench

//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -go-package bench -tags linux -target bpfel -cflags "-O2 -g -Wall -Werror -mcpu=v3 -I/usr/include/x86_64-linux-gnu" -type plan Bench bench.bpf.c
