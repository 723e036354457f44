// Package decap holds the program that takes packets out of weir's tunnels on
// a backend host, as bpf2go made it.
package decap

//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -go-package decap -tags linux -target bpfel -cflags "-O2 -g -Wall -Werror -mcpu=v3 -I/usr/include/x86_64-linux-gnu" -type address -type reason Decap decap.bpf.c
