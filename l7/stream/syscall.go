//go:build !race

package stream

import (
	"syscall"
	"unsafe"
)

// The sockets are non-blocking, so these return at once and the scheduler need
// not hear of them: it would only take the processor away from a goroutine that
// is about to come back.

func read(fd uintptr, p []byte) (int, syscall.Errno) {
	return call(syscall.SYS_READ, fd, p)
}

func write(fd uintptr, p []byte) (int, syscall.Errno) {
	return call(syscall.SYS_WRITE, fd, p)
}

func peek(fd uintptr, p []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
		syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

func call(number, fd uintptr, p []byte) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall(number, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
		if errno == 0 {
			return int(n), 0
		}
		if errno != syscall.EINTR {
			return 0, errno
		}
	}
}
